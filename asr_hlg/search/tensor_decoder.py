"""The decoder that searches in tensor operations: L∘G on any device, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import FrameArcs
from asr_hlg.search import tensor_lattices
from asr_hlg.search.batch_decoder import BatchDecoder, Search
from asr_hlg.search.fused_launch import CpuKernels, Kernels
from asr_hlg.search.fused_room import Room
from asr_hlg.search.fused_search import FusedSearch
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.records import GraphArrays, GraphOutputs
from asr_hlg.search.tensor_frames import Beams, TensorSearch
from asr_hlg.search.tensor_graph import TensorGraph
from asr_hlg.search.tensor_history import Array, KeptLinks
from asr_hlg.search.tensor_records import Tables

_GROUP = 8
"""Utterances that the kernels search together on the CPU: more do not fit into its cache."""

_CAPACITIES = {
    "labels": 64,
    "epsilons": 32,
    "departures": 128,
    "slots": 384,
    "arcs": 512,
    "links": 128,
    "entries": 96,
    "blanks": 192,
    "last": 192,
}
"""Rows of each kind for an utterance in a frame; they grow where a batch needs more on average."""


def _kernels(device: str) -> Kernels | None:
    """The kernels for a device; None where it has none."""
    if device == "cpu":
        return CpuKernels()
    from asr_hlg.search.fused_cuda import CudaKernels, obstacle

    return CudaKernels(device) if device.startswith("cuda") and obstacle() is None else None


class TensorTokenPassing(BatchDecoder):
    """Token passing along L∘G in tensor operations, for the CTC topology on any device.

    Attributes
    ----------
    fused : bool
        Whether a frame is a few kernels of :mod:`asr_hlg.search.fused_kernels`, or a few hundred
        operations of torch: the reference for the kernels, which works on every device. Kernels
        serve on the CPU, and on CUDA where numba-cuda is installed.

    Raises
    ------
    OptionError
        If the graph has another topology.
    """

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options, _CAPACITIES)
        if not self.fits(graph):
            raise OptionError(
                "the search of L∘G in tensors needs a graph of the CTC topology",
                remedy="leave the engine to be chosen",
            )
        lg = graph.views.packed
        self._arrays = GraphArrays(lg.states, lg.arcs, lg.eps_arcs)
        self._outputs = GraphOutputs(lg.final, lg.words, lg.spellings, lg.spelling_splits)
        self._tables: Tables | None = None
        self.kernels = _kernels(graph.device)
        self.fused = self.kernels is not None

    @staticmethod
    def fits(graph: DecodingGraph) -> bool:
        """Whether this decoder can search a graph."""
        return graph.topology == "ctc" and not graph.is_imported

    @property
    def group(self) -> int:
        """Most utterances that are searched together."""
        return _GROUP if self.fused and self.graph.device == "cpu" else super().group

    def run(
        self, log_probs: torch.Tensor, lengths: Sequence[int], options: SearchOptions
    ) -> Search:
        """The state of the search after all frames, as :meth:`BatchDecoder.run` describes it."""
        if not self.fused:
            return super().run(log_probs, lengths, options)
        fused = self._start_fused(len(lengths), options)
        fused.search(log_probs, lengths)
        return fused

    def start(self, num_utterances: int, options: SearchOptions) -> Search:
        """The state of a search, as :meth:`BatchDecoder.start` describes it."""
        if self.fused:
            return self._start_fused(num_utterances, options)
        beams = Beams(options.search_beam, options.min_active, options.max_active)
        room, shapes = self._room(num_utterances), self._shapes(num_utterances)
        return TensorSearch(self._tensors, room, num_utterances, beams, shapes)

    def _start_fused(self, num_utterances: int, options: SearchOptions) -> FusedSearch:
        """A search by the kernels."""
        return FusedSearch(*self._in_kernels, num_utterances, options.limits, self._memory)

    def _build(
        self,
        links: KeptLinks,
        last: Array,
        num_ids: int,
        acoustics: Sequence[Array],
        output_beam: float,
    ) -> list[FrameArcs | None]:
        return tensor_lattices.build(
            links, last, num_ids, self._arrays, self._outputs, acoustics, output_beam
        )

    @cached_property
    def _tensors(self) -> TensorGraph:
        """The graph for torch's operations."""
        graph = self.graph
        return TensorGraph.of(graph.views.packed, len(graph.columns), graph.device)

    @cached_property
    def _memory(self) -> Room:
        """Memory for the kernels."""
        assert self.kernels is not None
        return Room(self.kernels, torch.device(self.graph.device), len(self.graph.columns))

    @cached_property
    def _in_kernels(self) -> tuple[GraphArrays, Any]:
        """The graph for the kernels, and its final scores."""
        assert self.kernels is not None
        records = self.kernels.records
        return GraphArrays(*map(records, self._arrays)), records(self._outputs.final)

    def _room(self, num_utterances: int) -> Tables:
        """Tables for so many utterances, the present ones where they suffice."""
        needed = num_utterances * self._tensors.num_states
        if self._tables is None or len(self._tables.states) < needed:
            self._tables = Tables.allocate(self._tensors, num_utterances)
        return self._tables
