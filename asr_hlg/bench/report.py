"""A benchmark's figures as Markdown, as JSON, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from asr_hlg.bench import graphs, search, systems


@dataclass
class GraphReport:
    """What was measured with one graph.

    Attributes
    ----------
    name : str
    memory_mb : dict of str to float
        What an engine keeps of the graph in memory.
    search : list of asr_hlg.bench.search.Row
    systems : list of asr_hlg.bench.systems.Row
    compilation : list of asr_hlg.bench.graphs.Row
    """

    name: str
    memory_mb: dict[str, float] = field(default_factory=dict)
    search: list[search.Row] = field(default_factory=list)
    systems: list[systems.Row] = field(default_factory=list)
    compilation: list[graphs.Row] = field(default_factory=list)


@dataclass
class Report:
    """Everything that was measured.

    Attributes
    ----------
    machine : dict of str to str
        Processor and versions.
    sound : str
        What was recognised.
    left_out : list of str
        What could not be measured, and why.
    graphs : list of GraphReport
    """

    machine: dict[str, str]
    sound: str
    left_out: list[str] = field(default_factory=list)
    graphs: list[GraphReport] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Tables; speeds are multiples of real time."""
        head = ", ".join(
            value if name in ("date", "cpu", "memory") else f"{name} {value}"
            for name, value in self.machine.items()
            if value != "not installed"
        )
        parts = ["# Benchmark", f"{self.sound}. {head}."]
        parts += [f"Left out: {reason}." for reason in self.left_out]
        for graph in self.graphs:
            parts.append(f"## {graph.name}")
            parts += [
                table
                for table in (_search(graph), _systems(graph.systems), _steps(graph.compilation))
                if table
            ]
        return "\n\n".join(parts) + "\n"

    def draw(self, path: Path) -> None:
        """Word errors against speed: a line for every engine, min_active and graph, over beams."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for graph in self.graphs:
            for engine, least in dict.fromkeys((r.engine, r.min_active) for r in graph.search):
                rows = [r for r in graph.search if (r.engine, r.min_active) == (engine, least)]
                speeds, rates = [row.speed for row in rows], [row.wer for row in rows]
                axes.plot(speeds, rates, marker="o", label=f"{engine} {least}, {graph.name}")
                for row in rows:
                    axes.annotate(
                        f"{row.beam:g}",
                        (row.speed, row.wer),
                        textcoords="offset points",
                        xytext=(4, 4),
                        fontsize=8,
                    )
        axes.set_xscale("log")
        axes.set_xlabel("speed of the search, × real time, one thread")
        axes.set_ylabel("word error rate, %")
        axes.legend(title="points: beams; lines: min_active")
        axes.grid(alpha=0.3)
        figure.savefig(path)


def _search(graph: GraphReport) -> str:
    """Engines and settings; the last column compares with our fastest that errs no more."""
    if not graph.search:
        return ""
    found = search.ratios(graph.search)
    rows = []
    for row in graph.search:
        memory = graph.memory_mb.get(row.engine)
        rows.append(
            [
                row.engine,
                f"{row.beam:g}",
                str(row.min_active),
                f"{row.wer:.2f}",
                f"{row.speed:.0f}",
                "" if memory is None else f"{memory:.0f}",
                f"{found[row]:.1f} ×" if row in found else "",
            ]
        )
    ours = f"{search.OURS} at no more errors"
    return _table(["search", "beam", "min_active", "WER %", "× real time", "graph MB", ours], rows)


def _systems(rows: Sequence[systems.Row]) -> str:
    head = ["system", "threads", "WER %", "× real time", "start, s", "peak MB"]
    cells = [
        [
            row.system,
            str(row.threads),
            f"{row.wer:.2f}",
            f"{row.speed:.1f}",
            f"{row.start:.1f}",
            f"{row.memory_mb:.0f}",
        ]
        for row in rows
    ]
    return _table(head, cells) if rows else ""


def _steps(rows: Sequence[graphs.Row]) -> str:
    head = ["step", "seconds", "CPU seconds", "peak MB"]
    cells = [
        [row.step, f"{row.wall:.1f}", f"{row.cpu:.1f}", f"{row.memory_mb:.0f}"] for row in rows
    ]
    return _table(head, cells) if rows else ""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
