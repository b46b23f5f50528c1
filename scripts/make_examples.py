"""Synthesise the recordings of examples/ with flite, a free speech synthesiser.

    python scripts/make_examples.py [FOLDER]

Needs the program ``flite`` (Debian: ``apt install flite``) with its voices slt, rms and awb, which
have 16 kHz. Writes one wav file per sentence, and the transcripts as Kaldi text to ``text``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VOICES = ("slt", "rms", "awb")

SENTENCES = (
    "he could not find his keys and waited in front of the house",
    "the train leaves at seven so we need to hurry",
    "the cat slept on the chair while the rain fell outside",
    "could you tell me what time the meeting starts tomorrow",
    "the children were tired after a long day at the beach",
    "turn left at the second light and drive on to the bridge",
    "my brother wants to learn how to play the piano",
    "the teacher gave every student a piece of paper",
    "there is a small garden behind the old school",
)


def main(folder: Path) -> None:
    """Write the recordings and their transcripts."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, sentence in enumerate(SENTENCES):
        voice = VOICES[number % len(VOICES)]
        name = f"{number + 1:02d}-{voice}"
        command = ["flite", "-voice", voice, "-t", sentence, "-o", str(folder / f"{name}.wav")]
        subprocess.run(command, check=True)
        lines.append(f"{name} {sentence}\n")
    (folder / "text").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "examples")
