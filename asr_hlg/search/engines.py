"""The choice between the search engines for frame posteriors."""

from __future__ import annotations

from typing import Any

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice
from asr_hlg.search.decoder import PosteriorDecoder
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.token_passing import TokenPassing


def _class_of(engine: str, graph: DecodingGraph) -> type[PosteriorDecoder]:
    """The decoder of an engine for a graph; only its module is imported."""
    if engine == "fst":
        from asr_hlg.search.fst_decoder import FstTokenPassing

        return FstTokenPassing
    if engine == "k2":
        from asr_hlg.search.intersection import Intersection

        return Intersection
    if engine == "tensors":
        from asr_hlg.search.tensor_decoder import TensorTokenPassing
        from asr_hlg.search.tensor_fst_decoder import TensorFstTokenPassing

        return TensorTokenPassing if TensorTokenPassing.fits(graph) else TensorFstTokenPassing
    return TokenPassing


def _automatic(graph: DecodingGraph) -> str:
    """The engine for a graph, on its device."""
    if graph.device == "cpu":
        return "tokens" if TokenPassing.fits(graph) else "fst"
    return "k2" if _k2_has_cuda() else "tensors"


def _k2_has_cuda() -> bool:
    """Whether k2 is installed, and can search on a GPU."""
    try:
        import k2
    except ImportError:
        return False
    return bool(k2.with_cuda)


def make_decoder(
    graph: DecodingGraph, options: SearchOptions | None = None, **changes: Any
) -> PosteriorDecoder:
    """The decoder that ``options.engine`` names.

    "auto" is token passing on L∘G where it can serve, else on H∘L∘G. On CUDA it is k2, and token
    passing in tensor operations where k2 is not installed or has no CUDA.

    Options are by default those of the graph's recipe, with ``changes``.

    Raises
    ------
    OptionError
        If the engine cannot search this graph.
    """
    options = options or SearchOptions.from_graph(graph, **changes)
    engine: str = options.engine
    engine = _automatic(graph) if engine == "auto" else engine
    return _class_of(engine, graph)(graph, options)


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
        Scales, beams and engine; by default those of the graph's recipe.

    Returns
    -------
    Lattice
        One lattice per utterance, in the order of ``posteriors``. An utterance for which no
        path of the graph survives, even with a beam four times as wide, has an empty lattice.

    Raises
    ------
    ModelError
        If the posteriors lack a token of the graph.
    OptionError
        If the engine that ``options`` name cannot search this graph.
    """
    return make_decoder(graph, options).decode(posteriors)
