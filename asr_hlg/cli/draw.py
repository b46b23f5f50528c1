"""``asr-hlg draw``: pictures of graphs and of what search found in them."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg import acoustic, draw
from asr_hlg.audio import recordings
from asr_hlg.cli.arguments import graph_folder, recipe_path
from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph, store
from asr_hlg.graph.build import read_parts
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.topology import make_topology
from asr_hlg.search import decode

HEARD = ("lattice", "alignment")

EPILOG = """\
what:
  H L G HL LG HLG    parts of a recipe's graph and their compositions
  ctc hmm            those topologies over the recipe's phones
  lattice            the ten best word sequences of a recording, as one graph
  alignment          a recording's posteriors with the best path and its words on top

examples:
  asr-hlg draw HLG cat_hat.svg                              graphs/cat_hat.toml is the default
  asr-hlg draw L digits.png --graph digits --probabilities
  asr-hlg draw alignment talk.png --graph en --audio talk.wav
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg draw``."""
    parser.epilog = EPILOG
    parser.add_argument("what", choices=(*draw.KINDS, *HEARD), metavar="WHAT", help="see below")
    parser.add_argument("output", type=Path, help="a .svg, .png, .pdf or (automata) .dot file")
    parser.add_argument("--graph", default="cat_hat", help="a NAME in graphs/, or a path (cat_hat)")
    parser.add_argument("--audio", help="the recording, for lattice and alignment")
    parser.add_argument(
        "--probabilities", action="store_true", help="0.5 on arcs instead of its logarithm"
    )
    parser.add_argument("--disambig", action="store_true", help="L with its #1, #2, …")
    parser.add_argument(
        "--max-arcs", type=int, default=500, help="refuse to draw more than that (500)"
    )


def run(options: argparse.Namespace) -> int:
    """Draw one picture."""
    if options.what in HEARD:
        _draw_heard(options)
    else:
        recipe = Recipe.read(recipe_path(options.graph))
        lexicon, G = read_parts(recipe)
        draw.part(
            options.what,
            options.output,
            lexicon,
            G,
            make_topology(recipe.topology, lexicon.num_tokens),
            disambig=options.disambig,
            probabilities=options.probabilities,
            max_arcs=options.max_arcs,
        )
    return 0


def _draw_heard(options: argparse.Namespace) -> None:
    if options.audio is None:
        raise OptionError(f"{options.what} needs a recording", remedy="name it with --audio")
    folder = graph_folder(options.graph)
    graph = DecodingGraph.load(folder)
    model = acoustic.load(store.acoustic_model(folder, graph.meta))
    (recording,) = recordings([options.audio])
    samples = recording.load(model.sample_rate)
    lattice = decode(graph, model.posteriors([samples], model.sample_rate))
    getattr(draw, options.what)(lattice, options.output)
