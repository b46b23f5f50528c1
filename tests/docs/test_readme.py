"""The commands and the Python of README.md run as they stand, on the example recordings."""

from __future__ import annotations

import re
import shlex
import shutil

import pytest
import soundfile

from asr_hlg import lm
from asr_hlg.cli import main

# Not run here: training takes minutes, the comparison needs other decoders, Ray is an extra.
LEFT_OUT = ("train", "bench", "--engine ray")


def commands(text: str) -> list[str]:
    """Return the calls of asr-hlg in the console blocks, without their comments."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line.partition("  #")[0] for block in blocks for line in block.splitlines()]
    calls = [line.removeprefix("$ .venv/bin/asr-hlg ") for line in lines if "bin/asr-hlg " in line]
    return [call for call in calls if not any(word in call for word in LEFT_OUT)]


@pytest.fixture(scope="module")
def project(root, english, tmp_path_factory):
    """A folder with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("graphs", "lang", "examples"):
        (folder / name).symlink_to(root / name)
    wavs = sorted((root / "examples").glob("*.wav"))[:2]
    for name in ("recordings", "calls", "archive"):
        (folder / name).mkdir()
        for wav in wavs:
            shutil.copy(wav, folder / name)
    text = [line for line in (root / "examples" / "text").read_text().splitlines()]
    (folder / "wav.scp").write_text("".join(f"{wav.stem} {wav}\n" for wav in wavs))
    for name in ("text", "reference.txt"):
        (folder / name).write_text("\n".join(text[:2]) + "\n")
    samples, rate = soundfile.read(wavs[0])
    soundfile.write(folder / "film.mp3", samples, rate)
    soundfile.write(folder / "book.flac", samples, rate)
    soundfile.write(folder / "talk.wav", samples, rate)
    (folder / "book.txt").write_text(text[0].replace(wavs[0].stem, "book", 1) + "\n")
    (folder / "names.txt").write_text("siobhan\nthe front of the house\n")
    (folder / "commands.txt").write_text("he could not find his (keys | house) [and waited]\n")
    sentences = [line.split()[1:] for line in text]
    lm.estimate(sentences, order=2).write(folder / "big.arpa")
    return folder


def test_the_commands_run(root, project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    calls = commands((root / "README.md").read_text(encoding="utf-8"))
    assert len(calls) >= 10
    for call in calls:
        assert main(shlex.split(call)) == 0, (call, capsys.readouterr().err)
    assert (project / "out.jsonl").read_text().count("\n") == 2
    assert "-->" in (project / "film.srt").read_text()


def test_the_python_runs(root, project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    (block,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert "01-slt" in capsys.readouterr().out
