"""Decoding graphs: compiled once from H, L and G, saved, and loaded by memory map.

graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
graph.save("graphs/mine")
graph = DecodingGraph.load("graphs/mine")
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.graph.compile import compile_hlg, compile_lg
    from asr_hlg.graph.decoding_graph import DecodingGraph
    from asr_hlg.graph.meter import Stage
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.graph.compile": ["compile_hlg", "compile_lg"],
            "asr_hlg.graph.decoding_graph": ["DecodingGraph"],
            "asr_hlg.graph.meter": ["Stage"],
        },
    )

__all__ = ["DecodingGraph", "Stage", "compile_hlg", "compile_lg"]
