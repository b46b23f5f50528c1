"""The kernels of the search in tensors as CUDA gets them: simulated, compiled, and as graphs.

No test needs a GPU. The simulator of numba runs the kernels' source in Python, with threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numba import typeof

from asr_hlg.search import (
    SearchOptions,
    TensorTokenPassing,
    TokenPassing,
    fused_launch,
    tensor_decoder,
)
from asr_hlg.search.fused_launch import CpuKernels, LaunchedKernels
from asr_hlg.search.fused_room import Room
from asr_hlg.search.records import GraphArrays
from tests.search.test_tensors import same
from tests.support.random_graphs import random_graph, random_posteriors

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


class Simulated(LaunchedKernels):
    """The kernels of CUDA in numba's simulator: two blocks of four threads, two lanes a warp."""

    def __init__(self):
        from numba import cuda

        from asr_hlg.search.fused_cuda import kernel_sources

        super().__init__()
        self._kernels = {name: cuda.jit(f) for name, f in kernel_sources(lanes=2).items()}

    def launch(self, name, *arguments):
        self._kernels[name][2, 4](*arguments)

    def records(self, array):
        from numba.cuda.simulator.cudadrv.devicearray import (
            FakeCUDAArray,
            FakeWithinKernelCUDAArray,
        )

        return FakeWithinKernelCUDAArray(FakeCUDAArray(array))

    def view(self, tensor, record):
        return self.records(CpuKernels().view(tensor, record))


@pytest.mark.skipif(not SIMULATED, reason="test_simulator runs it, in another process")
@pytest.mark.parametrize(("seed", "lengths"), [(3, [9, 4]), (5, [6, 1, 8]), (8, [7])])
def test_simulated_kernels(monkeypatch, seed, lengths):
    monkeypatch.setattr(tensor_decoder, "CpuKernels", Simulated)
    graph = random_graph(seed)
    options = SearchOptions(search_beam=8.0, output_beam=6.0, min_active=5, max_active=40)
    assert same(graph, random_posteriors(graph, lengths, seed), options) > 10


def test_simulator():
    """Best paths, scores and lattices are those of token passing."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [*command, "-k", "simulated"], env=environment, capture_output=True, text=True, check=False
    )
    assert "3 passed" in done.stdout, done.stdout


def four_bytes(array):
    """The same records with fields of four bytes only."""
    kinds = [(name, "f4" if array.dtype[name].kind == "f" else "u4") for name in array.dtype.names]
    return array.astype(np.dtype(kinds, align=True))


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
@pytest.mark.parametrize("capability", [(7, 0), pytest.param((9, 0), marks=pytest.mark.slow)])
def test_kernels_compile_to_ptx(monkeypatch, capability):
    """With the GPU's atomic operations; a number of a record is read at once, not by its bytes."""
    from numba import cuda
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import nvvm

    from asr_hlg.search.fused_cuda import kernel_sources

    if not nvvm.is_available():
        pytest.skip("NVVM is not installed")
    device = SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    room = Room(CpuKernels(), torch.device("cpu"), 4)
    room.reserve(2)
    packed = random_graph(3).views.packed
    graph = GraphArrays(*map(four_bytes, (packed.states, packed.arcs, packed.eps_arcs)))
    others = {
        "final_scores": (graph, packed.final, room.work()),
        "end_utterances": (room.work(),),
        "prune_blank_links": (graph, room.work(), 8.0),
        "prune_label_links": (graph, room.work(), 8.0),
    }
    atomics = {}
    for name, source in kernel_sources().items():
        arguments = others.get(name, (graph, room.work(), (8.0, 8.0, 30.0, 1000.0)))
        ptx, _ = cuda.compile_ptx(source, tuple(map(typeof, arguments)), cc=capability)
        assert "ld.global.u8" not in ptx
        atomics[name] = ptx.count("atom.")
    assert {name for name, number in atomics.items() if not number} == {"adapt_beams"}


CPU_KERNELS = {
    kernel.py_func.__name__: kernel
    for kernel in (
        *fused_launch.FRAME_KERNELS,
        *fused_launch.PRUNING_KERNELS,
        fused_launch.end_utterances,
        fused_launch.final_scores,
    )
}


class Called(LaunchedKernels, CpuKernels):
    """The kernels of the CPU, launched one by one; a captured step is called with old arguments."""

    def __init__(self):
        self.captures = 0
        super().__init__(self._capture)

    def _capture(self, step):
        self.captures += 1
        return step

    def launch(self, name, *arguments):
        CPU_KERNELS[name](*arguments)


def test_a_captured_frame_serves_all_frames_of_all_batches(monkeypatch):
    """It depends on nothing but memory, and is captured again only where an array has grown."""
    monkeypatch.setattr(tensor_decoder, "CpuKernels", Called)
    graph = random_graph(3)
    decoder = TensorTokenPassing(graph, SearchOptions(search_beam=8.0, engine="tensors"))
    reference = TokenPassing(graph, SearchOptions(search_beam=8.0))
    captures = []
    for _ in range(2):
        for seed, lengths in enumerate([[30, 40, 50], [20], [50, 1, 7], [45, 49, 50], [3, 2]]):
            posteriors = random_posteriors(graph, lengths, seed)
            paths = [each.decode(posteriors).best_path() for each in (decoder, reference)]
            for found, expected in zip(*paths, strict=True):
                assert found.score == pytest.approx(expected.score, abs=1e-4)
        captures.append(decoder.kernels.captures)
    assert captures[0] == captures[1] > 0
