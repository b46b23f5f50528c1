"""``asr-hlg draw``: pictures of graphs, lattices and alignments."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg import draw
from asr_hlg.errors import OptionError
from asr_hlg.graph.build import read_parts
from asr_hlg.graph.lookup import graph_folder, recipe_path
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.topology import make_topology

EPILOG = """\
WHAT is one of:
  H L G HL LG HLG    parts of a recipe's graph and their compositions; with a tree, H is H∘C
  C                  phones in context to phones: all pairs, or triples where context = 3
  ctc hmm            these topologies over the phones of the recipe
  lattice            the ten best word sequences of a recording, as one graph
  alignment          the posteriors of a recording with the best path and its words on top

examples:
  asr-hlg draw HLG cat_hat.svg
  asr-hlg draw L digits.png --graph digits --probabilities
  asr-hlg draw alignment alignment.png --graph en --audio examples/01-slt.wav
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg draw``."""
    parser.epilog = EPILOG
    names = (*draw.PARTS, *draw.DECODED)
    parser.add_argument("what", choices=names, metavar="WHAT", help="see below")
    parser.add_argument("output", type=Path, help="a .svg, .png, .pdf or (for automata) .dot file")
    parser.add_argument(
        "--graph",
        default="cat_hat",
        help="recipe or compiled graph: NAME in graphs/, or a path (default: cat_hat)",
    )
    parser.add_argument("--audio", help="recording, for lattice and alignment")
    parser.add_argument(
        "--probabilities", action="store_true", help="show probabilities instead of log scores"
    )
    parser.add_argument(
        "--disambig", action="store_true", help="draw L with its disambiguation symbols #1, #2, …"
    )
    parser.add_argument(
        "--max-arcs", type=int, default=500, help="refuse to draw more arcs (default: 500)"
    )


def run(options: argparse.Namespace) -> int:
    """Draw one picture."""
    if options.what in draw.DECODED:
        if options.audio is None:
            raise OptionError(f"{options.what} needs a recording", remedy="name it with --audio")
        draw.decode_and_draw(
            options.what, options.output, graph_folder(options.graph), options.audio
        )
        return 0
    recipe = Recipe.read(recipe_path(options.graph))
    lexicon, G = read_parts(recipe)
    H, columns = make_topology(recipe, lexicon)
    draw.part(
        options.what,
        options.output,
        lexicon,
        G,
        H,
        columns,
        context=max(2, recipe.topology.context),
        disambig=options.disambig,
        probabilities=options.probabilities,
        max_arcs=options.max_arcs,
    )
    return 0
