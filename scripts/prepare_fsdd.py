"""Prepare the Free Spoken Digit Dataset: cuts of single digits and of strings of digits.

Writes Lhotse cut sets, one JSON object a line:

    train.jsonl.gz           single digits of george, jackson, lucas and nicolas, indices 5 and up
    train-strings.jsonl.gz   strings of 3 to 7 digits, joined from those recordings
    dev.jsonl.gz             single digits of theo, who is not in the training data
    dev-strings.jsonl.gz     strings joined from theo's recordings
    seen.jsonl.gz            indices 0 to 4 of the training speakers: the data set's own test part
    seen-strings.jsonl.gz    strings joined from those

The recordings are resampled from 8 to 16 kHz, as in decoding, and stored under wav/. A string has
digits of one speaker, with pauses of 0.05 to 0.5 s; the same seed gives the same strings. To write
all and play one:

    .venv/bin/python scripts/prepare_fsdd.py ../shared/data/fsdd/wav
    play .work/fsdd/wav/dev-strings/theo-000.flac
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import recipes
import soundfile
import torch
from lhotse import Recording, SupervisionSegment
from lhotse.cut import Cut
from tqdm import tqdm

from asr_hlg import audio
from asr_hlg.errors import DataError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAINING = ("george", "jackson", "lucas", "nicolas")
DEV = ("theo",)
HELD_OUT = 5  # recordings with lower indices are the test part of the data set
PAUSES = (0.05, 0.5)
LENGTHS = (3, 7)
TRAIN_STRINGS = 240  # as long, together, as the single digits
STRINGS = 200
SAMPLE_RATE = 16000

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>\w+)_(?P<index>\d+)")


def main() -> None:
    """Read the command line and write all cut sets."""
    parser = recipes.parser(__doc__)
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
    parser.add_argument("--seed", type=int, default=0, help="seed of the strings [%(default)s]")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the recordings are too short for several threads
    prepare(options.wav, options.output, options.train_strings, options.strings, options.seed)


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
            recipes.write_cuts(cuts, output / f"{part}.jsonl.gz")


def _digits(source: Path, target: Path) -> Iterator[Cut]:
    """Cuts of all recordings, resampled."""
    named = ((_NAME.fullmatch(path.stem), path) for path in sorted(source.glob("*.wav")))
    found = [(match, path) for match, path in named if match]
    if not found:
        raise DataError(
            "no recordings named DIGIT_SPEAKER_INDEX.wav",
            path=source,
            remedy="give the folder 'recordings' of the Free Spoken Digit Dataset",
        )
    for match, path in tqdm(found, desc="recordings", unit="file", disable=None):
        samples = audio.Recording(path.stem, path).load(SAMPLE_RATE)
        digit, speaker = DIGITS[int(match["digit"])], match["speaker"]
        yield _stored(target / f"{path.stem}.flac", path.stem, samples, digit, speaker)


def _stored(
    path: Path, name: str, samples: npt.NDArray[np.float32], text: str, speaker: str
) -> Cut:
    """Write samples to a file, and make a cut of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # 16 bits would add noise above 4 kHz, where resampling leaves nothing.
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_24")
    cut: Cut = Recording.from_file(path, recording_id=name).to_cut().with_id(name)
    cut.supervisions = [
        SupervisionSegment(name, name, 0.0, cut.duration, text=text, speaker=speaker, language="en")
    ]
    return cut


def _split(cuts: Sequence[Cut]) -> dict[str, list[Cut]]:
    """Training, dev and test cuts, in the order of writing: train.jsonl.gz is the last file."""
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
    """Strings of recordings of one speaker each, equally many for every speaker."""
    rng = random.Random(f"{seed} {folder.name}")
    by_speaker = defaultdict(list)
    for cut in cuts:
        by_speaker[cut.supervisions[0].speaker].append(cut)
    speakers = sorted(by_speaker)
    for index in tqdm(range(number), desc=folder.name, unit="string", disable=None):
        speaker = speakers[index % len(speakers)]
        digits = rng.choices(by_speaker[speaker], k=rng.randint(*LENGTHS))
        text = " ".join(digit.supervisions[0].text for digit in digits)
        name = f"{speaker}-{index // len(speakers):03}"
        samples = _with_pauses(digits, rng)
        yield _stored(folder / f"{name}.flac", f"{folder.name}-{name}", samples, text, speaker)


def _with_pauses(digits: Sequence[Cut], rng: random.Random) -> npt.NDArray[np.float32]:
    """Samples of digits with silence between them, float32 ``(samples,)``."""
    pieces = [digits[0].load_audio()[0]]
    for digit in digits[1:]:
        pause = round(rng.uniform(*PAUSES) * SAMPLE_RATE)
        pieces += [np.zeros(pause, np.float32), digit.load_audio()[0]]
    return np.concatenate(pieces)


if __name__ == "__main__":
    recipes.run(main)
