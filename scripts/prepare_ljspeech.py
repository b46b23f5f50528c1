"""Sentences of LJ Speech as training data: cuts to adapt a model to one speaker's voice.

Writes Lhotse cut sets, one JSON object a line: train.jsonl.gz with all sentences but the last 46 of
those given, and dev.jsonl.gz with these. Transcripts are normalised as decoding does it.

    .venv/bin/python scripts/prepare_ljspeech.py ../shared/data/ljspeech

Words that a graph's lexicon lacks are left as they are; training finds them before it begins.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lhotse import CutSet

from asr_hlg import data
from asr_hlg.errors import AsrHlgError, DataError
from asr_hlg.output.text import normalise


def main() -> None:
    options = _parser().parse_args()
    try:
        prepare(options.folder, options.output, options.dev)
    except AsrHlgError as error:
        sys.exit(f"prepare_ljspeech: {error}")


def prepare(folder: Path, output: Path, num_dev: int) -> None:
    """Write both cut sets; sentences are in the order of their ids."""
    # Absolute paths, so that the cut sets can be read from anywhere.
    cuts = sorted(data.cuts(folder.resolve()), key=lambda cut: cut.id)
    if not 0 < num_dev < len(cuts):
        raise DataError(
            f"{num_dev} of {len(cuts)} sentences cannot be put aside",
            path=folder,
            remedy="give --dev a smaller number, above 0",
        )
    output.mkdir(parents=True, exist_ok=True)
    for part, chosen in (("train", cuts[:-num_dev]), ("dev", cuts[-num_dev:])):
        CutSet(chosen).transform_text(normalise).to_file(output / f"{part}.jsonl.gz")
        minutes = sum(cut.duration for cut in chosen) / 60
        print(f"{part:5} {len(chosen):4} sentences, {minutes:4.1f} minutes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, help="sound files, at any depth, and their transcripts in 'text'"
    )
    parser.add_argument("--output", type=Path, default=Path(".work/ljspeech"), help="[%(default)s]")
    parser.add_argument(
        "--dev", type=int, default=46, help="sentences at the end to put aside [%(default)s]"
    )
    return parser


if __name__ == "__main__":
    main()
