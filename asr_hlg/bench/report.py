"""Benchmark results as Markdown, as JSON, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asr_hlg.bench import graphs, search, systems


@dataclass
class GraphReport:
    """Results with one graph.

    Attributes
    ----------
    name : str
    memory_mb : dict of str to float
        Memory of the graph by engine.
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
    """Results of all graphs.

    Attributes
    ----------
    machine : dict of str to str
        Date, processor, memory and versions of packages.
    sound : str
        Description of the recordings.
    left_out : list of str
        Engines and systems that could not be measured, with the reason.
    graphs : list of GraphReport
    """

    machine: dict[str, str]
    sound: str
    left_out: list[str] = field(default_factory=list)
    graphs: list[GraphReport] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write bench.json, bench.md and, after a search and with matplotlib, bench.svg."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.json").write_text(self.to_json(), encoding="utf-8")
        if any(graph.search for graph in self.graphs):
            try:
                self.draw(folder / "bench.svg")
            except ImportError:
                self.left_out.append("the picture, since matplotlib is not installed")
        (folder / "bench.md").write_text(self.to_markdown(), encoding="utf-8")

    def to_json(self) -> str:
        """Results as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Tables of the results; speeds are multiples of real time."""
        head = ", ".join(
            value if name in ("date", "cpu", "memory") else f"{name} {value}"
            for name, value in self.machine.items()
            if value != "not installed"
        )
        parts = ["# Benchmark", f"{self.sound}. {head}."]
        parts += [f"Left out: {reason}." for reason in self.left_out]
        for graph in self.graphs:
            parts.append(f"## {graph.name}")
            parts += filter(None, (_search(graph), _systems(graph), _steps(graph)))
        return "\n\n".join(parts) + "\n"

    def draw(self, path: Path) -> None:
        """Plot word errors against speed, a line per engine, min_active and graph, over beams."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for graph in self.graphs:
            for line in dict.fromkeys((r.engine, r.min_active) for r in graph.search):
                rows = [r for r in graph.search if (r.engine, r.min_active) == line]
                speeds, rates = [row.speed for row in rows], [row.wer for row in rows]
                axes.plot(speeds, rates, marker="o", label=f"{line[0]} {line[1]}, {graph.name}")
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
    """Table of the engines; the last column is our speed relative to theirs at no more errors."""
    faster = search.ratios(graph.search)
    rows = []
    for row in graph.search:
        memory = graph.memory_mb.get(row.engine)
        rows.append(
            asdict(row)
            | {"memory": "" if memory is None else f"{memory:.0f}"}
            | {"ratio": f"{faster[row]:.1f} ×" if row in faster else ""}
        )
    columns = {
        "search": "{engine}",
        "beam": "{beam:g}",
        "min_active": "{min_active}",
        "WER %": "{wer:.2f}",
        "× real time": "{speed:.0f}",
        "graph MB": "{memory}",
        f"{search.OURS} at no more errors": "{ratio}",
    }
    return _table(columns, rows)


def _systems(graph: GraphReport) -> str:
    """Table of the whole systems."""
    columns = {
        "system": "{system}",
        "threads": "{threads}",
        "WER %": "{wer:.2f}",
        "× real time": "{speed:.1f}",
        "start, s": "{start:.1f}",
        "peak MB": "{memory_mb:.0f}",
    }
    return _table(columns, map(asdict, graph.systems))


def _steps(graph: GraphReport) -> str:
    """Table of the steps of compilation."""
    columns = {
        "step": "{step}",
        "seconds": "{wall:.1f}",
        "CPU seconds": "{cpu:.1f}",
        "peak MB": "{memory_mb:.0f}",
    }
    return _table(columns, map(asdict, graph.compilation))


def _table(columns: dict[str, str], rows: Iterable[dict[str, Any]]) -> str:
    """Markdown table from the format of every column; empty without rows."""
    cells = [[form.format(**row) for form in columns.values()] for row in rows]
    lines = [list(columns), ["---"] * len(columns), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if cells else ""
