"""The decoder for any acoustic model; it imports the transducer's search only for a transducer."""

from __future__ import annotations

from typing import Any

from asr_hlg.acoustic import AcousticModel, likelihoods
from asr_hlg.graph import DecodingGraph
from asr_hlg.search import Decoder, make_decoder


def decoder_for(model: AcousticModel, graph: DecodingGraph, **changes: Any) -> Decoder:
    """Make the decoder for the posteriors of an acoustic model, a transducer or another one.

    Parameters
    ----------
    model : AcousticModel
    graph : DecodingGraph
        On the device of the search.
    **changes
        Fields of :class:`GraphOptions` (transducer) or
        :class:`~asr_hlg.search.SearchOptions` that differ from those of the graph's recipe, or,
        where the recipe names another acoustic model, from this model's own scales.

    Raises
    ------
    GraphError
        If one of graph and model is for transducers and the other is not.
    ModelError
        If the model lacks tokens of the graph, or a transducer does not fit it.
    """
    if model.is_transducer:
        from asr_hlg.transducer import graph_search
        from asr_hlg.transducer.graph_search import GraphSearch
        from asr_hlg.transducer.options import GraphOptions
        from asr_hlg.transducer.recogniser import Recogniser

        assert isinstance(model, Recogniser)
        graph_search.check(graph)
        options = graph.options(GraphOptions, **changes)
        return GraphSearch(model.transducer, graph, options)
    likelihoods.find_columns(model.tokens, graph.columns)  # refused now, not at each recording
    tuned_for = (graph.meta.get("recipe") or {}).get("acoustic_model", "hama")
    scales = {} if tuned_for == model.name else model.scales
    return make_decoder(graph, **{**scales, **changes})
