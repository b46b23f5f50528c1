"""Search: a decoding graph intersected with frame posteriors gives a lattice.

The only room where graphs and acoustics meet::

    lattice = decode(DecodingGraph.load("graphs/en"), model.posteriors([wave], 16000))
    print(lattice.best_path()[0].text)

Two engines do the same: :mod:`~asr_hlg.search.token_passing` on the CPU, for CTC graphs, and
:mod:`~asr_hlg.search.intersection` (k2) for everything else.
"""

from __future__ import annotations

from asr_hlg.acoustic import likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice
from asr_hlg.search import intersection, token_passing
from asr_hlg.search.options import SearchOptions

__all__ = ["SearchOptions", "decode"]


def decode(
    graph: DecodingGraph, posteriors: Posteriors, options: SearchOptions | None = None
) -> Lattice:
    """Find the paths of a graph that explain a batch of utterances.

    Parameters
    ----------
    graph : DecodingGraph
        On the device on which the search shall run.
    posteriors : Posteriors
        Log-posteriors; columns are matched to the graph's tokens by name. Those of a hybrid model
        are divided by its priors.
    options : SearchOptions, optional
        Scales, beams and engine; the graph's own by default.

    Returns
    -------
    Lattice
        One lattice an utterance, in the order of ``posteriors``. An utterance through which no
        path of the graph survives, even with a beam four times as wide, has an empty lattice.

    Raises
    ------
    ModelError
        If the posteriors lack a token of the graph.
    OptionError
        If the engine that ``options`` name cannot search this graph.
    """
    options = options or graph.search_options()
    mapped = likelihoods.map_tokens(posteriors, graph.columns)
    scores = likelihoods.scale(
        mapped,
        priors=mapped.priors,
        prior_scale=options.prior_scale,
        acoustic_scale=options.acoustic_scale,
        blank_penalty=options.blank_penalty,
        floor=options.floor,
    )
    if _engine(graph, options) == "k2":
        return intersection.search(graph, scores.to(graph.device), options, options.wider())
    return token_passing.search(graph, scores.to("cpu"), options, options.wider())


def _engine(graph: DecodingGraph, options: SearchOptions) -> str:
    """The engine to use, once "auto" is decided."""
    fits = graph.packed is not None and graph.device.type == "cpu"
    if options.engine == "tokens" and not fits:
        raise OptionError(
            "token passing needs an unchanged graph of the CTC topology, on the CPU",
            remedy="leave the engine to be chosen, or compile the graph again",
        )
    if options.engine == "auto":
        return "tokens" if fits else "k2"
    return options.engine
