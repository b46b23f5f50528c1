"""The main jobs on a CPU where importing torch, k2 or lhotse raises, in every process."""

from __future__ import annotations

import json
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

CUDA = "transcribe --graph small --device cuda talk.wav"


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


DRIVER = """
import contextlib, io, json, sys
from asr_hlg.cli import main

if __name__ == "__main__":
    results = {}
    for command in json.load(sys.stdin):
        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            try:
                status = main(command.split())
            except SystemExit as error:
                status = error.code
        for stream in streams:
            stream.flush()
        results[command] = [status, *(stream.buffer.getvalue().decode() for stream in streams)]
    print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(project, root):
    """Exit status, standard output and standard error of each command, run in one process."""
    commands = [*COMMANDS, CUDA]
    if (project / "graphs" / "en").exists():
        commands += ENGLISH
    (project / "driver.py").write_text(DRIVER)
    paths = os.pathsep.join([str(project / "block"), str(root)])
    done = subprocess.run(
        [sys.executable, "driver.py"],
        input=json.dumps(commands),
        cwd=project,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_with_a_small_graph(command, results):
    status, out, err = results[command]
    assert status == 0, err
    assert out


@pytest.mark.parametrize("command", ENGLISH)
def test_a_command_in_english(command, results):
    if command not in results:
        pytest.skip("graphs/en is not compiled: make graph GRAPH=en")
    status, out, err = results[command]
    assert status == 0, err
    assert out


def test_torch_is_blocked(results):
    status, _, err = results[CUDA]
    assert status == 1
    assert "Traceback" not in err
