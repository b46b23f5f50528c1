"""Second passes over the hypotheses of a search: a larger n-gram, then Whisper.

>>> options = PassOptions(lm="pocketsphinx:lm", whisper="tiny.en")
>>> for rescore in second_passes(options, "graphs/en", graph, sample_rate=16000):
...     hypotheses = rescore(hypotheses)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.fst.symbols import UNKNOWN
from asr_hlg.graph import DecodingGraph
from asr_hlg.rescore import whisper_files
from asr_hlg.rescore.hypotheses import Hypotheses
from asr_hlg.settings import section

if TYPE_CHECKING:
    from asr_hlg.rescore.joint import JointPass
    from asr_hlg.rescore.ngram import NgramRescorer
    from asr_hlg.rescore.whisper import WhisperModel

_RANK_WEIGHT, _RANK_NBEST = 8.0, 50
"""Weight of Whisper's scores, and the number of hypotheses that it scores, where only those of the
graph are ranked: with posteriors that are not those of CTC."""


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
        ``tiny.en``, ``base``, or a folder with a CTranslate2 Whisper model.
    language : str
        Code of the language spoken, for multilingual models. For other languages than English
        Whisper's score alone ranks the hypotheses.
    graph_words_only : bool
        Admit only hypotheses of Whisper whose words are all in the graph.
    second_pass_below : float, optional
        Run Whisper only on pieces of a recording where the confidence of a word of the first pass
        is below this; by default on all.
    hotwords : str, optional
        A list of hotwords, see :mod:`asr_hlg.graph.adapt.hotwords`, that Whisper is prompted with
        and whose boosts are added to the scores. (The graph of the first pass has its own.)
    """

    lm: str | None = None
    lm_scale: float | None = None
    lm_graph: str | None = None
    whisper: str | None = None
    language: str = "en"
    graph_words_only: bool = False
    second_pass_below: float | None = None
    hotwords: str | None = None

    def __post_init__(self) -> None:
        if self.lm_scale is not None and self.lm_scale <= 0:
            raise OptionError("weights of second passes must be above 0")
        if self.second_pass_below is not None and not 0 <= self.second_pass_below <= 1:
            raise OptionError(
                f"a confidence is between 0 and 1, not {self.second_pass_below:g}",
                remedy="try --second-pass-below 0.9",
            )


SecondPass = Callable[[Hypotheses], Hypotheses]


def _rescore_lattice(rescorer: NgramRescorer, hypotheses: Hypotheses) -> Hypotheses:
    """Replace the scores of the graph's language model in a lattice by those of a larger one."""
    return replace(hypotheses, lattice=rescorer(hypotheses.lattice))


def _rank_with_whisper(
    whisper: WhisperModel, sample_rate: int, nbest: int, forward: bool, hypotheses: Hypotheses
) -> Hypotheses:
    """Rank the best word sequences of a lattice with Whisper's scores, weighted, added to theirs.

    With ``forward`` the search's scores are sums over alignments, not those of the best alignment.
    """
    if not len(hypotheses.samples):
        return hypotheses
    paths = hypotheses.lattice.nbest(nbest, forward=forward)[0]
    audio = whisper.encode(hypotheses.samples, sample_rate)
    scores = audio.score([path.text for path in paths])
    rescored = [
        replace(path, score=path.score + _RANK_WEIGHT * score)
        for path, score in zip(paths, scores, strict=True)
    ]
    ranked = tuple(sorted(rescored, key=lambda path: -path.score))
    return replace(hypotheses, ranked=ranked, written=audio.written_text)


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

    Returns
    -------
    list of SecondPass
        Without Whisper for a grammar with ``[unk]``, to which it can give no score.
    """
    passes: list[SecondPass] = []
    if options.lm is not None:
        from asr_hlg.rescore.ngram import NgramRescorer, NgramScales

        others = ("whisper", "acoustic_model")
        values = {k: v for k, v in _rescore_section(graph.meta).items() if k not in others}
        scales = section(NgramScales, values, "rescore", graph.folder, GraphError)
        if options.lm_scale is not None:
            scales = replace(scales, lm=options.lm_scale)
        folder = options.lm_graph or graph_folder
        rescorer = NgramRescorer.of_graph(folder, options.lm, scales, graph.words, graph_scale)
        passes.append(partial(_rescore_lattice, rescorer))
    if options.whisper is not None and UNKNOWN not in graph.words:
        from asr_hlg.rescore.pronunciations import Pronouncer

        whisper = _whisper(options.whisper, device, options.language)
        joint = joint_pass(options, whisper, graph, sample_rate, nbest)
        num_ranked = max(nbest, _RANK_NBEST)
        rank = partial(_rank_with_whisper, whisper, sample_rate, num_ranked, forward)
        passes.append(lambda h: joint(h) if Pronouncer.fits(h.posteriors) else rank(h))
    return passes


@lru_cache(maxsize=1)
def _whisper(spec: str, device: str, language: str) -> WhisperModel:
    """Load Whisper; a server has the same one for all lists of hotwords."""
    from asr_hlg.rescore.whisper import WhisperModel

    # One thread, since there is already one worker process per core.
    return WhisperModel.load(spec, device, threads=1, language=language)


def joint_pass(
    options: PassOptions,
    whisper: WhisperModel,
    graph: DecodingGraph,
    sample_rate: int,
    nbest: int = 1,
) -> JointPass:
    """The pass that ranks hypotheses of Whisper and of the graph together."""
    from asr_hlg.graph.adapt import hotwords
    from asr_hlg.rescore.joint import JointPass
    from asr_hlg.rescore.prompts import Boosts
    from asr_hlg.rescore.pronunciations import Pronouncer
    from asr_hlg.rescore.sentence_lm import SentenceLm
    from asr_hlg.rescore.weights import JointWeights

    english = options.language == "en"
    weights = JointWeights() if english else JointWeights(acoustic=0.0, lm=0.0, num_graph=0)
    recipe = graph.meta.get("recipe", {})
    boosts = Boosts(() if options.hotwords is None else hotwords.read(options.hotwords))
    below = options.second_pass_below
    return JointPass(
        whisper,
        partial(Pronouncer, graph),
        SentenceLm.load() if english else None,
        weights,
        sample_rate=sample_rate,
        graph_only=recipe.get("grammar") is not None,
        vocabulary=(lambda word: word in graph.words) if options.graph_words_only else None,
        boosts=boosts,
        below=math.inf if below is None else below,
        nbest=nbest,
    )


def default_whisper(
    meta: Mapping[str, Any], search: str = "viterbi", device: str = "cpu"
) -> tuple[str | None, bool]:
    """Whisper model of the second pass where none is asked for, and whether it is installed.

    The graph's recipe names it in ``[rescore]``. It is None on a GPU, and where the search is not
    "viterbi".

    Parameters
    ----------
    meta : dict
        Content of the graph's ``graph.json``.
    search : str
        As in :class:`~asr_hlg.transcribe.TranscribeOptions`.
    device : str
        Where the first pass runs.
    """
    name = _rescore_section(meta).get("whisper")
    if name is None or search != "viterbi" or device != "cpu":
        return None, False
    return name, whisper_files.is_installed(name)


def first_pass_model(meta: Mapping[str, Any], options: PassOptions) -> str | None:
    """Acoustic model of the first pass where Whisper follows; None for that of all recordings.

    The recipe names it in ``[rescore]``, for the Whisper model that it names there. Where Whisper
    runs on uncertain pieces only, to save time, the first pass has the model that is fast.

    Parameters
    ----------
    meta : dict
        Content of the graph's ``graph.json``.
    options : PassOptions
        With the Whisper model of the second pass; None: there is no second pass.
    """
    rescore = _rescore_section(meta)
    if options.whisper is None or options.whisper != rescore.get("whisper"):
        return None
    if options.second_pass_below is not None:
        return None
    name: str | None = rescore.get("acoustic_model")
    return name


def _rescore_section(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Section ``[rescore]`` of the recipe of a graph; empty without one."""
    return (meta.get("recipe") or {}).get("rescore") or {}
