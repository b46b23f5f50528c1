"""Faulty and unusual recordings lead to a transcript or to a reason in one line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.errors import AudioError
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from tests.support.bad_audio import CORPUS, LONGEST, RATE
from tests.support.sounds import fault

_HANGS = 1800  # seconds after which a process is taken to hang, also on a slow machine
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, dict]:
    """Result of reading each file of the corpus, up to one that lets the process crash or hang."""
    folder = tmp_path_factory.mktemp("bad")
    command = [sys.executable, "-m", "tests.support.probe_audio", folder]
    root = Path(__file__).parents[2]
    try:
        output = subprocess.run(
            command, stdout=subprocess.PIPE, timeout=_HANGS, env=_ENVIRONMENT, cwd=root
        ).stdout
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
    return {result["name"]: result for result in map(json.loads, output.splitlines())}


def test_the_corpus_is_large():
    assert len(CORPUS) >= 40


@pytest.mark.parametrize("name", CORPUS)
def test_each_is_read_or_refused_without_crash_or_hang(results, name):
    assert name in results, f"{name}, or a file before it, crashed or hung"
    result, case = results[name], CORPUS[name]
    assert bool(result["reason"]) == bool(case.reason)
    assert case.reason in result["reason"]
    assert result["samples"] or case.reason
    assert result["reason"].isprintable()
    assert result["handles"] == 0


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """A small graph over the phones of the pretrained model."""
    folder = tmp_path_factory.mktemp("graphs")
    (folder / "lexicon.txt").write_text("cat K AE T\nand AE N D\nhat HH AE T\n")
    (folder / "grammar.txt").write_text("(cat | and | hat)+\n")
    (folder / "toy.toml").write_text(
        '[lexicon]\nfiles = ["lexicon.txt"]\n[grammar]\nfile = "grammar.txt"\n'
    )
    return build(Recipe.read(folder / "toy.toml"))


def test_the_command_transcribes_or_refuses_each(toy, tmp_path):
    (tmp_path / "bad").mkdir()
    paths = []
    for name, case in CORPUS.items():
        (tmp_path / "bad" / name).mkdir()
        paths.append(case.make(tmp_path / "bad" / name))
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "asr_hlg.cli", "transcribe", "--graph", toy, "--workers", "1"]
    command += f"--timeout {_HANGS} --max-duration {LONGEST} --format json --output".split()
    command += [output, *paths]
    run = subprocess.run(command, capture_output=True, timeout=_HANGS, env=_ENVIRONMENT)
    messages = run.stderr.decode()
    assert run.returncode == 1, messages[-3000:]
    assert "Traceback" not in messages
    ids = dict(zip((recording.id for recording in recordings(paths)), CORPUS, strict=True))
    transcribed = {ids[json.loads(line)["id"]] for line in output.read_text().splitlines()}
    journal = map(json.loads, (tmp_path / "out.jsonl.journal").read_text().splitlines())
    failed = {
        ids[entry["failure"]["id"]]: entry["failure"]["reason"]
        for entry in journal
        if "failure" in entry
    }
    # Silence is refused where sound is needed, as in training; a transcript of it has no words.
    refused = {name for name, case in CORPUS.items() if case.reason not in ("", "silent")}
    assert transcribed == CORPUS.keys() - refused
    for name, case in CORPUS.items():
        if name in refused:
            assert case.reason in failed[name]
            assert "\n" not in failed[name]


def test_ten_hours_are_read_in_little_memory(tmp_path):
    """8 bits and 8 kHz, to be read in seconds: noise, a hole of ten hours in the file, noise."""
    path = tmp_path / "long.wav"
    samples = np.random.default_rng(0).integers(0, 255, 8000, dtype=np.uint8)
    soundfile.write(path, np.zeros(1), 8000, subtype="PCM_U8")
    content = path.read_bytes()
    place, size = content.index(b"data") + 4, 36000 * 8000
    with path.open("r+b") as file:
        file.write(content[:place] + size.to_bytes(4, "little") + samples.tobytes())
        file.seek(place + 4 + size - 8000)
        file.write(samples.tobytes())
    [recording] = recordings([path])
    before, total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for block in recording.blocks(8000):
        total += len(block)
    assert total == size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_an_mp3_of_unknown_length_is_read_whole_or_refused(tmp_path):
    """Without a table of contents, the decoder assumes frames as large as the first."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 8 * RATE)
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.concatenate([noise, np.zeros(8 * RATE)]), RATE)
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])
    [recording] = recordings([path])
    with pytest.raises(AudioError, match="has no table of contents"):
        recording.load(RATE)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "caf\udce9"])
def test_reasons_stay_on_one_line_and_do_not_command_terminals(name):
    text = str(AudioError(f"the recording {name} is silent", path=f"{name}.wav"))
    assert text.isprintable()
    text.encode("utf-8")


def test_addresses_are_not_fetched():
    assert "no such file (download it first" in fault("https://example.org/talk.mp3")
