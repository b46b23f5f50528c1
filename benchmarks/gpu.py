#!/usr/bin/env python3
"""Search in tensor operations on a GPU: first whether it is right, then how fast it is.

    benchmarks/gpu.py store recordings/ --posteriors build/posteriors.npz   # needs the network
    benchmarks/gpu.py run --posteriors build/posteriors.npz --device cuda --graph en

``store`` computes the posteriors of recordings and stores them, so that ``run`` needs no network:
torch, numpy, numba and this project are enough. ``run`` compares best paths and scores with those
of token passing on the CPU, for graphs of every topology, and measures only if they are equal:
seconds of sound per second over batch sizes, beams and graphs, frames per second, operations of
torch, our kernels and launches (of kernels and of captured graphs) per frame, and memory. On a GPU
it does so for the kernels replayed as CUDA graphs, for those launched one by one, and for the
operations of torch. Beside it stand token passing on one and on all cores, k2 where it is
installed, and on a GPU torchaudio's CUDA CTC decoder (which has no graph) where it can be imported.
Results are written to the folder --output: gpu.json, gpu.md and gpu.svg (with matplotlib).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr_hlg import threads
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.lookup import graph_folder
from asr_hlg.search import SearchOptions, make_decoder
from asr_hlg.search.fused_launch import FRAME_KERNELS, PRUNING_KERNELS

PROFILED_FRAMES = 50
"""Frames of each utterance of which operations are counted."""


def main() -> None:
    """Store posteriors, or measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("store", "run"):
        command = commands.add_parser(name)
        if name == "store":
            command.add_argument("recordings", nargs="+")
            command.add_argument("--model", default="hama")
        command.add_argument("--posteriors", type=Path, default=Path("build/posteriors.npz"))
        command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    command.add_argument("--graph", nargs="+", default=["en"], help="(default: en)")
    command.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32, 64, 256])
    command.add_argument("--beam", type=float, nargs="+", default=[8.0, 14.0])
    command.add_argument("--limit", type=int, help="first so many utterances only")
    command.add_argument("--rounds", type=int, default=3, help="the fastest counts (default: 3)")
    command.add_argument("--output", type=Path, default=Path("build/gpu"))
    options = parser.parse_args()
    if options.command == "store":
        store(options.recordings, options.model, options.device, options.posteriors)
    else:
        run(options)


def store(paths: list[str], model_name: str, device: str, target: Path) -> None:
    """Write the posteriors of recordings of at most half a minute to an npz file."""
    from asr_hlg import acoustic
    from asr_hlg.audio import recordings

    model = acoustic.load(model_name, device)
    arrays: dict[str, Any] = {"tokens": np.array(model.tokens), "shift": model.frame_shift}
    for recording in recordings(paths):
        samples = recording.load(model.sample_rate)
        if len(samples) <= 30 * model.sample_rate:
            posteriors = model.posteriors([samples], model.sample_rate)
            arrays["utterance:" + recording.id] = posteriors.array[0].astype(np.float32)
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **arrays)
    print(f"{len(arrays) - 2} utterances in {target}")


def read(path: Path, limit: int | None) -> list[Posteriors]:
    """Stored utterances, the shortest first."""
    with np.load(path) as file:
        tokens, shift = tuple(file["tokens"].tolist()), float(file["shift"])
        names = [name for name in file.files if name.startswith("utterance:")][:limit]
        frames = sorted((file[name] for name in names), key=len)
    return [Posteriors(array[None], [len(array)], shift, tokens) for array in frames]


def run(options: argparse.Namespace) -> None:
    """Compare results, then measure, and write what was found."""
    utterances = read(options.posteriors, options.limit)
    seconds = sum(int(u.lengths[0]) * u.frame_shift for u in utterances)
    result: dict[str, Any] = {
        "machine": machine(options.device),
        "utterances": len(utterances),
        "seconds": seconds,
        "rows": [],
        "left_out": [],
    }
    for name in options.graph:
        graph = DecodingGraph.load(graph_folder(name))
        for beam in options.beam:
            search = replace(SearchOptions.from_graph(graph), search_beam=beam)
            result["rows"] += measure(graph, name, utterances, search, options, result["left_out"])
    rate = torchaudio_decoder(utterances, options, result["left_out"])
    if rate:
        size = max(options.batch)
        row = {"graph": "none", "beam": 0.0, "engine": "torchaudio CUCTCDecoder", "batch": size}
        result["rows"].append(row | rate)
    write(result, options.output)


def measure(
    graph: DecodingGraph,
    name: str,
    utterances: list[Posteriors],
    search: SearchOptions,
    options: argparse.Namespace,
    left_out: list[str],
) -> Iterator[dict[str, Any]]:
    """Rows of the table for one graph and beam."""
    device = options.device
    tensors = make_decoder(graph.to(device), replace(search, engine="tensors"))
    tokens = make_decoder(graph, replace(search, engine="auto"))  # on the CPU
    common = {"graph": name, "beam": search.search_beam, "wrong": 0}
    threads.limit(len(os.sched_getaffinity(0)))
    for used in sorted({1, threads.number()}):
        threads.limit(used)
        rate = throughput(tokens, utterances, len(utterances), options.rounds, "cpu")
        yield {**common, "engine": f"token passing, {used} threads", "batch": 0, **rate}
    threads.limit(1)  # the tensors of a frame are too small to be divided
    for form in forms(tensors):
        differing = compare(tensors, tokens, utterances)
        if differing:
            raise SystemExit(f"{name}, beam {search.search_beam:g}, {form}: {differing}")
        print(f"{name}, beam {search.search_beam:g}, {form}: equal best paths and scores")
        for size in options.batch if form == "tensors" else [max(options.batch)]:
            rate = throughput(tensors, utterances, size, options.rounds, device)
            launches = operations(tensors, utterances[-size:], device)
            if getattr(tensors, "fused", False):
                launches["kernels_per_frame"] = len(FRAME_KERNELS) + len(PRUNING_KERNELS)
            yield {**common, "engine": form, "batch": size, **rate, **launches}
    if find_spec("k2") is None:
        left_out.append("k2: not installed")
        return
    import k2

    if device != "cpu" and not k2.with_cuda:
        left_out.append("k2: this one was built without CUDA")
        return
    decoder = make_decoder(graph.to(device), replace(search, engine="k2"))
    size = max(options.batch)
    rate = throughput(decoder, utterances, size, options.rounds, device)
    yield {**common, "engine": "k2", "batch": size, **rate}


def forms(decoder: Any) -> Iterator[str]:
    """Give a decoder each of its forms in turn; "tensors" is the one that it has by itself."""
    yield "tensors"
    capturing = getattr(decoder, "kernels", decoder)
    if getattr(capturing, "capture", None) is not None:
        capturing.capture = None
        yield "tensors, without CUDA graphs"
    if getattr(decoder, "fused", False):
        decoder.fused = False
        yield "tensors, without kernels"


def torchaudio_decoder(
    utterances: list[Posteriors], options: argparse.Namespace, left_out: list[str]
) -> dict[str, float]:
    """Throughput of torchaudio's CUDA decoder, a beam search without graph; empty without it."""
    if options.device == "cpu" or not importable("torchaudio.models.decoder"):
        left_out.append("torchaudio's CUDA CTC decoder: no GPU, or not importable")
        return {}
    from torchaudio.models.decoder import cuda_ctc_decoder

    search = cuda_ctc_decoder(list(utterances[0].tokens), beam_size=10)

    class Adapted:
        """The decoder with our method."""

        def decode(self, posteriors: Posteriors) -> Any:
            lengths = torch.from_numpy(posteriors.lengths).to(posteriors.log_probs.device)
            return search(posteriors.log_probs, lengths)

    size = max(options.batch)
    return throughput(Adapted(), utterances, size, options.rounds, options.device)


def compare(decoder: Any, reference: Any, utterances: list[Posteriors]) -> list[str]:
    """What differs between the best paths of two decoders."""
    differing = []
    for begin in range(0, len(utterances), 32):
        batch = Posteriors.collate(utterances[begin : begin + 32])
        paths = [each.decode(batch).best_path() for each in (decoder, reference)]
        for row, (found, expected) in enumerate(zip(*paths, strict=True)):
            if found.words != expected.words or abs(found.score - expected.score) > 1e-4:
                differing.append(f"utterance {begin + row}: {found.score} and {expected.score}")
    return differing


def throughput(
    decoder: Any, utterances: list[Posteriors], size: int, rounds: int, device: str
) -> dict[str, float]:
    """Seconds of sound and frames per second, and the peak of the GPU's memory in MB."""
    batches = [
        Posteriors.collate(utterances[i : i + size]).to(device)
        for i in range(0, len(utterances), size)
    ]
    gpu = device != "cpu"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    fastest = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        for batch in batches:
            decoder.decode(batch)
        if gpu:
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - begin)
    frames = sum(int(batch.lengths.sum()) for batch in batches)
    result = {
        "real_time": frames * utterances[0].frame_shift / fastest,
        "frames_per_second": frames / fastest,
    }
    return result | ({"memory_mb": torch.cuda.max_memory_allocated() / 1e6} if gpu else {})


def operations(decoder: Any, utterances: list[Posteriors], device: str) -> dict[str, float]:
    """Operations of torch per frame of a batch, kernel launches, and waits for the device.

    Views of tensors are no operations. Without a GPU nothing is launched: there, only operations
    are counted, and those that would make the host wait on a GPU.
    """
    from torch.profiler import ProfilerActivity, profile

    batch = Posteriors.collate(utterances)
    shortened = np.minimum(batch.lengths, PROFILED_FRAMES)
    begin = batch.array[:, :PROFILED_FRAMES]
    batch = Posteriors(begin, shortened, batch.frame_shift, batch.tokens).to(device)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device != "cpu")
    with profile(activities=activities) as profiler:
        decoder.decode(batch)
    frames = int(batch.lengths.max())
    counts = {event.key: event.count for event in profiler.key_averages()}
    computing = {f"aten::{name}" for name in COMPUTING.split("|")}
    leaves = sum(n for key, n in counts.items() if key in computing or key[:-1] in computing)
    waits = sum(counts.get(key, 0) for key in ("aten::nonzero", "aten::_local_scalar_dense"))
    waits += counts.get("aten::repeat_interleave", 0)
    launching = "LaunchKernel", "GraphLaunch"
    launched = sum(n for key, n in counts.items() if any(name in key for name in launching))
    return {
        "operations_per_frame": leaves / frames,
        "waits_per_frame": waits / frames,
        **({"launches_per_frame": launched / frames} if device != "cpu" else {}),
    }


COMPUTING = (
    "add|sub|mul|div|gather|cat|copy_|fill_|zero_|scatter_|scatter_reduce_|scatter_add_|cumsum|sort"
    "|nonzero|repeat_interleave|arange|eq|ge|gt|lt|bitwise_and|bitwise_not|where|masked_fill_"
    "|clamp|clamp_min|clamp_max|searchsorted|maximum"
)
"""Operations of torch that are kernels by themselves, also with an underscore at the end."""


def importable(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        import_module(module)
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def machine(device: str) -> str:
    """Name of the GPU or processor, version of torch, and number of cores."""
    name = torch.cuda.get_device_name(device) if device != "cpu" else platform.processor()
    cores = len(os.sched_getaffinity(0))
    return f"{name or platform.machine()}, torch {torch.__version__}, {cores} CPU cores"


def write(result: dict[str, Any], folder: Path) -> None:
    """Write JSON, a table in Markdown, and a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"{result['utterances']} utterances, {result['seconds']:.0f} s; {result['machine']}",
        "",
        "| graph | beam | search | batch | × real time | frames/s | operations a frame "
        "| kernels a frame | waits a frame | launches a frame | memory |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        more = [
            f"{row[key]:.0f}" if key in row else ""
            for key in (
                "operations_per_frame",
                "kernels_per_frame",
                "waits_per_frame",
                "launches_per_frame",
                "memory_mb",
            )
        ]
        lines.append(
            f"| {row['graph']} | {row['beam']:g} | {row['engine']} | {row['batch'] or ''} "
            f"| {row['real_time']:.0f} | {row['frames_per_second']:.0f} | "
            + " | ".join(more)
            + " |"
        )
    lines += ["", *(f"Left out: {line}." for line in dict.fromkeys(result["left_out"]))]
    (folder / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    if find_spec("matplotlib") is not None:
        draw(result["rows"], folder / "gpu.svg")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot throughput over batch size, a line per graph and beam; others are level lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    for graph, beam in dict.fromkeys((row["graph"], row["beam"]) for row in rows):
        own = [row for row in rows if (row["graph"], row["beam"]) == (graph, beam)]
        line = [row for row in own if row["engine"] == "tensors"]
        axes.plot(
            [row["batch"] for row in line],
            [row["real_time"] for row in line],
            marker="o",
            label=f"tensors, {graph}, beam {beam:g}",
        )
        for row in own:
            if row["engine"] != "tensors":
                label = f"{row['engine']}, {graph}, beam {beam:g}"
                axes.axhline(row["real_time"], linestyle=":", label=label)
    axes.set(xlabel="batch", ylabel="× real time", xscale="log", yscale="log")
    axes.legend(fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    main()
