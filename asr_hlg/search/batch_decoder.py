"""A decoder that searches utterances in batches, as tensors on any device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import FrameArcs, Lattice
from asr_hlg.search.decoder import PosteriorDecoder
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.tensor_history import Array, KeptLinks
from asr_hlg.search.tensor_ops import ExactShapes, FixedShapes, Shapes

_CHUNK = 256
"""Frames whose scores are prepared at once."""

Self = TypeVar("Self", bound="BatchDecoder")


class Search(Protocol):
    """State of the search of a batch, as :class:`~asr_hlg.search.tensor_search.BatchSearch`."""

    def accept(self, log_probs: Tensor) -> None:
        """Search more frames, float32 ``(utterances, frames, labels)``, scaled."""

    def finish(self, ended: Tensor) -> None:
        """End utterances, bool ``(utterances,)``."""

    def exceeded(self) -> dict[str, int]:
        """Rows that were needed of the kinds whose capacity did not suffice."""

    def prune(self, output_beam: float) -> tuple[KeptLinks, Array, int]:
        """Links within the output beam, ids of last tokens, and the number of ids."""


class BatchDecoder(PosteriorDecoder):
    """Token passing in tensor operations, a batch at a time, with wider beams for lost utterances.

    Attributes
    ----------
    fixed_shapes : bool
        Whether tensors have capacities in place of the sizes that they need: on all devices but the
        CPU, so that no operation waits for the device.
    capacities : dict of str to int
        Rows of each kind for an utterance in a frame. A batch that needs more is searched again.
    """

    def __init__(
        self, graph: DecodingGraph, options: SearchOptions | None, capacities: dict[str, int]
    ):
        super().__init__(graph, options)
        self.fixed_shapes = graph.device != "cpu"
        self.capacities = dict(capacities)

    def narrower(self: Self) -> Self:
        """The same decoder with narrower beams; it shares the tensors of the graph."""
        other = copy(self)
        other.options = self.options.narrower()
        return other

    @property
    def group(self) -> int:
        """Most utterances that are searched together."""
        return 1 << 30

    def _search(self, scores: Posteriors) -> Lattice:
        scores = scores.to(self.graph.device)
        found: list[FrameArcs | None] = [None] * len(scores.lengths)
        rows = [row for row, length in enumerate(scores.lengths.tolist()) if length]
        for options in (self.options, self.options.wider()):
            for begin in range(0, len(rows), self.group):
                group = rows[begin : begin + self.group]
                for row, arcs in zip(group, self._lattices(scores, group, options), strict=True):
                    found[row] = arcs
            rows = [row for row in rows if found[row] is None]
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
        return self._build(links, last, num_ids, acoustics, options.output_beam)

    def run(
        self, log_probs: torch.Tensor, lengths: Sequence[int], options: SearchOptions
    ) -> Search:
        """The state of the search after all frames of scaled scores.

        Parameters
        ----------
        log_probs : torch.Tensor
            float32 ``(num_utterances, num_frames, num_columns)``, on the graph's device.
        lengths : sequence of int
            Frames of each utterance.
        options : SearchOptions
        """
        while True:
            search = self.start(len(lengths), options)
            begin = 0
            for end in sorted(set(lengths)):
                for t in range(begin, end, _CHUNK):
                    search.accept(log_probs[:, t : min(t + _CHUNK, end)])
                ended = [length == end for length in lengths]
                search.finish(torch.tensor(ended, device=log_probs.device))
                begin = end
            exceeded = search.exceeded()
            if not exceeded:
                return search
            for kind, needed in exceeded.items():
                self.capacities[kind] = max(2 * self.capacities[kind], -(-needed // len(lengths)))

    @abstractmethod
    def start(self, num_utterances: int, options: SearchOptions) -> Search:
        """The state of a search to which frames can be given as they come.

        It uses memory of the decoder: one search at a time.
        """

    def _shapes(self, num_utterances: int) -> Shapes:
        """Sizes of the tensors of a frame."""
        if not self.fixed_shapes:
            return ExactShapes()
        capacities = {kind: n * num_utterances for kind, n in self.capacities.items()}
        return FixedShapes(capacities, torch.device(self.graph.device))

    @abstractmethod
    def _build(
        self,
        links: KeptLinks,
        last: Array,
        num_ids: int,
        acoustics: Sequence[Array],
        output_beam: float,
    ) -> list[FrameArcs | None]:
        """The lattice of every utterance from its links, None where there are none.

        ``acoustics`` are float32 ``(num_frames, num_columns)``: the scores that were searched.
        """
