"""Decoding graphs: compiled once from H, L and G, saved, and loaded by memory map.

graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
graph.save("graphs/mine")
graph = DecodingGraph.load("graphs/mine")
"""

from __future__ import annotations

from asr_hlg.graph.compile import compile_hlg, compile_lg
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.graph.meter import Stage

__all__ = ["DecodingGraph", "Stage", "compile_hlg", "compile_lg"]
