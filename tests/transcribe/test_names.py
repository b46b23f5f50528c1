"""Files of any name get unique ids, outputs that parse, and nothing is overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import soundfile

from asr_hlg import lattice
from asr_hlg.cli import main
from asr_hlg.output.text import read_transcripts
from asr_hlg.output.writers import file_name

NAMES = [
    b"plain.wav", b"two  blanks .wav", b"it's \"quoted\".wav", b"line\nbreak.wav", b"caf\xe9.wav",
    b"-rf.wav", b"a/one.wav", b"b/one.wav", b"a_one.wav", b"a/one.flac", b"(x); {y}.wav",
    b";comment.wav", "🎤 语音.wav".encode(), b"tab\there.wav", b"\xe2\x80\xa8.wav", b"..wav",
    b"%s$(touch x)`y`|.wav", b"long" * 60 + b".wav", b"long" * 60 + b"_.wav", b"<eps>.wav",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory) -> Path:
    """A folder with a short recording of each name, in two folders for some."""
    folder = tmp_path_factory.mktemp("names")
    samples, rate = soundfile.read(root / "examples" / "01-slt.wav", frames=16000)
    for name in NAMES:
        path = os.path.join(os.fsencode(folder), b"in", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        plain = folder / ("x.flac" if name.endswith(b"flac") else "x.wav")
        soundfile.write(plain, samples, rate)
        os.rename(plain, path)
    return folder


def transcribe(root, folder, *options) -> None:
    graph = str(root / "graphs" / "en")
    command = ["transcribe", "--graph", graph, "--workers", "1", "--quiet"]
    assert main([*command, *map(str, options), str(folder / "in")]) == 0


# A hidden file is no recording: its name begins with a point.
NUM_FILES = len([name for name in NAMES if not name.startswith(b".")])


@pytest.mark.parametrize(("format", "suffix"), [("text", "txt"), ("trn", "trn"), ("ctm", "ctm")])
def test_files_of_all_recordings_parse(root, english, folder, format, suffix):
    output = folder / f"all.{suffix}"
    transcribe(root, folder, "--format", format, "--output", output)
    assert len(read_transcripts(output)) == NUM_FILES


def test_json_lines_parse_and_ids_are_unique(root, english, folder):
    transcribe(root, folder, "--format", "json", "--output", folder / "all.jsonl")
    lines = (folder / "all.jsonl").read_bytes().decode("utf-8").split("\n")[:-1]
    ids = [json.loads(line)["id"] for line in lines]
    assert len(set(ids)) == len(ids) == NUM_FILES
    assert all(" ".join(name.split()) == name and name.isprintable() for name in ids)


def test_folders_have_a_file_for_each_recording(root, english, folder):
    pytest.importorskip("praatio")
    grids, lattices = folder / "grids", folder / "lattices"
    transcribe(root, folder, "--format", "textgrid", "--output", grids, "--lattices", lattices)
    assert len(list(grids.glob("*.TextGrid"))) == len(os.listdir(grids)) == NUM_FILES
    assert len(os.listdir(lattices)) == NUM_FILES
    for path in lattices.iterdir():
        assert len(list(lattice.read(path))) == 1


def test_long_ids_become_different_names_that_a_file_system_takes():
    names = {file_name("é" * 300 + end) for end in ("", "x", "y")} | {file_name("a/b"), "x" * 200}
    assert len(names) == 5
    assert all(len(os.fsencode(name)) <= 217 for name in names)
    assert file_name("x" * 200) == "x" * 200
