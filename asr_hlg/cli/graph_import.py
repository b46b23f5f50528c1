"""``asr-hlg graph import``: make a graph folder of a graph that another toolkit has compiled."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import metadata
from asr_hlg.graph.kaldi_graph import import_kaldi
from asr_hlg.graph.lookup import HERE
from asr_hlg.graph.meter import Meter, Stage
from asr_hlg.graph.openfst_graph import LABELS, ImportOptions, import_graph

SUMMARY = "make a graph folder of a graph that another toolkit has compiled"
EPILOG = """\
FILE is a graph in a binary OpenFst file (vector or const): H.fst, HL.fst, HLG.fst, TLG.fst of a
CTC model, or LG.fst, with which the CTC topology is composed. tokens.txt and words.txt are
looked for beside it. Or FILE is the folder of a Kaldi model: its HCLG.fst, or HCLr.fst with
Gr.fst, which are composed (with Vosk's Korean model: 45 million arcs, 1.1 GB on disk, 2.7 GB of
memory).

Input labels are numbered in one of three ways, which is detected and printed:
  shifted  id in tokens.txt + 1 (icefall, sherpa-onnx, kaldi-decoder)
  kaldi    id in tokens.txt, with <eps> as 0 and the blank as another id (EESEN, Kaldi)
  k2       id in tokens.txt, 0 for the blank, without ε

The graph is decoded as it is: hotwords, new words and grammars need a compiled recipe. Without
--lexicon, times of words are approximate, unless tokens mark where words begin (▁, Kaldi's phones).

examples:
  asr-hlg graph import lang/HLG.fst NAME --tokens lang/tokens.txt --words lang/words.txt
  asr-hlg graph import lang/H.fst NAME --tokens lang/tokens.txt       words are the tokens
  asr-hlg graph import vosk-model-small-de-0.15/ de --max-memory 4
  asr-hlg transcribe talk.wav --graph NAME --model MODEL
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg graph import``."""
    parser.epilog = EPILOG
    parser.add_argument("file", type=Path, metavar="FILE", help="OpenFst file or Kaldi folder")
    parser.add_argument("name", metavar="NAME", help="the graph's name: folder graphs/NAME")
    parser.add_argument("--tokens", type=Path, help="tokens.txt of the model (default: beside)")
    parser.add_argument("--words", type=Path, help="words.txt of the graph (default: beside)")
    parser.add_argument("--labels", choices=LABELS, help="see below (default: detected)")
    parser.add_argument("--blank", help="name of the blank in tokens.txt (default: detected)")
    parser.add_argument("--lexicon", type=Path, help="pronunciations, for exact times of words")
    parser.add_argument("--silence", help="token that belongs to no word (with --lexicon)")
    parser.add_argument("--model", help="acoustic model to decode with by default")
    parser.add_argument("--output", type=Path, help="folder of the graph (default: graphs/NAME)")
    parser.add_argument("--force", action="store_true", help="replace a graph of this name")
    parser.add_argument(
        "--max-memory",
        type=float,
        metavar="GB",
        help="resident memory at which to stop (default: no limit)",
    )


def run(options: argparse.Namespace) -> int:
    """Import a graph."""
    output = options.output or HERE / options.name
    if (output / "graph.json").is_file() and not options.force:
        raise OptionError(
            f"there is a graph {output} already", remedy="choose another NAME, or add --force"
        )
    if not options.file.exists():
        raise GraphError("does not exist", path=options.file)
    meter = Meter(options.max_memory, _print_stage)
    if options.file.is_dir():
        _import_kaldi(options, output, meter)
    else:
        import_graph(options.file, output, _import_options(options), meter, _print)
    size = metadata.read(output)["imported"]
    print(f"{output}: {size['states']:,} states, {size['arcs']:,} arcs")
    return 0


def _import_kaldi(options: argparse.Namespace, output: Path, meter: Meter) -> None:
    from asr_hlg.transcribe.kaldi_graphs import transitions_of

    folder = options.file
    places = [folder / name for name in ("am/final.mdl", "final.mdl", "../final.mdl")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise GraphError(
            "has no final.mdl, which defines the labels of the graph",
            path=folder,
            remedy="copy the model's final.mdl into the folder",
        )
    acoustic_model = options.model or str(folder.absolute())
    import_kaldi(folder, output, transitions_of(path), acoustic_model, meter, _print)


def _import_options(options: argparse.Namespace) -> ImportOptions:
    beside = options.file.parent
    tokens = options.tokens or beside / "tokens.txt"
    words = options.words
    if words is None and (beside / "words.txt").is_file():
        words = beside / "words.txt"
        _print(f"words: {words}")
    if not tokens.is_file():
        raise GraphError(
            "does not exist", path=tokens, remedy="name the model's tokens: --tokens tokens.txt"
        )
    return ImportOptions(
        tokens,
        words,
        options.labels,
        options.blank,
        options.lexicon,
        options.silence,
        options.model,
    )


def _print_stage(stage: Stage) -> None:
    _print(str(stage))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
