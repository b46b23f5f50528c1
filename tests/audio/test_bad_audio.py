"""Whatever stands where a recording should gets a transcript or a one-line reason."""

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

SECONDS = 10  # of CPU time that any of them may take

_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, dict]:
    """What reading each of the corpus led to; lacks what came after a crash."""
    folder = tmp_path_factory.mktemp("bad")
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.probe_audio", folder],
        capture_output=True,
        timeout=300,
        env=_ENVIRONMENT,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    return {answer["name"]: answer for answer in map(json.loads, run.stdout.splitlines())}


def test_the_corpus_is_large():
    assert len(CORPUS) >= 40


@pytest.mark.parametrize("name", CORPUS)
def test_each_is_read_or_refused_within_limits(answers, name):
    answer, bad = answers[name], CORPUS[name]
    assert bool(answer["reason"]) == bool(bad.answer)
    assert bad.answer in answer["reason"]
    assert answer["samples"] or bad.answer
    assert answer["reason"].isprintable()
    assert answer["seconds"] < SECONDS
    assert answer["handles"] == 0


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


def test_the_command_answers_for_each(toy, tmp_path):
    (tmp_path / "bad").mkdir()
    paths = []
    for name, bad in CORPUS.items():
        (tmp_path / "bad" / name).mkdir()
        paths.append(bad.make(tmp_path / "bad" / name))
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "asr_hlg.cli", "transcribe", "--graph", toy, "--workers", "1"]
    command += ["--max-duration", str(LONGEST), "--format", "json", "--output", output, *paths]
    run = subprocess.run(command, capture_output=True, timeout=400, env=_ENVIRONMENT)
    said = run.stderr.decode()
    assert run.returncode == 1, said[-3000:]
    assert "Traceback" not in said
    ids = dict(zip((recording.id for recording in recordings(paths)), CORPUS, strict=True))
    transcribed = {ids[json.loads(line)["id"]] for line in output.read_text().splitlines()}
    journal = map(json.loads, (tmp_path / "out.jsonl.journal").read_text().splitlines())
    failed = {
        ids[entry["failure"]["id"]]: entry["failure"]["reason"]
        for entry in journal
        if "failure" in entry
    }
    assert transcribed == {name for name, bad in CORPUS.items() if not bad.answer}
    for name, bad in CORPUS.items():
        if bad.answer:
            assert bad.answer in failed[name]
            assert "\n" not in failed[name]


def test_ten_hours_are_heard_in_little_memory(tmp_path):
    """8 bits and 8 kHz, so that it takes a second or two: noise, ten hours of a hole, noise."""
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


def test_an_mp3_that_hides_its_length_is_heard_whole_or_refused(tmp_path):
    """Without a table of contents, the decoder takes the first frame's size for that of all."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 8 * RATE)
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.concatenate([noise, np.zeros(8 * RATE)]), RATE)
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])
    [recording] = recordings([path])
    with pytest.raises(AudioError, match="does not say how long it is"):
        recording.load(RATE)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "caf\udce9"])
def test_reasons_stay_on_one_line_and_do_not_command_terminals(name):
    text = str(AudioError(f"the recording {name} is silent", path=f"{name}.wav"))
    assert text.isprintable()
    text.encode("utf-8")
