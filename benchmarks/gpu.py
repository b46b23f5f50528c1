#!/usr/bin/env python3
"""Throughput against batch size, on a GPU or on the CPU: acoustic model, search, and both.

    benchmarks/gpu.py recordings/ --device cuda --graph graphs/en

Without k2, or with a k2 that was built without CUDA, only the acoustic model is measured, and the
output names the reason. Utterances are sorted by length, so that batches hold little padding.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import torch

from asr_hlg import acoustic
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import recordings


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default="hama")
    parser.add_argument("--graph", help="measure search too, with this graph folder")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts (3)")
    options = parser.parse_args()

    model = acoustic.load(options.model, options.device)
    waves = [r.load(model.sample_rate) for r in recordings(options.recordings)]
    waves.sort(key=len)
    seconds = sum(len(wave) for wave in waves) / model.sample_rate
    search, reason = _search(options.graph, options.device)

    print(f"{len(waves)} recordings, {seconds:.0f} s; {_machine(options.device)}")
    if reason:
        print(f"acoustic model alone: {reason}")
    print("\n| batch | acoustic model | search | both |\n| ---: | ---: | ---: | ---: |")
    for size in options.batches:
        batches = [waves[i : i + size] for i in range(0, len(waves), size)]
        model_time = _time(
            lambda: [model.posteriors(b, model.sample_rate) for b in batches],  # noqa: B023
            options,
        )
        row = [f"{seconds / model_time:.0f} ×", "", ""]
        if search is not None:
            posteriors = [model.posteriors(b, model.sample_rate) for b in batches]
            search_time = _time(lambda: [search(p) for p in posteriors], options)  # noqa: B023
            row[1:] = [
                f"{seconds / search_time:.0f} ×",
                f"{seconds / (model_time + search_time):.0f} ×",
            ]
        print(f"| {size} | " + " | ".join(row) + " |")


def _search(
    graph_folder: str | None, device: str
) -> tuple[Callable[[Posteriors], object] | None, str]:
    """Function that decodes a batch of posteriors, or the reason why there is none."""
    if graph_folder is None:
        return None, "no --graph given"
    try:
        import k2
    except ImportError:
        return None, "k2 is not installed"
    if device.startswith("cuda") and not k2.with_cuda:
        return None, "this k2 was built without CUDA"
    from asr_hlg.graph import DecodingGraph
    from asr_hlg.search import decode

    graph = DecodingGraph.load(graph_folder, device)
    return lambda posteriors: decode(graph, posteriors).best_path(), ""


def _time(work: Callable[[], object], options: argparse.Namespace) -> float:
    """Seconds of the fastest of several runs, after a first run that is not measured."""
    fastest = float("inf")
    for run in range(options.repeats + 1):
        begin = time.perf_counter()
        work()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        if run:
            fastest = min(fastest, time.perf_counter() - begin)
    return fastest


def _machine(device: str) -> str:
    """Name of the GPU or processor, version of torch, and number of threads."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return f"{name}, torch {torch.__version__}, {torch.get_num_threads()} CPU threads"


if __name__ == "__main__":
    main()
