"""The decoder that searches in tensor operations: L∘G on any device, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import FrameArcs, Lattice
from asr_hlg.search import tensor_lattices
from asr_hlg.search.decoder import PosteriorDecoder
from asr_hlg.search.fused_launch import CpuKernels, Kernels
from asr_hlg.search.fused_room import Room
from asr_hlg.search.fused_search import FusedSearch
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.records import GraphArrays, GraphOutputs
from asr_hlg.search.tensor_frames import Beams, TensorSearch
from asr_hlg.search.tensor_graph import TensorGraph
from asr_hlg.search.tensor_ops import ExactShapes, FixedShapes, Shapes
from asr_hlg.search.tensor_records import Tables

_CHUNK = 256
"""Frames whose scores are prepared at once."""


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


class TensorTokenPassing(PosteriorDecoder):
    """Token passing along L∘G in tensor operations, for the CTC topology on any device.

    Attributes
    ----------
    fused : bool
        Whether a frame is a few kernels of :mod:`asr_hlg.search.fused_kernels`, or a few hundred
        operations of torch: the reference for the kernels, which works on every device. Kernels
        serve on the CPU, and on CUDA where numba-cuda is installed.
    fixed_shapes : bool
        Whether torch's tensors have capacities in place of the sizes that they need: on all devices
        but the CPU, so that no operation waits for the device.
    capacities : dict of str to int
        Rows of each kind for an utterance in a frame. A batch that needs more is searched again.

    Raises
    ------
    OptionError
        If the graph has another topology.
    """

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options)
        if not self.fits(graph):
            raise OptionError(
                "the search in tensors needs a graph of the CTC topology",
                remedy="leave the engine to be chosen",
            )
        lg = graph.views.packed
        self._arrays = GraphArrays(lg.states, lg.arcs, lg.eps_arcs)
        self._outputs = GraphOutputs(lg.final, lg.words, lg.spellings, lg.spelling_splits)
        self._tables: Tables | None = None
        self.fixed_shapes = graph.device != "cpu"
        self.kernels = _kernels(graph.device)
        self.fused = self.kernels is not None
        self.capacities = dict(_CAPACITIES)

    @staticmethod
    def fits(graph: DecodingGraph) -> bool:
        """Whether this decoder can search a graph."""
        return graph.topology == "ctc"

    def narrower(self) -> TensorTokenPassing:
        """The same decoder with narrower beams; it shares the tensors of the graph."""
        other = copy(self)
        other.options = self.options.narrower()
        return other

    def _search(self, scores: Posteriors) -> Lattice:
        scores = scores.to(self.graph.device)
        every = list(range(len(scores.lengths)))
        size = _GROUP if self.fused and self.graph.device == "cpu" else max(1, len(every))
        found = []
        for begin in range(0, len(every), size):
            found += self._lattices(scores, every[begin : begin + size], self.options)
        lost = [row for row in every if found[row] is None and scores.lengths[row]]
        if lost:
            again = self._lattices(scores, lost, self.options.wider())
            for row, arcs in zip(lost, again, strict=True):
                found[row] = arcs
        return Lattice.from_arcs(found, scores, self.graph)

    def _lattices(
        self, scores: Posteriors, rows: list[int], options: SearchOptions
    ) -> list[FrameArcs | None]:
        """Lattices of some utterances, None where no path reaches a final state."""
        lengths = scores.lengths[rows].tolist()
        log_probs = scores.log_probs[rows]
        links, last, num_ids = self.run(log_probs, lengths, options).prune(options.output_beam)
        on_host = log_probs.cpu().numpy()
        acoustics = [
            np.ascontiguousarray(frames[:length])
            for frames, length in zip(on_host, lengths, strict=True)
        ]
        return tensor_lattices.build(
            links,
            last,
            num_ids,
            self._arrays,
            self._outputs,
            acoustics,
            options.output_beam,
        )

    def run(
        self, log_probs: torch.Tensor, lengths: Sequence[int], options: SearchOptions
    ) -> TensorSearch | FusedSearch:
        """The state of the search after all frames of scaled scores.

        Parameters
        ----------
        log_probs : torch.Tensor
            float32 ``(num_utterances, num_frames, num_columns)``, on the graph's device.
        lengths : sequence of int
            Frames of each utterance.
        options : SearchOptions
        """
        if self.fused:
            fused = self._start_fused(len(lengths), options)
            fused.search(log_probs, lengths)
            return fused
        while True:
            search = self._start_plain(len(lengths), options)
            begin = 0
            for end in sorted(set(lengths)):
                for t in range(begin, end, _CHUNK):
                    search.accept(log_probs[:, t : min(t + _CHUNK, end)])
                ended = [length == end for length in lengths]
                search.finish(torch.tensor(ended, device=log_probs.device))
                begin = end
            exceeded = search.shapes.exceeded()
            if not exceeded:
                return search
            for kind, needed in exceeded.items():
                self.capacities[kind] = max(2 * self.capacities[kind], -(-needed // len(lengths)))

    def start(self, num_utterances: int, options: SearchOptions) -> TensorSearch | FusedSearch:
        """The state of a search to which frames can be given as they come.

        It uses memory of the decoder: one search at a time.
        """
        start = self._start_fused if self.fused else self._start_plain
        return start(num_utterances, options)

    def _start_fused(self, num_utterances: int, options: SearchOptions) -> FusedSearch:
        """A search by the kernels."""
        return FusedSearch(*self._in_kernels, num_utterances, options.limits, self._memory)

    def _start_plain(self, num_utterances: int, options: SearchOptions) -> TensorSearch:
        """A search by torch's operations."""
        beams = Beams(options.search_beam, options.min_active, options.max_active)
        room = self._room(num_utterances)
        shapes: Shapes = ExactShapes()
        if self.fixed_shapes:
            capacities = {kind: n * num_utterances for kind, n in self.capacities.items()}
            shapes = FixedShapes(capacities, self._tensors.device)
        return TensorSearch(self._tensors, room, num_utterances, beams, shapes)

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
