"""Prepare training data of the alignment model: read speech and synthesised sentences.

Writes Lhotse cut sets, train.jsonl.gz and dev.jsonl.gz: speechocean762 (every eighth speaker of the
sorted list is kept for dev), LJ Speech (the last 36 sentences are in dev), and sentences of both
that espeak-ng, a Debian package, speaks in several voices.

    .venv/bin/python scripts/prepare_alignment.py ../shared/data
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import recipes
from lhotse import CutSet
from lhotse.cut import Cut

from asr_hlg import data
from asr_hlg.output.text import normalise

VOICES = ("en-us", "en-us+f2", "en-us+m3", "en-us+f4", "en-gb", "en-gb+f3", "en-gb+m7")
NUM_DEV = 36  # sentences of LJ Speech
EVERY = 3  # of the sentences of speechocean762: training takes less than an hour


def main() -> None:
    """Read the command line and write both cut sets."""
    parser = recipes.parser(__doc__)
    parser.add_argument("folder", type=Path, help="with speechocean and ljspeech in it")
    parser.add_argument(
        "--output", type=Path, default=Path(".work/alignment"), help="[%(default)s]"
    )
    parser.add_argument(
        "--synthesised", type=int, default=300, help="number of sentences [%(default)s]"
    )
    options = parser.parse_args()
    prepare(options.folder.resolve(), options.output, options.synthesised)


def prepare(folder: Path, output: Path, num_synthesised: int) -> None:
    """Write both cut sets."""
    speakers = dict(
        line.split() for line in (folder / "speechocean" / "utt2spk").read_text().splitlines()
    )
    in_dev = set(sorted(set(speakers.values()))[::8])
    accented = list(data.cuts(folder / "speechocean"))
    read = sorted(data.cuts(folder / "ljspeech"), key=lambda cut: cut.id)
    dev = [cut for cut in accented if speakers[cut.id] in in_dev][::8] + read[-NUM_DEV:]
    train = [cut for cut in accented if speakers[cut.id] not in in_dev][::EVERY] + read[:-NUM_DEV]
    sentences = [normalise(data.text_of(cut)) for cut in train]
    spoken = synthesise(sentences, output.resolve() / "espeak", num_synthesised)
    for name, cuts in (("train", [*train, *spoken]), ("dev", dev)):
        recipes.write_cuts(
            list(CutSet(cuts).transform_text(normalise)), output / f"{name}.jsonl.gz"
        )


def synthesise(sentences: Sequence[str], folder: Path, count: int) -> list[Cut]:
    """Sentences spoken by espeak-ng, in the voices in turn, at 130 to 190 words a minute."""
    choose = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        text, voice = choose.choice(sentences), VOICES[number % len(VOICES)]
        path = folder / f"espeak-{number:04d}.wav"
        speed = str(choose.randint(130, 190))
        subprocess.run(["espeak-ng", "-v", voice, "-s", speed, "-w", path, text], check=True)
        lines.append(f"{path.stem} {text}\n")
    (folder / "text").write_text("".join(lines), encoding="utf-8")
    return list(data.cuts(folder))


if __name__ == "__main__":
    recipes.run(main)
