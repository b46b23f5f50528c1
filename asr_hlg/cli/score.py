"""``asr-hlg score``: error rates of transcripts against references, and limits of subtitles."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from asr_hlg.cli.arguments import add_json
from asr_hlg.cli.normalising import add_normalise, normaliser
from asr_hlg.errors import OptionError
from asr_hlg.output import text
from asr_hlg.output.scoring import score
from asr_hlg.output.subtitle_rules import check, read_cues
from asr_hlg.output.times import compare, read_times

EPILOG = """\
Files are Kaldi text (id word word …), trn, CTM or the JSON lines of `asr-hlg transcribe`, by
their suffix. N-best lists in JSON lines also give the oracle error rate. --subtitles compares the
cues of a subtitle file with the limits of broadcasters (docs/output.md), with or without the error
rates.

examples:
  asr-hlg score examples/text hyp.txt
  asr-hlg score examples/text hyp.jsonl --alignments errors.txt
  asr-hlg score examples/text hyp.txt --normalise --json
  asr-hlg score examples/text hyp.txt --normalise en      written against spoken English
  asr-hlg score --subtitles film.srt                      cues that are too fast, long, short, close
  asr-hlg score --times truth.ctm hyp.ctm                 errors of the times of words
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg score``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("reference", type=Path, nargs="?", help="reference transcripts")
    add("hypothesis", type=Path, nargs="?", help="recognised transcripts")
    add_normalise(parser)
    add("--alignments", type=Path, metavar="FILE", help="write the alignment of every utterance")
    add(
        "--confusions",
        type=int,
        default=10,
        metavar="N",
        help="list the N most frequent errors (default: 10)",
    )
    add("--subtitles", type=Path, metavar="FILE", help="check the cues of an SRT or WebVTT file")
    add(
        "--times",
        action="store_true",
        help="compare the times of the words of two CTM files instead",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Score one file against another, or check a subtitle file."""
    if options.subtitles is not None:
        report = check(read_cues(options.subtitles))
        print(json.dumps(report.to_dict(), indent=1) if options.json else report.text())
        if options.reference is None:
            return 0
        print()
    if options.hypothesis is None:
        raise OptionError(
            "there is nothing to score",
            remedy="name reference and hypothesis: asr-hlg score REF HYP; or --subtitles FILE",
        )
    if options.times:
        errors = compare(read_times(options.reference), read_times(options.hypothesis))
        print(json.dumps(errors.to_dict(), indent=1) if options.json else errors.report())
        return 0
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
