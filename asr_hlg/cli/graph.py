"""``asr-hlg graph``: compile, or explain."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asr_hlg.errors import GraphError
from asr_hlg.graph.build import Report, build, load_lg
from asr_hlg.graph.explain import explain
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.store import load

EPILOG = """\
A recipe (graphs/NAME.toml) names a topology, a lexicon and a language model or grammar. The
graph goes into a folder beside it (graphs/NAME/). Nothing is done where nothing changed.

examples:
  asr-hlg graph en                             compile graphs/en.toml
  asr-hlg graph mine.toml --max-memory 4       stop, with advice, before 4 GB are passed
  asr-hlg graph en --explain "cat and hat"     the arcs that a sentence takes, or where it stops
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg graph``."""
    parser.epilog = EPILOG
    parser.add_argument("name", help="a recipe: graphs/NAME.toml, or a path that ends in .toml")
    parser.add_argument("--output", type=Path, help="folder for the graph (default: graphs/NAME)")
    parser.add_argument("--force", action="store_true", help="compile everything again")
    parser.add_argument(
        "--hlg",
        action="store_true",
        help="compose H∘L∘G for k2's engine and GPUs too, instead of when they first ask for it",
    )
    parser.add_argument(
        "--max-memory",
        type=float,
        metavar="GB",
        help="resident memory at which compilation stops and says what to prune (default: none)",
    )
    parser.add_argument("--explain", metavar="SENTENCE", help="show its way through the graph")


def run(options: argparse.Namespace) -> int:
    """Compile a recipe, then explain a sentence if one is given."""
    recipe = Recipe.read(recipe_path(options.name))
    report = Report(
        stage=lambda stage: print(stage, file=sys.stderr, flush=True),
        note=lambda text: print(f"{recipe.path.stem}: {text}", file=sys.stderr, flush=True),
    )
    folder = build(
        recipe,
        options.output,
        force=options.force,
        with_hlg=options.hlg,
        max_memory=options.max_memory,
        report=report,
    )
    if options.explain is None:
        return 0
    explanation = explain(load_lg(folder), load(folder).lexicon, options.explain)
    print(explanation)
    return 0 if explanation.stopped_at is None else 1


def recipe_path(name: str) -> Path:
    """``graphs/NAME.toml`` for a bare name; a path as it is."""
    if name.endswith(".toml"):
        return Path(name)
    path = Path("graphs") / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in Path("graphs").glob("*.toml"))) or "none"
        raise GraphError(
            f"there is no recipe {path}", remedy=f"recipes here: {known}; or name a .toml file"
        )
    return path
