"""All parts of the benchmark, with one or more graphs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from asr_hlg import acoustic
from asr_hlg.audio import Recording, recordings
from asr_hlg.bench import graphs, measure, search, systems
from asr_hlg.bench.report import GraphReport, Report
from asr_hlg.errors import AsrHlgError
from asr_hlg.graph import DecodingGraph, store

PARTS = ("search", "systems", "graphs")


@dataclass(frozen=True)
class BenchOptions:
    """What to measure; see ``asr-hlg bench --help``."""

    parts: Sequence[str] = PARTS
    beams: Sequence[float] = (8, 10, 12, 14)
    min_active: Sequence[int] = ()
    engines: Sequence[str] = search.ENGINES
    systems: Sequence[str] = systems.SYSTEMS
    rounds: int = 2
    threads: int = 2


def run(
    inputs: Sequence[str],
    references: Mapping[str, str],
    folders: Sequence[Path],
    options: BenchOptions,
    limit: int | None = None,
) -> Report:
    """Measure all parts with every graph.

    Parameters
    ----------
    inputs : sequence of str
        Recordings, as `asr_hlg.audio.recordings` takes them; those with a reference are used.
    references : mapping of str to str
    folders : sequence of Path
        Compiled graphs.
    options : BenchOptions
    limit : int, optional
        Use only that many recordings.

    Raises
    ------
    AsrHlgError
        If fewer than two recordings have a reference.
    """
    wavs = [r for r in recordings(inputs) if r.id in references][:limit]
    if len(wavs) < 2:
        raise AsrHlgError(
            f"{len(wavs)} of the recordings have a reference",
            remedy="name two or more whose ids (file names without suffix) begin its lines",
        )
    engines, without_engines = _installed(options.engines, search.missing)
    chosen, without_systems = _installed(options.systems, systems.missing)
    report = Report(
        measure.machine(), f"{len(wavs)} recordings", [*without_engines, *without_systems]
    )
    torch.set_num_threads(1)
    for folder in dict.fromkeys(folders):
        result = GraphReport(folder.name)
        report.graphs.append(result)
        if "search" in options.parts:
            _search(result, folder, wavs, references, options, engines)
        if "systems" in options.parts:
            result.systems = systems.compare(wavs, references, folder, options.threads, chosen)
            # The other systems do not use the graph, so one measurement is enough.
            chosen = [name for name in chosen if name == systems.OURS]
        recipe = folder.with_suffix(".toml")
        if "graphs" in options.parts and recipe.is_file():
            print(f"compiling {recipe} several times", file=sys.stderr)
            result.compilation = graphs.compare(recipe)
    return report


def _installed(names: Sequence[str], missing: Callable[[str], str]) -> tuple[list[str], list[str]]:
    """Names that can be measured, each once, and reasons why the others cannot."""
    lacking = {name: missing(name) for name in names}
    reasons = [
        f"{name}, since {lacks} is not installed" for name, lacks in lacking.items() if lacks
    ]
    return [name for name, lacks in lacking.items() if not lacks], reasons


def _search(
    result: GraphReport,
    folder: Path,
    wavs: Sequence[Recording],
    references: Mapping[str, str],
    options: BenchOptions,
    engines: Sequence[str],
) -> None:
    """Measure the search engines with one graph."""
    graph = DecodingGraph.load(folder)
    model = acoustic.load(store.acoustic_model(folder, graph.meta))
    posteriors = search.compute_posteriors(model, wavs, graph.columns)
    result.search = search.compare(
        graph, posteriors, references, options.beams, options.min_active, options.rounds, engines
    )
    info = graph.info()
    result.memory_mb["tokens"] = info["packed_mb"]
    if "hlg" in info:
        result.memory_mb["k2"] = info["hlg"]["memory_mb"]
