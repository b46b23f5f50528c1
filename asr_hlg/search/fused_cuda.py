"""The kernels of the search in tensors for CUDA, compiled from the source of those for the CPU.

The functions of :mod:`asr_hlg.search.fused_kernels` and :mod:`asr_hlg.search.fused_pruning` are
compiled by numba-cuda, with threads and atomics of CUDA in place of those of
:mod:`asr_hlg.search.fused_device`. They work on torch's memory and on its current stream; launches
of one stream follow each other, and what one has written the next one reads.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import FunctionType
from typing import Any

import numba.cuda
import numpy as np
import numpy.typing as npt
import torch
from numba.core.dispatcher import Dispatcher
from torch import Tensor

from asr_hlg.search import fused_device, fused_kernels, fused_pruning
from asr_hlg.search.fused_launch import FRAME_KERNELS, PRUNING_KERNELS, LaunchedKernels
from asr_hlg.search.fused_records import Array
from asr_hlg.search.tensor_capture import cuda_graphs

cuda: Any = numba.cuda

LANES = 32
"""Threads that share an item whose work is a loop over arcs: a warp of the GPU."""

_THREADS = 128
"""Threads of a block."""

_BLOCKS = 4
"""Blocks for each multiprocessor; a thread takes more items where these are too few."""

KERNELS = tuple(
    kernel.py_func.__name__
    for kernel in (
        *FRAME_KERNELS,
        *PRUNING_KERNELS,
        fused_pruning.end_utterances,
        fused_pruning.final_scores,
    )
)
"""Names of all kernels; other functions are called by them."""


def obstacle() -> str | None:
    """Why the kernels cannot run on a GPU here, None if they can."""
    if find_spec("numba_cuda") is None:
        return "numba-cuda is not installed (pip install 'asr-hlg[gpu]')"
    if not cuda.is_available():
        return "numba-cuda finds no GPU, or no driver"
    return None


def kernel_sources(lanes: int = LANES) -> dict[str, FunctionType]:
    """Functions of all kernels by name, for ``cuda.jit``; what they call is compiled for CUDA.

    Parameters
    ----------
    lanes : int
        Threads of a warp. No kernel uses instructions of warps, so that fewer do as well.
    """
    namespace = {**vars(fused_device), **vars(fused_pruning), **vars(fused_kernels)}
    functions = {
        name: value.py_func for name, value in namespace.items() if isinstance(value, Dispatcher)
    }
    functions |= {primitive.__name__: primitive for primitive in _PRIMITIVES}
    namespace |= {"cuda": cuda, "LANES": lanes}
    for name, function in functions.items():
        namespace[name] = FunctionType(function.__code__, namespace, name)
    kernels = {name: namespace[name] for name in KERNELS}
    for name in functions.keys() - kernels.keys():
        namespace[name] = cuda.jit(device=True)(namespace[name])
    return kernels


class CudaKernels(LaunchedKernels):
    """The kernels on a GPU; a frame is captured as a CUDA graph and replayed.

    Parameters
    ----------
    device : str or torch.device
    graphs : bool
        Whether to capture; without it the host launches every kernel.
    """

    def __init__(self, device: str | torch.device, graphs: bool = True):
        super().__init__(cuda_graphs(device) if graphs else None)
        self._device = torch.device(device)
        self._kernels = {name: cuda.jit(source) for name, source in kernel_sources().items()}
        properties = torch.cuda.get_device_properties(self._device)
        self._grid = _BLOCKS * properties.multi_processor_count, _THREADS

    def launch(self, name: str, *arguments: Any) -> None:
        """Launch a kernel on torch's current stream."""
        with torch.cuda.device(self._device):
            stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
            self._kernels[name][(*self._grid, stream)](*arguments)

    def records(self, array: npt.NDArray[Any]) -> Array:
        """A copy on the GPU; records are aligned there."""
        if array.dtype.names is None:
            return self.view(torch.from_numpy(np.array(array)).to(self._device), None)
        aligned = array.astype(aligned_record(array.dtype))
        rows = torch.from_numpy(aligned.view(np.uint8).reshape(len(aligned), -1))
        return self.view(rows.to(self._device), aligned.dtype)

    def view(self, tensor: Tensor, record: np.dtype[Any] | None) -> Array:
        """The tensor as an array of numba, which keeps it alive."""
        with torch.cuda.device(self._device):
            if record is None:
                return cuda.as_cuda_array(tensor, sync=False)
            return cuda.as_cuda_array(tensor.view(-1), sync=False).view(record)


def aligned_record(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same fields, each at a multiple of its size."""
    return np.dtype([(name, dtype[name]) for name in dtype.names or ()], align=True)


def thread() -> Any:
    """The first item of this thread."""
    return cuda.grid(1)


def num_threads() -> Any:
    """Threads that divide the items."""
    return cuda.gridsize(1)


def warp() -> Any:
    """The first item of this warp."""
    return cuda.grid(1) // LANES


def num_warps() -> Any:
    """Warps that divide the items."""
    return cuda.gridsize(1) // LANES


def lane() -> Any:
    """Number of the thread in its warp."""
    return cuda.grid(1) % LANES


def num_lanes() -> Any:
    """Threads of a warp."""
    return LANES


def atomic_add(array: Array, index: Any, value: Any) -> Any:
    """Add to an element; returns what it was."""
    return cuda.atomic.add(array, index, value)


def atomic_max(array: Array, index: Any, value: Any) -> None:
    """Raise an element to a value; most values are lower, and need no atomic operation."""
    if value > array[index]:
        cuda.atomic.max(array, index, value)


def compare_and_swap(array: Array, index: Any, old: Any, value: Any) -> Any:
    """Write an element if it is ``old``; returns what it was."""
    return cuda.atomic.cas(array, index, old, value)


def prefetch(array: Array, index: Any) -> None:
    """Nothing: other threads work while one waits for memory."""


_PRIMITIVES = (
    thread,
    num_threads,
    warp,
    num_warps,
    lane,
    num_lanes,
    atomic_add,
    atomic_max,
    compare_and_swap,
    prefetch,
)
