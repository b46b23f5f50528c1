"""Prepare sentences of LJ Speech: cuts to adapt a model to one speaker's voice.

Writes Lhotse cut sets, one JSON object a line: train.jsonl.gz with all sentences of a folder except
the last 46, and dev.jsonl.gz with those 46. Transcripts are normalised as in decoding.

    .venv/bin/python scripts/prepare_ljspeech.py ../shared/data/ljspeech

Training checks the transcripts for words that a graph's lexicon lacks.
"""

from __future__ import annotations

from pathlib import Path

import recipes
from lhotse import CutSet

from asr_hlg import data
from asr_hlg.errors import DataError
from asr_hlg.output.text import normalise


def main() -> None:
    """Read the command line and write both cut sets."""
    parser = recipes.parser(__doc__)
    parser.add_argument(
        "folder", type=Path, help="sound files, at any depth, and their transcripts in 'text'"
    )
    parser.add_argument("--output", type=Path, default=Path(".work/ljspeech"), help="[%(default)s]")
    parser.add_argument(
        "--dev", type=int, default=46, help="number of sentences in the dev set [%(default)s]"
    )
    options = parser.parse_args()
    prepare(options.folder, options.output, options.dev)


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
    for part, chosen in (("train", cuts[:-num_dev]), ("dev", cuts[-num_dev:])):
        normalised = CutSet(chosen).transform_text(normalise)
        recipes.write_cuts(list(normalised), output / f"{part}.jsonl.gz")


if __name__ == "__main__":
    recipes.run(main)
