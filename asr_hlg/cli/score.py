"""``asr-hlg score``: error rates of transcripts against references."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from asr_hlg.cli.arguments import add_json
from asr_hlg.cli.normalising import add_normalise, normaliser
from asr_hlg.output import text
from asr_hlg.output.scoring import score

EPILOG = """\
Files are Kaldi text (id word word …), trn, CTM or the JSON lines of `asr-hlg transcribe`, by
their suffix. N-best lists in JSON lines also give the oracle error rate.

examples:
  asr-hlg score examples/text hyp.txt
  asr-hlg score examples/text hyp.jsonl --alignments errors.txt
  asr-hlg score examples/text hyp.txt --normalise --json
  asr-hlg score examples/text hyp.txt --normalise en      written against spoken English
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg score``."""
    parser.epilog = EPILOG
    parser.add_argument("reference", type=Path, help="reference transcripts")
    parser.add_argument("hypothesis", type=Path, help="recognised transcripts")
    add_normalise(parser)
    parser.add_argument(
        "--alignments", type=Path, metavar="FILE", help="write the alignment of every utterance"
    )
    parser.add_argument(
        "--confusions",
        type=int,
        default=10,
        metavar="N",
        help="list the N most frequent errors (default: 10)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Score one file against another."""
    alternatives = None
    if options.hypothesis.suffix in (".json", ".jsonl"):
        alternatives = text.read_alternatives(options.hypothesis) or None
    result = score(
        text.read_transcripts(options.reference),
        text.read_transcripts(options.hypothesis),
        alternatives=alternatives,
        normalise=normaliser(options),
    )
    if options.alignments:
        options.alignments.write_text(result.alignments() + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result.to_dict(), indent=1, ensure_ascii=False))
    else:
        print(result.report(options.confusions))
    return 0
