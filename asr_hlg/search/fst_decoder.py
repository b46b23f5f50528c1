"""Token passing on an automaton with explicit labels, on the CPU, one utterance per thread."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.search import fst_kernels, fst_lattices
from asr_hlg.search.decoder import UtteranceDecoder
from asr_hlg.search.fst_records import (
    FstArrays,
    FstOutputs,
    FstTokens,
    FstWorkspace,
    allocate,
)
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.records import Limits

_idle: SimpleQueue[FstWorkspace] = SimpleQueue()
"""Workspaces that no search is using, shared by all graphs."""


class FstTokenPassing(UtteranceDecoder):
    """Token passing along H∘L∘G, for every topology, on the CPU and without k2.

    For the CTC topology :class:`asr_hlg.search.TokenPassing` is faster, since it searches L∘G.

    Raises
    ------
    OptionError
        If the graph is not on the CPU.
    """

    _idle = _idle
    _allocate = staticmethod(allocate)

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options)
        if graph.device != "cpu":
            raise OptionError(
                "token passing needs a graph on the CPU", remedy="leave the engine to be chosen"
            )
        fst = graph.packed_fst
        self._arcs = FstArrays(fst.states, fst.arcs, fst.eps_arcs)
        self._outputs = FstOutputs(
            fst.final,
            fst.outputs,
            fst.phones,
            fst.eps_outputs,
            fst.spellings,
            fst.spelling_splits,
        )

    def _lattice(
        self, acoustics: npt.NDArray[np.float32], limits: Limits, workspace: FstWorkspace
    ) -> Any | None:
        """Fields of one utterance's lattice, None if the workspace is too small."""
        frames, count = fst_kernels.pass_tokens(self._arcs, acoustics, limits, workspace)
        if count == fst_kernels.FULL:
            return None
        if count == fst_kernels.ENDLESS:
            raise GraphError(
                "a cycle of ε-arcs raises the score of a path without end",
                path=self.graph.folder,
                remedy="compile the graph from a language model whose back-off weights are not "
                "above 1",
            )
        tokens = FstTokens(*workspace[:3], frames)
        return fst_lattices.build(self._arcs, self._outputs, acoustics, limits[1], tokens)
