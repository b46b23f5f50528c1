"""The commands and the Python of README.md run as they stand, on the example recordings."""

from __future__ import annotations

import re
import shlex

import pytest

from asr_hlg.cli import main
from tests.support.project import make_project

# Not run here: the comparison needs other decoders, Ray is an extra, a server runs until a signal
# (tests/serve), and there is neither a microphone nor Vosk's model.
LEFT_OUT = ("bench", "--engine ray", "serve", "live", "vosk-model")


def commands(text: str) -> list[str]:
    """Return the calls of asr-hlg in the console blocks, without their comments."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line.partition("  #")[0] for block in blocks for line in block.splitlines()]
    calls = [line.removeprefix("$ asr-hlg ") for line in lines if line.startswith("$ asr-hlg ")]
    return [call for call in calls if not any(word in call for word in LEFT_OUT)]


@pytest.fixture(scope="module")
def project(root, english, tmp_path_factory):
    """A folder with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("project")
    make_project(root, folder)
    return folder


def test_the_commands_and_then_the_python_run(root, project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    text = (root / "README.md").read_text(encoding="utf-8")
    calls = commands(text)
    assert len(calls) >= 10
    for call in calls:
        assert main(shlex.split(call)) == 0, (call, capsys.readouterr().err)
    assert (project / "out.jsonl").read_text().count("\n") == 2
    assert "-->" in (project / "film.srt").read_text()

    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 2
    capsys.readouterr()
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "01-slt" in printed
    assert "call-1" in printed
