"""Spoken digits as training data: cuts of the Free Spoken Digit Dataset, and strings of them.

Writes Lhotse cut sets, one JSON object a line:

    train.jsonl.gz           single digits of george, jackson, lucas and nicolas, indices 5 and up
    train-strings.jsonl.gz   strings of 3 to 7 digits, joined from those recordings
    dev.jsonl.gz             single digits of theo, whom training never hears
    dev-strings.jsonl.gz     strings joined from theo's
    seen.jsonl.gz            indices 0 to 4 of the training speakers: the data set's own test part
    seen-strings.jsonl.gz    strings joined from those

The recordings' 8 kHz become 16 kHz, as decoding would do it, and are stored under wav/. A string
is one speaker's, with pauses of 0.05 to 0.5 s; the same seed gives the same strings. Write all,
and hear one:

    .venv/bin/python scripts/prepare_fsdd.py ../shared/data/fsdd/wav
    play .work/fsdd/wav/dev-strings/theo-000.flac
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut
from tqdm import tqdm

from asr_hlg import audio
from asr_hlg.errors import AsrHlgError, DataError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAINING = ("george", "jackson", "lucas", "nicolas")
DEV = ("theo",)
HELD_OUT = 5  # indices below it are the data set's test part
PAUSES = (0.05, 0.5)
LENGTHS = (3, 7)
TRAIN_STRINGS = 240  # as long, together, as the single digits
STRINGS = 200
SAMPLE_RATE = 16000

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>\w+)_(?P<index>\d+)")


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(1)  # recordings are too short to be shared out
    try:
        prepare(options.wav, options.output, options.train_strings, options.strings, options.seed)
    except AsrHlgError as error:
        sys.exit(f"prepare_fsdd: {error}")


def prepare(
    wav: Path,
    output: Path,
    train_strings: int = TRAIN_STRINGS,
    strings: int = STRINGS,
    seed: int = 0,
) -> None:
    """Write all cut sets; see the top of this file."""
    output = output.resolve()  # absolute paths, so that the cut sets can be read from anywhere
    for name, digits in _split(list(_digits(wav, output / "wav" / "digits"))).items():
        number = train_strings if name == "train" else strings
        joined = list(_strings(digits, number, output / "wav" / f"{name}-strings", seed))
        for part, cuts in ((f"{name}-strings", joined), (name, digits)):
            CutSet(cuts).to_file(output / f"{part}.jsonl.gz")
            minutes = sum(cut.duration for cut in cuts) / 60
            print(f"{part:14} {len(cuts):5} cuts, {minutes:5.1f} minutes")


def _digits(source: Path, target: Path) -> Iterator[Cut]:
    """A cut of every recording, resampled."""
    named = ((_NAME.fullmatch(path.stem), path) for path in sorted(source.glob("*.wav")))
    found = [(match, path) for match, path in named if match]
    if not found:
        raise DataError(
            "no recordings named DIGIT_SPEAKER_INDEX.wav",
            path=source,
            remedy="give the folder 'recordings' of the Free Spoken Digit Dataset",
        )
    for match, path in tqdm(found, desc="recordings", unit="file", disable=None):
        samples = audio.Recording(path.stem, path).load(SAMPLE_RATE).numpy()
        digit, speaker = DIGITS[int(match["digit"])], match["speaker"]
        yield _stored(target / f"{path.stem}.flac", path.stem, samples, digit, speaker)


def _stored(path: Path, name: str, samples: np.ndarray, text: str, speaker: str) -> Cut:
    """A cut of samples that are written to a file first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # 16 bits would put noise where resampling left nothing, above 4 kHz.
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_24")
    cut: Cut = Recording.from_file(path, recording_id=name).to_cut().with_id(name)
    cut.supervisions = [
        SupervisionSegment(name, name, 0.0, cut.duration, text=text, speaker=speaker, language="en")
    ]
    return cut


def _split(cuts: Sequence[Cut]) -> dict[str, list[Cut]]:
    # In the order of writing: once train.jsonl.gz is there, all are.
    parts: dict[str, list[Cut]] = {"dev": [], "seen": [], "train": []}
    for cut in cuts:
        speaker = cut.supervisions[0].speaker
        if speaker in DEV:
            parts["dev"].append(cut)
        elif speaker in TRAINING:
            held_out = int(cut.id.rpartition("_")[2]) < HELD_OUT
            parts["seen" if held_out else "train"].append(cut)
    return parts


def _strings(cuts: Sequence[Cut], number: int, folder: Path, seed: int) -> Iterator[Cut]:
    """Join recordings of one speaker, that many times; every speaker gets an equal share."""
    drawn = random.Random(f"{seed} {folder.name}")
    by_speaker = defaultdict(list)
    for cut in cuts:
        by_speaker[cut.supervisions[0].speaker].append(cut)
    speakers = sorted(by_speaker)
    for index in tqdm(range(number), desc=folder.name, unit="string", disable=None):
        speaker = speakers[index % len(speakers)]
        digits = drawn.choices(by_speaker[speaker], k=drawn.randint(*LENGTHS))
        text = " ".join(digit.supervisions[0].text for digit in digits)
        name = f"{speaker}-{index // len(speakers):03}"
        samples = _with_pauses(digits, drawn)
        yield _stored(folder / f"{name}.flac", f"{folder.name}-{name}", samples, text, speaker)


def _with_pauses(digits: Sequence[Cut], drawn: random.Random) -> np.ndarray:
    """Digits with silence between: float32 ``(samples,)``."""
    pieces = [digits[0].load_audio()[0]]
    for digit in digits[1:]:
        pause = round(drawn.uniform(*PAUSES) * SAMPLE_RATE)
        pieces += [np.zeros(pause, np.float32), digit.load_audio()[0]]
    return np.concatenate(pieces)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "wav", type=Path, help="folder of recordings, {digit}_{speaker}_{index}.wav"
    )
    parser.add_argument("--output", type=Path, default=Path(".work/fsdd"), help="[%(default)s]")
    parser.add_argument(
        "--train-strings", type=int, default=TRAIN_STRINGS, help="strings to train on [%(default)s]"
    )
    parser.add_argument(
        "--strings", type=int, default=STRINGS, help="strings of each other part [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the strings [%(default)s]")
    return parser


if __name__ == "__main__":
    main()
