"""Compiling a recipe and loading its graph, beside OpenFst's way to the same language.

python -m asr_hlg.bench.graphs openfst graphs/en.toml
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
    """One step in a process of its own, Python's start included.

    Attributes
    ----------
    step : str
    wall, cpu : float
        Seconds.
    memory_mb : float
        Peak resident size.
    """

    step: str
    wall: float
    cpu: float
    memory_mb: float


def compare(recipe: Path, with_hlg: bool = True) -> list[Row]:
    """What a recipe costs: compiled here, and by OpenFst's composition and determinization.

    Parameters
    ----------
    recipe : Path
        A file that ends in .toml.
    with_hlg : bool
        Measure the composition of H∘L∘G, too.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="asr_hlg-") as folder:
        graph = [sys.executable, "-m", "asr_hlg.cli", "graph", str(recipe), "--output", folder]
        own = [sys.executable, "-m", "asr_hlg.bench.graphs"]
        steps = {
            "read L and G": [*own, "read", str(recipe)],
            "read, compose, determinize_star, minimize_encoded (kaldifst)": [
                *own,
                "openfst",
                str(recipe),
            ],
            "compile, for token passing": graph,
            "load, for token passing": [*own, "load", folder],
        }
        if with_hlg:
            steps["compose H∘(L∘G), for k2"] = [*graph, "--hlg"]
            steps["load, for k2"] = [*own, "load-hlg", folder]
        for step, command in steps.items():
            cost = measure.run(command, threads=1)
            rows.append(Row(step, cost.wall, cost.cpu, cost.memory_mb))
    return rows


def main() -> None:
    """Do one step, and nothing with its result."""
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
