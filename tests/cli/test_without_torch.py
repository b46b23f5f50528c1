"""The main jobs on a CPU where importing torch, k2 or lhotse raises, in every process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.project import make_project

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "k2", "lhotse"):
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Blocked())
"""
RECIPE = """
[lexicon]
files = ["lexicon.txt"]

[grammar]
file = "grammar.txt"
"""
LEXICON = "the DH AH\ncat K AE T\nhat HH AE T\nhurry HH ER IY\n"
COMMANDS = [
    "graph --list",
    "graph small --explain cat",
    "info small",
    "transcribe --graph small talk.wav",
    "transcribe --graph small --format json --nbest 3 --workers 2 recordings/",
    "transcribe --graph small --format ctm talk.wav",
    "transcribe --graph small --format srt talk.wav",
    "transcribe --graph small --times ctc --search forward talk.wav",
    "transcribe --graph small --grammar words.txt talk.wav",
    "align --graph small talk.wav --text cat.txt",
    "score text text",
]
ENGLISH = [
    "transcribe --fast --hotwords names.txt talk.wav",
    "transcribe --ref text recordings/",
    "align examples/ --text examples/text",
]


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    make_project(root, folder)
    (folder / "graphs" / "small.toml").write_text(RECIPE)
    (folder / "graphs" / "lexicon.txt").write_text(LEXICON)
    (folder / "graphs" / "grammar.txt").write_text("(the | cat | hat | hurry)+\n")
    (folder / "words.txt").write_text("cat | hat\n")
    (folder / "cat.txt").write_text("talk cat hat\n")
    block = folder / "block"
    block.mkdir()
    (block / "sitecustomize.py").write_text(BLOCK)
    return folder


def run(project, root, command: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(project / "block"), str(root)])
    return subprocess.run(
        [sys.executable, "-m", "asr_hlg.cli", *command.split()],
        cwd=project,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_with_a_small_graph(command, project, root):
    done = run(project, root, command)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", ENGLISH)
def test_a_command_in_english(command, project, root):
    if not (project / "graphs" / "en").exists():
        pytest.skip("graphs/en is not compiled: make graph GRAPH=en")
    done = run(project, root, command)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_torch_is_blocked(project, root):
    done = run(project, root, "transcribe --graph small --device cuda talk.wav")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
