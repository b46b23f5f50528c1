"""``asr-hlg score``: how many errors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from asr_hlg.output import text
from asr_hlg.output.scoring import score

EPILOG = """\
Files are Kaldi text (id word word …), trn, CTM or the JSON lines of `asr-hlg transcribe`.

examples:
  asr-hlg score ref.txt hyp.txt
  asr-hlg score ref.txt hyp.jsonl --alignments errors.txt    also the oracle of its n-best lists
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg score``."""
    parser.epilog = EPILOG
    parser.add_argument("reference", type=Path, help="what was said")
    parser.add_argument("hypothesis", type=Path, help="what was recognised")
    parser.add_argument(
        "--normalise", action="store_true", help="fold case and drop punctuation in both"
    )
    parser.add_argument(
        "--alignments", type=Path, metavar="FILE", help="write every utterance's alignment"
    )
    parser.add_argument("--confusions", type=int, default=10, metavar="N", help="list N (10)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Score one file against another."""
    alternatives = None
    if options.hypothesis.suffix in (".json", ".jsonl"):
        alternatives = text.read_alternatives(options.hypothesis) or None
    result = score(
        text.read_transcripts(options.reference),
        text.read_transcripts(options.hypothesis),
        alternatives=alternatives,
        normalise=text.normalise if options.normalise else None,
    )
    if options.alignments:
        options.alignments.write_text(result.alignments() + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result.to_dict(), indent=1, ensure_ascii=False))
    else:
        print(result.report(options.confusions))
    return 0
