"""``asr-hlg graph export``: write one of our graphs for another decoder."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.export import FORMATS, export
from asr_hlg.graph.lookup import graph_folder

KALDI = "kaldi"

SUMMARY = "write a compiled graph for another decoder"
EPILOG = """\
  openfst  HLG.fst (const; input labels are columns + 1, 0 is ε), as sherpa-onnx and kaldi-decoder
           read it, and Kaldi where its acoustic scores come with the same labels
  k2       HLG.pt, a dictionary for k2.Fsa.from_dict; needs k2
  icefall  the same with lexicon.txt, a folder lang_* for icefall's decode.py; needs k2
  kaldi    the folder of a model as Vosk reads it, with the network of --model: am/final.mdl,
           conf and graph/HCLG.fst, for the topologies hmm and chain (docs/kaldi.md)

All but kaldi come with tokens.txt (the columns of the posteriors) and words.txt.

examples:
  asr-hlg graph export cat_hat --format openfst --output exported/
  asr-hlg graph import exported/HLG.fst again
  asr-hlg graph export digits-chain --format kaldi --model exp/lf_mmi --output exp/vosk
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg graph export``."""
    parser.epilog = EPILOG
    parser.add_argument("graph", metavar="NAME", help="compiled graph: its folder or its name")
    formats = (*FORMATS, KALDI)
    parser.add_argument("--format", choices=formats, default="openfst", help="default: openfst")
    parser.add_argument(
        "--model", metavar="MODEL", help="with --format kaldi: a TDNN that asr-hlg train trained"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: NAME-FORMAT in the current folder"
    )


def run(options: argparse.Namespace) -> int:
    """Export a graph."""
    if (options.format == KALDI) != (options.model is not None):
        raise OptionError("--model and --format kaldi go together")
    folder = options.output or Path(f"{Path(options.graph).name}-{options.format}")
    if options.format == KALDI:
        from asr_hlg.acoustic.kaldi.export import export_model  # imports torch

        export_model(graph_folder(options.graph), options.model, folder)
        print(folder)
        return 0
    graph = DecodingGraph.load(graph_folder(options.graph))
    for path in export(graph, folder, options.format):
        print(path)
    return 0
