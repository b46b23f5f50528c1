"""The second passes of a transcription, in order: a larger n-gram, then an attention model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

from torch import Tensor

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice, Path
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
        searched was made from it (with hotwords, say).
    whisper : str, optional
        ``tiny.en``, or a folder with a CTranslate2 Whisper model.
    whisper_weight : float
        How many nats of the first passes one nat of Whisper is worth.
    whisper_nbest : int
        How many word sequences Whisper scores for each piece of a recording.
    """

    lm: str | None = None
    lm_scale: float | None = None
    lm_graph: str | None = None
    whisper: str | None = None
    whisper_weight: float = 8.0
    whisper_nbest: int = 50

    def __post_init__(self):
        if (self.lm_scale is not None and self.lm_scale <= 0) or self.whisper_weight <= 0:
            raise OptionError("weights of second passes must be above 0")
        if self.whisper_nbest < 1:
            raise OptionError("Whisper needs at least one hypothesis to score")


class SecondPasses:
    """Runs the second passes that the options ask for.

    Parameters
    ----------
    options : PassOptions
    graph_folder : str or Path
        The graph of the first pass.
    graph : DecodingGraph
        The same, loaded; ``[rescore]`` in its recipe holds the scales for a larger n-gram.
    device : str
    graph_scale : float
        The weight of the graph's scores in the first pass.
    """

    def __init__(
        self,
        options: PassOptions,
        graph_folder: str | FilePath,
        graph: DecodingGraph,
        device: str = "cpu",
        graph_scale: float = 1.0,
    ):
        self.options = options
        self._ngram = None
        self._whisper = None
        if options.lm is not None:
            values = graph.meta.get("recipe", {}).get("rescore") or {}
            scales = section(NgramScales, values, "rescore", graph.folder, GraphError)
            if options.lm_scale is not None:
                scales = replace(scales, lm=options.lm_scale)
            folder = options.lm_graph or graph_folder
            self._ngram = NgramRescorer.of_graph(
                folder, options.lm, scales, graph.words, graph_scale
            )
        if options.whisper is not None:
            # One process a core is running already.
            self._whisper = WhisperRescorer.load(options.whisper, device, threads=1)

    def lattice(self, lattice: Lattice) -> Lattice:
        """The lattice with the larger language model's scores, where there is one."""
        return lattice if self._ngram is None else self._ngram(lattice)

    @property
    def ranks_lists(self) -> bool:
        """Whether :meth:`rank` changes anything."""
        return self._whisper is not None

    def rank(self, paths: Sequence[Path], samples: Tensor, sample_rate: int) -> list[Path]:
        """One utterance's n-best list with Whisper's scores added, best first."""
        if self._whisper is None:
            return list(paths)
        heard = self._whisper.hear(samples, sample_rate)
        scores = heard.score([path.text for path in paths])
        weight = self.options.whisper_weight
        ranked = [
            replace(path, score=path.score + weight * score)
            for path, score in zip(paths, scores, strict=True)
        ]
        return sorted(ranked, key=lambda path: -path.score)
