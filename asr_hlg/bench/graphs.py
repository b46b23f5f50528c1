"""Time and memory of compiling a recipe and loading its graph, compared with OpenFst.

Every step runs in a separate process, such as ``python -m asr_hlg.bench.graphs load graphs/en``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from asr_hlg.bench import measure
from asr_hlg.graph import DecodingGraph, compile
from asr_hlg.graph.build import read_parts
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """Time and memory of one step in a separate process, including the start of Python.

    Attributes
    ----------
    step : str
    wall, cpu : float
        Seconds.
    memory_mb : float
        Peak resident memory.
    """

    step: str
    wall: float
    cpu: float
    memory_mb: float


def compare(recipe: Path, with_hlg: bool = True) -> list[Row]:
    """Measure compilation and loading here, and OpenFst's composition and determinization.

    Parameters
    ----------
    recipe : Path
        A .toml file.
    with_hlg : bool
        Also measure the composition of H∘L∘G.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="asr_hlg-") as folder:
        graph = [sys.executable, "-m", "asr_hlg.cli", "graph", str(recipe), "--output", folder]
        step_of = [sys.executable, "-m", "asr_hlg.bench.graphs"]
        steps = {
            "read L and G": [*step_of, "read", str(recipe)],
            "read, compose, determinize_star, minimize_encoded (kaldifst)": [
                *step_of,
                "openfst",
                str(recipe),
            ],
            "compile, for token passing": graph,
            "load, for token passing": [*step_of, "load", folder],
        }
        if with_hlg:
            steps["compose H∘(L∘G), for k2"] = [*graph, "--hlg"]
            steps["load, for k2"] = [*step_of, "load-hlg", folder]
        for step, command in steps.items():
            cost = measure.run(command, threads=1)
            rows.append(Row(step, cost.wall, cost.cpu, cost.memory_mb))
    return rows


def main() -> None:
    """Run one step and discard its result."""
    step, path = sys.argv[1], Path(sys.argv[2])
    if step == "load":
        DecodingGraph.load(path)
    elif step == "load-hlg":
        DecodingGraph.load(path).fsa  # noqa: B018
    else:
        lexicon, G = read_parts(Recipe.read(path))
        if step == "openfst":
            compile.compose_lg(lexicon.arcs(disambig=True), G, Meter())


if __name__ == "__main__":
    main()
