"""A project folder with the files that the examples of README.md and of help texts name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import soundfile

from asr_hlg import lm
from tests.support.exported_models import icefall


def make_project(root: Path, folder: Path) -> None:
    """Copy what ships with the project, and add recordings and texts under the examples' names."""
    for name in ("examples", "lang"):
        shutil.copytree(root / name, folder / name)
    (folder / "graphs").mkdir()
    for path in (root / "graphs").glob("*.toml"):
        shutil.copy(path, folder / "graphs")
    if (root / "graphs" / "en" / "graph.json").is_file():
        (folder / "graphs" / "en").symlink_to(root / "graphs" / "en")
    references = (folder / "examples" / "text").read_text().splitlines()
    recordings = sorted((folder / "examples").glob("*.wav"))[:2]

    samples, rate = soundfile.read(recordings[0])
    for name in ("talk.wav", "film.mp3", "book.flac"):
        soundfile.write(folder / name, samples, rate)
    for name in ("recordings", "calls", "archive"):
        (folder / name).mkdir()
        for number, recording in enumerate(recordings, start=1):
            file = f"call-{number}.wav" if name == "calls" else recording.name
            shutil.copy(recording, folder / name / file)
    (folder / "wav.scp").write_text("".join(f"{path.stem} {path}\n" for path in recordings))

    words = [line.partition(" ")[2] for line in references]
    for name in ("talk", "book"):
        (folder / f"{name}.txt").write_text(f"{name} {words[0]}\n")
    for name in ("text", "reference.txt"):
        (folder / name).write_text("\n".join(references[:2]) + "\n")
    shutil.copy(folder / "examples" / "text", folder / "hyp.txt")
    for name in ("truth.ctm", "hyp.ctm"):
        shutil.copy(root / "tests" / "align" / "examples.ctm", folder / name)
    lines = [line.split(maxsplit=1) for line in references[:2]]
    lists = [{"id": id, "text": text, "alternatives": [{"text": text}]} for id, text in lines]
    (folder / "hyp.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lists))

    (folder / "names.txt").write_text("siobhan\nthe front of the house\n")
    (folder / "commands.txt").write_text("he could not find his (keys | house) [and waited]\n")
    (folder / "sentences.txt").write_text("\n".join(words) + "\n")
    (folder / "dev.txt").write_text("\n".join(words[:3]) + "\n")
    icefall(folder / "zipformer")
    lm.estimate([["cat", "and", "hat"]], order=2).write(folder / "talks.arpa")
    lm.estimate([line.split() for line in words], order=2).write(folder / "big.arpa")
