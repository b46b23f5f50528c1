"""Launching the kernels of the search in tensors on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from torch import Tensor

from asr_hlg.search.fused_kernels import (
    adapt_beams,
    estimate_best,
    expand_arcs,
    find_sources,
    link_tokens,
    prune_tokens,
    recombine,
)
from asr_hlg.search.fused_pruning import (
    end_utterances,
    final_scores,
    prune_blank_links,
    prune_label_links,
)
from asr_hlg.search.fused_records import Array, Backward, Emissions, Now, Work
from asr_hlg.search.records import GraphArrays, Limits

FRAME_KERNELS = (
    prune_tokens,
    adapt_beams,
    estimate_best,
    find_sources,
    expand_arcs,
    recombine,
    link_tokens,
)
"""The kernels of a frame, in their order."""

PRUNING_KERNELS = prune_blank_links, prune_label_links
"""Those that follow for each frame after the last one."""


@njit(nogil=True, cache=True)
def search_frames(
    graph: GraphArrays, work: Work, emissions: Emissions, limits: Limits, first: Now
) -> None:
    """Search frames on the CPU: all kernels in their order, frame by frame."""
    side = first.side
    for frame in range(emissions.relative.shape[1]):
        now = Now(first.t + frame, frame, side, first.stamp)
        if emissions.is_end[frame]:
            end_utterances(work, now)
        prune_tokens(graph, work, emissions, limits, now)
        adapt_beams(graph, work, emissions, limits, now)
        estimate_best(graph, work, emissions, limits, now)
        find_sources(graph, work, emissions, limits, now)
        expand_arcs(graph, work, emissions, limits, now)
        recombine(graph, work, emissions, limits, now)
        link_tokens(graph, work, emissions, limits, now)
        side = 1 - side


@njit(nogil=True, cache=True)
def prune_frames(
    graph: GraphArrays,
    final: Array,
    work: Work,
    backward: Backward,
    relative: Array,
    output_beam: float,
) -> None:
    """All kernels in their order, on the CPU."""
    final_scores(graph, final, work, backward)
    for t in range(relative.shape[1] - 1, -1, -1):
        prune_blank_links(graph, work, backward, output_beam, t)
        prune_label_links(graph, work, backward, relative, output_beam, t)


class CpuKernels:
    """The kernels as numba compiles them for the CPU; a call of each step searches all frames."""

    def records(self, array: npt.NDArray[Any]) -> Array:
        """An array of the graph, where the kernels read it."""
        return array

    def view(self, tensor: Tensor, dtype: np.dtype[Any]) -> Array:
        """A contiguous tensor as the kernels see it; they share memory.

        Parameters
        ----------
        tensor : Tensor
            On the device of the kernels; of bytes where ``dtype`` is a record.
        dtype : np.dtype
            Of the elements.
        """
        return tensor.numpy().view(dtype)

    def search(
        self, graph: GraphArrays, work: Work, emissions: Emissions, limits: Limits, now: Now
    ) -> None:
        """Search all frames of ``emissions``; ``now`` is the first."""
        search_frames(graph, work, emissions, limits, now)

    def end(self, work: Work, now: Now) -> None:
        """List the tokens of the utterances that end before the frame ``now``."""
        end_utterances(work, now)

    def prune(
        self,
        graph: GraphArrays,
        final: Array,
        work: Work,
        backward: Backward,
        relative: Array,
        output_beam: float,
    ) -> None:
        """Keep the links within the output beam, of the frames of ``relative``."""
        prune_frames(graph, final, work, backward, relative, output_beam)
