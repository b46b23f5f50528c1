"""``asr-hlg info``: size, sources and history of a compiled graph."""

from __future__ import annotations

import argparse
import json
from typing import Any

from asr_hlg.cli.arguments import add_json
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.lookup import graph_folder

EPILOG = """\
examples:
  asr-hlg info cat_hat
  asr-hlg info graphs/cat_hat --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg info``."""
    parser.epilog = EPILOG
    text = "compiled graph: its folder, or a NAME of `asr-hlg graph --list`"
    parser.add_argument("graph", help=text)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print a graph's size, sources and history."""
    info = DecodingGraph.load(graph_folder(options.graph)).info()
    if options.json:
        print(json.dumps(info, indent=1, ensure_ascii=False))
        return 0
    for key in ("name", "compiled", "words", "pronunciations", "tokens"):
        value = info.get(key, "")
        print(f"{key:<18}{value:,}" if isinstance(value, int) else f"{key:<18}{value}")
    if "imported" in info:
        kind, size = info["imported"]["kind"], info["imported"]
        print(f"{'imported':<18}{kind}, {size['states']:,} states, {size['arcs']:,} arcs", end="")
        print(f", {info['packed_fst_mb']:,.0f} MB for token passing")
    else:
        _print_composed(info)
    print("sources")
    for name, source in info.get("sources", {}).items():
        print(f"  {name:<40}{source['bytes']:>12,} bytes  sha256 {source['sha256'][:16]}")
    print("stages")
    for stage in info.get("stages", []):
        print(
            f"  {stage['name']:<24}{stage['states']:>12,} states{stage['arcs']:>12,} arcs"
            f"{stage['seconds']:>8.1f} s{stage['memory_mb']:>8,.0f} MB"
        )
    print("versions          " + ", ".join(f"{k} {v}" for k, v in info.get("versions", {}).items()))
    return 0


def _print_composed(info: dict[str, Any]) -> None:
    """Print sizes of L∘G and H∘L∘G."""
    lg = info["lg"]
    print(f"{'L∘G':<18}{lg['states']:,} states, {lg['arcs']:,} arcs", end="")
    print(f", {info['packed_mb']:,.0f} MB for token passing" if "packed_mb" in info else "")
    hlg = info.get("hlg")
    composed = "composed when k2's search first needs it"
    if hlg:
        composed = (
            f"{hlg['states']:,} states, {hlg['arcs']:,} arcs, {hlg['memory_mb']:,.0f} MB for k2"
        )
    print(f"{'H∘L∘G':<18}{composed}")
    print(
        f"{'ε in L∘G':<18}{lg['epsilon_share']:.1%} of arcs, longest path {lg['longest_epsilon']}"
    )
