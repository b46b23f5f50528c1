"""The decoder that searches H∘L∘G in tensor operations, for every topology on any device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import FrameArcs
from asr_hlg.search import tensor_fst_lattices
from asr_hlg.search.batch_decoder import BatchDecoder, Search
from asr_hlg.search.fst_decoder import endless
from asr_hlg.search.fst_states import PackedStates
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.tensor_capture import Capture, cuda_graphs
from asr_hlg.search.tensor_fst_frames import EpsilonCycle, FstTensorSearch
from asr_hlg.search.tensor_fst_graph import TensorFst
from asr_hlg.search.tensor_history import Array, KeptLinks

_CAPACITIES = {
    "tokens": 256,
    "epsilons": 192,
    "slots": 512,
    "departures": 384,
    "arcs": 1024,
    "links": 384,
}
"""Rows of each kind for an utterance in a frame; they grow where a batch needs more on average."""


class TensorFstTokenPassing(BatchDecoder):
    """Token passing along H∘L∘G in tensor operations, for every topology on any device.

    It finds what :class:`asr_hlg.search.FstTokenPassing` finds. For the CTC topology
    :class:`asr_hlg.search.TensorTokenPassing` is faster, since it searches L∘G.

    Attributes
    ----------
    capture : callable or None
        Captures the work of a frame as a CUDA graph, once for a batch; without it, also if it is
        set to None later, the host launches every operation.
    """

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options, _CAPACITIES)
        self._states = PackedStates(graph.packed_fst)
        self._table: Tensor | None = None
        on_cuda = graph.device.startswith("cuda")
        self.capture: Capture | None = cuda_graphs(graph.device) if on_cuda else None

    def run(
        self, log_probs: torch.Tensor, lengths: Sequence[int], options: SearchOptions
    ) -> Search:
        """The state of the search after all frames, as :meth:`BatchDecoder.run` describes it.

        Raises
        ------
        GraphError
            If a cycle of ε-arcs raises the score of a path without end.
        """
        try:
            return super().run(log_probs, lengths, options)
        except EpsilonCycle:
            raise endless(self.graph.folder) from None

    def start(self, num_utterances: int, options: SearchOptions) -> FstTensorSearch:
        """The state of a search, as :meth:`BatchDecoder.start` describes it."""
        shapes, ends_anywhere = self._shapes(num_utterances), self.graph.is_imported
        needed = num_utterances * self._tensors.num_states + 1
        if self._table is None or len(self._table) < needed:
            self._table = torch.zeros(needed, dtype=torch.int32, device=self._tensors.device)
        return FstTensorSearch(
            self._tensors,
            self._table,
            num_utterances,
            options.limits,
            shapes,
            ends_anywhere,
            self.capture,
        )

    def _build(
        self,
        links: KeptLinks,
        last: Array,
        num_ids: int,
        acoustics: Sequence[Array],
        output_beam: float,
    ) -> list[FrameArcs | None]:
        anywhere = self.graph.is_imported
        return tensor_fst_lattices.build(
            links,
            num_ids,
            self._states.arrays,
            self._states.outputs,
            acoustics,
            output_beam,
            anywhere,
        )

    @cached_property
    def _tensors(self) -> TensorFst:
        """The graph for torch's operations."""
        graph = self.graph
        return TensorFst.of(graph.packed_fst, len(graph.columns), graph.device)
