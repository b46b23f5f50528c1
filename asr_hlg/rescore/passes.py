"""Second passes over the hypotheses of a search: a larger n-gram, then an attention model.

>>> options = PassOptions(lm="pocketsphinx:lm")
>>> for rescore in second_passes(options, "graphs/en", graph, sample_rate=16000):
...     hypotheses = rescore(hypotheses)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path as FilePath

from torch import Tensor

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice, Path
from asr_hlg.output.transcript import Word
from asr_hlg.rescore.ngram import NgramRescorer, NgramScales
from asr_hlg.rescore.whisper import WhisperRescorer
from asr_hlg.settings import section


@dataclass(frozen=True)
class PassOptions:
    """Which second passes to run; none by default.

    Attributes
    ----------
    lm : str, optional
        A larger language model for the lattices: an ARPA file, a Sphinx trie (``.bin``) or
        ``pocketsphinx:lm``.
    lm_scale : float, optional
        Weight of that model's log-probabilities; by default the one of the graph's recipe, or 1.
    lm_graph : str, optional
        The graph folder whose language model is taken out of the scores, where the graph that is
        searched was made from it (with hotwords, for example).
    whisper : str, optional
        ``tiny.en``, or a folder with a CTranslate2 Whisper model.
    whisper_weight : float
        Factor on Whisper's log-probability before it is added to the score of the search.
    whisper_nbest : int
        How many word sequences Whisper scores for each piece of a recording.
    """

    lm: str | None = None
    lm_scale: float | None = None
    lm_graph: str | None = None
    whisper: str | None = None
    whisper_weight: float = 8.0
    whisper_nbest: int = 50

    def __post_init__(self) -> None:
        if (self.lm_scale is not None and self.lm_scale <= 0) or self.whisper_weight <= 0:
            raise OptionError("weights of second passes must be above 0")
        if self.whisper_nbest < 1:
            raise OptionError("Whisper needs at least one hypothesis to score")


@dataclass(frozen=True)
class Hypotheses:
    """Hypotheses for one utterance: a lattice and, once whole sentences are ranked, a list.

    Attributes
    ----------
    lattice : Lattice
        Of one utterance.
    samples : Tensor
        Its sound at the rate of the acoustic model, float32 ``(num_samples,)``; empty where
        posteriors are looked up.
    posteriors : Posteriors
        Of the acoustic model, before they are scaled for the search.
    ranked : tuple of Path
        Best first; empty as long as only the lattice ranks them.
    words : tuple of Word, optional
        The words of the first of ``ranked``, with times from the start of the utterance and
        confidences; None where the lattice has them.
    written : str
        Whisper's own transcript, with capitals and punctuation; empty if Whisper did not run.
    """

    lattice: Lattice
    samples: Tensor
    posteriors: Posteriors
    ranked: tuple[Path, ...] = ()
    words: tuple[Word, ...] | None = None
    written: str = ""


SecondPass = Callable[[Hypotheses], Hypotheses]


def _rescore_lattice(rescorer: NgramRescorer, hypotheses: Hypotheses) -> Hypotheses:
    """Replace the scores of the graph's language model in a lattice by those of a larger one."""
    return replace(hypotheses, lattice=rescorer(hypotheses.lattice))


def _rank_with_whisper(
    whisper: WhisperRescorer,
    sample_rate: int,
    weight: float,
    nbest: int,
    forward: bool,
    hypotheses: Hypotheses,
) -> Hypotheses:
    """Rank the best word sequences of a lattice with Whisper's scores, weighted, added to theirs.

    With ``forward`` the search's scores are sums over alignments, not those of the best alignment.
    """
    paths = hypotheses.lattice.nbest(nbest, forward=forward)[0]
    audio = whisper.encode(hypotheses.samples, sample_rate)
    scores = audio.score([path.text for path in paths])
    rescored = [
        replace(path, score=path.score + weight * score)
        for path, score in zip(paths, scores, strict=True)
    ]
    return replace(hypotheses, ranked=tuple(sorted(rescored, key=lambda path: -path.score)))


def second_passes(
    options: PassOptions,
    graph_folder: str | FilePath,
    graph: DecodingGraph,
    *,
    sample_rate: int,
    device: str = "cpu",
    graph_scale: float = 1.0,
    nbest: int = 1,
    forward: bool = False,
) -> list[SecondPass]:
    """Load the second passes that the options ask for, in the order in which they run.

    Parameters
    ----------
    options : PassOptions
    graph_folder : str or Path
        The graph of the first pass.
    graph : DecodingGraph
        The same, loaded; ``[rescore]`` in its recipe holds the scales for a larger n-gram.
    sample_rate : int
        Of the acoustic model, in Hz.
    device : str
        Where Whisper computes.
    graph_scale : float
        Weight of the graph's scores in the first pass.
    nbest : int
        How many alternatives a ranked list must hold at least.
    forward : bool
        Rank word sequences by the sum over their alignments, not by the best alignment.
    """
    passes: list[SecondPass] = []
    if options.lm is not None:
        values = graph.meta.get("recipe", {}).get("rescore") or {}
        scales = section(NgramScales, values, "rescore", graph.folder, GraphError)
        if options.lm_scale is not None:
            scales = replace(scales, lm=options.lm_scale)
        folder = options.lm_graph or graph_folder
        rescorer = NgramRescorer.of_graph(folder, options.lm, scales, graph.words, graph_scale)
        passes.append(partial(_rescore_lattice, rescorer))
    if options.whisper is not None:
        # One thread, since there is already one worker process per core.
        whisper = WhisperRescorer.load(options.whisper, device, threads=1)
        num_ranked = max(nbest, options.whisper_nbest)
        weight = options.whisper_weight
        passes.append(
            partial(_rank_with_whisper, whisper, sample_rate, weight, num_ranked, forward)
        )
    return passes
