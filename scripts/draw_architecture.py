"""Draw which room of asr_hlg imports which: docs/pictures/architecture.svg.

python scripts/draw_architecture.py     # part of `make docs`

An arrow from A to B means that files of A import files of B. Arrows that follow from others
(A imports B, B imports C, A imports C) are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import graphviz
import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "architecture.svg"


def room_imports() -> dict[str, set[str]]:
    """Return the rooms of the package, each with the rooms that it imports."""
    graph = grimp.build_graph("asr_hlg", cache_dir=None)
    rooms = {name for name in graph.find_children("asr_hlg") if graph.find_children(name)}
    for room in rooms:
        graph.squash_module(room)
    return {
        room.removeprefix("asr_hlg."): {
            name.removeprefix("asr_hlg.")
            for name in graph.find_modules_directly_imported_by(room) & rooms - {room}
        }
        for room in rooms
    }


def reduced(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the transitive reduction of an acyclic graph, given as successors."""

    def reachable(room: str) -> set[str]:
        return imports[room].union(*map(reachable, imports[room]))

    return {
        room: targets - set().union(*map(reachable, targets)) for room, targets in imports.items()
    }


def draw(imports: dict[str, set[str]]) -> graphviz.Digraph:
    """Return a picture in which imports point down."""
    picture = graphviz.Digraph(
        node_attr={"shape": "box", "style": "rounded", "fontname": "Helvetica"},
        graph_attr={"ranksep": "0.35", "nodesep": "0.2"},
        edge_attr={"arrowsize": "0.7"},
    )
    for room in sorted(imports):
        picture.node(room)
        for target in sorted(imports[room]):
            picture.edge(room, target)
    return picture


def main() -> int:
    """Draw the picture and print how many rooms and arrows there are."""
    imports = room_imports()
    draw(reduced(imports)).render(outfile=PICTURE, cleanup=True)
    print(f"{len(imports)} rooms, {sum(map(len, imports.values()))} imports between them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
