"""Prepare training data of the alignment model (asr_hlg/align/times.py).

Writes four folders of FLAC files, each with a list of its sentences, `sentences.jsonl`. `read` is
LJ Speech and `accented` a third of speechocean762's training part without every eighth speaker of
the sorted list; `ked` and `espeak` are sentences of both, spoken by Festival's voice ked_diphone
and by espeak-ng in many voices, with the times of their segments. The sentences, the voices of
flite and the plain voices of espeak-ng, of which benchmarks/times.py is, are not in it. Needs the
Debian packages espeak-ng, festival and festvox-kdlpc16k.

    .venv/bin/python scripts/prepare_times.py ../shared/data
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import recipes
import soundfile
from voices import RATE, Espeak, Spoken, festival

from asr_hlg import data
from asr_hlg.output.text import normalise

LEFT_OUT = Path(__file__).resolve().parents[1] / "benchmarks" / "sentences.txt"
EVERY = 3  # of the sentences of speechocean762
LANGUAGES = ("en-us", "en", "en-us", "en", "en-us", "en-GB-x-rp", "en-us-nyc", "en-GB-scotland")
VARIANTS = (
    *(f"m{number}" for number in range(1, 9)),
    *(f"f{number}" for number in range(1, 6)),
    *("klatt", "klatt2", "klatt3", "klatt4", "klatt5", "grandma", "grandpa", "anika", "norbert"),
    *("sandro", "shelby", "travis", "victor", "Adam", "Alex", "Alicia", "Andrea", "Annie"),
    *("Antonio", "Belinda", "Benjamin", "Denis", "Diogo", "Ed", "Gene", "Gustave", "Henrique"),
    *("Hugo", "Jacky", "Lee", "Linda", "Marco", "Mario", "Michael", "Mike", "Nguyen", "Pablo"),
    *("Paul", "Pedro", "Quincy", "Rob", "Steph", "Zac"),
)
"""Voices of espeak-ng: each is a language with a variant."""


def main() -> None:
    """Read the command line and write the folders."""
    parser = recipes.parser(__doc__)
    parser.add_argument("folder", type=Path, help="with speechocean and ljspeech in it")
    parser.add_argument("--output", type=Path, default=Path(".work/times"), help="[%(default)s]")
    parser.add_argument("--ked", type=int, default=500, help="sentences [%(default)s]")
    parser.add_argument("--espeak", type=int, default=800, help="sentences [%(default)s]")
    options = parser.parse_args()
    accented = [cut for cut in data.cuts(options.folder / "speechocean")]
    read = sorted(data.cuts(options.folder / "ljspeech"), key=lambda cut: cut.id)
    train = training_texts(options.folder)
    sounds = {
        "read": [cut for cut in read if cut.id in train],
        "accented": [cut for cut in accented if cut.id in train][::EVERY],
    }
    for name, cuts in sounds.items():
        lines = ((cut.id, cut.resample(RATE).load_audio()[0], train[cut.id]) for cut in cuts)
        write(options.output / name, ((id, Spoken(x, ()), text) for id, x, text in lines))
    choose = random.Random(1)
    texts = sorted(train.values())
    choose.shuffle(texts)
    write(options.output / "ked", by_festival(texts[: options.ked], choose))
    write(options.output / "espeak", by_espeak(texts[-options.espeak :], choose))


def training_texts(folder: Path) -> dict[str, str]:
    """Texts, by id, of the sentences of LJ Speech and speechocean762 that are for training."""
    left_out = set(LEFT_OUT.read_text(encoding="utf-8").splitlines())
    texts = {**dict(_texts(folder / "ljspeech/text")), **dict(_texts(folder / "speechocean/text"))}
    speakers = dict(line.split() for line in (folder / "speechocean/utt2spk").open())
    in_dev = set(sorted(set(speakers.values()))[::8])
    return {
        id: text
        for id, text in texts.items()
        if re.fullmatch("[a-z' ]+", text)
        and text not in left_out
        and speakers.get(id) not in in_dev
    }


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        id, text = line.split(maxsplit=1)
        yield id, normalise(text)


def by_festival(texts: Sequence[str], choose: random.Random) -> Iterator[tuple[str, Spoken, str]]:
    """Sentences at different speeds and pitches."""
    settings = [
        (text, round(choose.uniform(0.8, 1.3), 2), choose.randint(80, 180)) for text in texts
    ]
    for number, spoken in enumerate(festival(settings)):
        yield f"ked-{number:04d}", spoken, texts[number]


def by_espeak(texts: Sequence[str], choose: random.Random) -> Iterator[tuple[str, Spoken, str]]:
    """Sentences in different voices, at different speeds and pitches."""
    for number, text in enumerate(texts):
        voice = f"{choose.choice(LANGUAGES)}+{choose.choice(VARIANTS)}"
        spoken = Espeak(voice, choose.randint(125, 200), choose.randint(25, 75)).say(text)
        yield f"espeak-{number:04d}", spoken, text


def write(folder: Path, sentences: Iterable[tuple[str, Spoken, str]]) -> None:
    """Write sound and list of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    minutes, number = 0.0, 0
    with open(folder / "sentences.jsonl", "w", encoding="utf-8") as lines:
        for id, spoken, text in sentences:
            soundfile.write(folder / f"{id}.flac", np.asarray(spoken.samples), RATE)
            segments = [[s.phones, s.start, s.end] for s in spoken.segments]
            lines.write(json.dumps({"id": id, "text": text, "segments": segments}) + "\n")
            minutes, number = minutes + len(spoken.samples) / RATE / 60, number + 1
    print(f"{folder.name:10} {number:5} sentences, {minutes:5.1f} minutes")


if __name__ == "__main__":
    recipes.run(main)
