"""Arguments that several commands share, and paths of graphs and recipes from their names."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg.cli.parser import Parser
from asr_hlg.errors import GraphError


def add_command(
    parsers: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    epilog: str | None = None,
) -> Parser:
    """Add the parser of a command or of one of its actions, with a summary in the help text."""
    return parsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_graph(parser: argparse.ArgumentParser) -> None:
    """Argument ``--graph`` of commands that decode."""
    parser.add_argument(
        "--graph",
        default="en",
        help="compiled graph: its folder, or NAME for graphs/NAME (default: en)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Argument ``--device``."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Argument ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def graph_folder(name: str) -> Path:
    """Folder of a compiled graph: the path itself, or ``graphs/NAME``."""
    path = Path(name)
    if (path / "graph.json").is_file() or path.is_absolute() or len(path.parts) > 1:
        return path
    return Path("graphs") / name


def recipe_path(name: str) -> Path:
    """Path of a recipe: ``graphs/NAME.toml`` for a bare name, or the path itself."""
    if name.endswith(".toml"):
        return Path(name)
    path = Path("graphs") / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in Path("graphs").glob("*.toml"))) or "none"
        raise GraphError(
            f"there is no recipe {path}", remedy=f"recipes here: {known}; or name a .toml file"
        )
    return path
