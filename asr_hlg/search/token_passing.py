"""The token passing decoder: L∘G on the CPU, one utterance per thread."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.search import kernels, lattices
from asr_hlg.search.decoder import UtteranceDecoder
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.records import (
    BLANK_LINK,
    BLANK_TOKEN,
    HASH,
    LABEL_LINK,
    LABEL_TOKEN,
    SOURCE,
    GraphArrays,
    GraphOutputs,
    Limits,
    Tokens,
    Workspace,
)

_idle: SimpleQueue[Workspace] = SimpleQueue()
"""Workspaces that no search is using, shared by all graphs."""


def allocate(capacity: int = 1 << 20) -> Workspace:
    """A workspace with room for so many records of each kind.

    Pages of its arrays that are never written cost no memory.
    """
    return Workspace(
        np.empty(capacity, LABEL_TOKEN),
        np.empty(capacity, LABEL_LINK),
        np.empty(capacity, BLANK_TOKEN),
        np.empty(capacity, BLANK_LINK),
        np.empty(capacity, SOURCE),
        np.zeros(HASH + 1, np.int32),
        np.zeros(HASH + 1, np.int32),
    )


class TokenPassing(UtteranceDecoder):
    """Token passing along L∘G, for the CTC topology on the CPU.

    Raises
    ------
    OptionError
        If the graph has another topology or is not on the CPU.
    """

    _idle = _idle
    _allocate = staticmethod(allocate)

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options)
        if graph.packed is None:
            raise OptionError(
                "token passing needs a graph of the CTC topology, on the CPU",
                remedy="leave the engine to be chosen",
            )
        lg = graph.packed
        self._arcs = GraphArrays(lg.states, lg.arcs, lg.eps_arcs)
        self._outputs = GraphOutputs(lg.final, lg.words, lg.spellings, lg.spelling_splits)

    @staticmethod
    def fits(graph: DecodingGraph) -> bool:
        """Whether token passing can search a graph."""
        return graph.supports_token_passing

    def _lattice(
        self, acoustics: npt.NDArray[np.float32], limits: Limits, workspace: Workspace
    ) -> Any | None:
        """Fields of one utterance's lattice, None if the workspace is too small."""
        result = kernels.pass_tokens(self._arcs, acoustics, limits, workspace)
        if result[1] == kernels.FULL:
            return None
        tokens = Tokens(*workspace[:4], *result)
        return lattices.build(self._arcs, self._outputs, acoustics, limits[1], tokens)
