"""``asr-hlg graph export``: write one of our graphs for another decoder."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.export import FORMATS, export
from asr_hlg.graph.lookup import graph_folder

SUMMARY = "write a compiled graph for another decoder"
EPILOG = """\
  openfst  HLG.fst (const; input labels are columns + 1, 0 is ε), as sherpa-onnx and kaldi-decoder
           read it, and Kaldi where its acoustic scores come with the same labels
  k2       HLG.pt, a dictionary for k2.Fsa.from_dict; needs k2
  icefall  the same with lexicon.txt, a folder lang_* for icefall's decode.py; needs k2

Each comes with tokens.txt (the columns of the posteriors) and words.txt.

examples:
  asr-hlg graph export cat_hat --format openfst --output exported/
  asr-hlg graph import exported/HLG.fst again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg graph export``."""
    parser.epilog = EPILOG
    parser.add_argument("graph", metavar="NAME", help="compiled graph: its folder or its name")
    parser.add_argument("--format", choices=FORMATS, default="openfst", help="default: openfst")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: NAME-FORMAT in the current folder"
    )


def run(options: argparse.Namespace) -> int:
    """Export a graph."""
    graph = DecodingGraph.load(graph_folder(options.graph))
    folder = options.output or Path(f"{Path(options.graph).name}-{options.format}")
    for path in export(graph, folder, options.format):
        print(path)
    return 0
