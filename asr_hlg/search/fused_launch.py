"""Launching the kernels of the search in tensors: compiled loops on the CPU, launches elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

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
from asr_hlg.search.fused_records import Array, Work
from asr_hlg.search.records import GraphArrays, Limits
from asr_hlg.search.tensor_capture import Capture, Step

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


class Kernels(Protocol):
    """The kernels on a device. Arrays of a call are those of the call before, until they grow."""

    def records(self, array: npt.NDArray[Any]) -> Array:
        """An array of the graph, where the kernels read it."""

    def view(self, tensor: Tensor, record: np.dtype[Any] | None) -> Array:
        """A contiguous tensor as the kernels see it; they share memory.

        Parameters
        ----------
        tensor : Tensor
            On the device of the kernels; uint8 ``(n, itemsize)`` of records.
        record : np.dtype or None
            Of the records; None if the elements are numbers.
        """

    def search(self, graph: GraphArrays, work: Work, limits: Limits, num_frames: int) -> None:
        """Search so many frames from ``work.now`` on."""

    def end(self, work: Work) -> None:
        """List the tokens of the utterances that end where the search is."""

    def prune(
        self, graph: GraphArrays, final: Array, work: Work, output_beam: float, num_frames: int
    ) -> None:
        """Keep the links within the output beam, of so many frames from ``work.now`` back."""


@njit(nogil=True, cache=True)
def search_frames(graph: GraphArrays, work: Work, limits: Limits, num_frames: int) -> None:
    """Search frames on the CPU: all kernels in their order, frame by frame."""
    for _ in range(num_frames):
        prune_tokens(graph, work, limits)
        adapt_beams(graph, work, limits)
        estimate_best(graph, work, limits)
        find_sources(graph, work, limits)
        expand_arcs(graph, work, limits)
        recombine(graph, work, limits)
        link_tokens(graph, work, limits)


@njit(nogil=True, cache=True)
def prune_frames(
    graph: GraphArrays, final: Array, work: Work, output_beam: float, num_frames: int
) -> None:
    """All kernels in their order, on the CPU."""
    final_scores(graph, final, work)
    for _ in range(num_frames):
        prune_blank_links(graph, work, output_beam)
        prune_label_links(graph, work, output_beam)


class CpuKernels:
    """The kernels as numba compiles them for the CPU; a call of each step searches all frames."""

    def records(self, array: npt.NDArray[Any]) -> Array:
        """The array itself."""
        return array

    def view(self, tensor: Tensor, record: np.dtype[Any] | None) -> Array:
        """The tensor as an array of numpy."""
        array = tensor.numpy()
        return array if record is None else array.reshape(-1).view(record)

    def search(self, graph: GraphArrays, work: Work, limits: Limits, num_frames: int) -> None:
        """Search so many frames."""
        search_frames(graph, work, limits, num_frames)

    def end(self, work: Work) -> None:
        """List the tokens of the utterances that end where the search is."""
        end_utterances(work)

    def prune(
        self, graph: GraphArrays, final: Array, work: Work, output_beam: float, num_frames: int
    ) -> None:
        """Keep the links within the output beam."""
        prune_frames(graph, final, work, output_beam, num_frames)


class LaunchedKernels(ABC):
    """Kernels that the host launches, one by one or all of a frame as a captured graph.

    Parameters
    ----------
    capture : callable, optional
        Takes a step and returns another one that does the same without the host's work; without it,
        also if it is set to None later, every kernel is launched.
    """

    def __init__(self, capture: Capture | None = None):
        self.capture = capture
        self._captured: dict[Any, Step] = {}
        self._work: Work | None = None

    @abstractmethod
    def launch(self, name: str, *arguments: Any) -> None:
        """Launch the kernel of a name."""

    def search(self, graph: GraphArrays, work: Work, limits: Limits, num_frames: int) -> None:
        """Search so many frames."""

        def frame() -> None:
            for kernel in FRAME_KERNELS:
                self.launch(kernel.py_func.__name__, graph, work, limits)

        self._repeat(frame, num_frames, work, ("search", limits))

    def end(self, work: Work) -> None:
        """List the tokens of the utterances that end where the search is."""
        self.launch("end_utterances", work)

    def prune(
        self, graph: GraphArrays, final: Array, work: Work, output_beam: float, num_frames: int
    ) -> None:
        """Keep the links within the output beam."""

        def frame() -> None:
            for kernel in PRUNING_KERNELS:
                self.launch(kernel.py_func.__name__, graph, work, output_beam)

        self.launch("final_scores", graph, final, work)
        self._repeat(frame, num_frames, work, ("prune", output_beam))

    def _repeat(self, frame: Step, num_frames: int, work: Work, key: Any) -> None:
        """Do the same for all frames; what was captured serves until an array grows."""
        if work is not self._work:
            self._captured.clear()
            self._work = work
        for _ in range(num_frames):
            if self.capture is not None and key in self._captured:
                self._captured[key]()
                continue
            frame()  # the first one also compiles the kernels
            if self.capture is not None:
                self._captured[key] = self.capture(frame)
