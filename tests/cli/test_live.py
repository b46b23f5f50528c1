"""``asr-hlg live`` and ``transcribe --live``: sound in, sentences out as pauses end them."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile

from asr_hlg.audio import microphone
from asr_hlg.cli import main

FIRST = "he could not find his keys and waited in front of the house"


@pytest.fixture
def project(english, root, monkeypatch):
    monkeypatch.chdir(root)


@pytest.fixture(scope="module")
def speech_samples(root):
    """Two sentences with a pause of two seconds between them, int16 at 16 kHz."""
    parts = [soundfile.read(root / f"examples/{n}.wav", dtype="int16")[0] for n in ("01-slt",) * 2]
    return np.concatenate([parts[0], np.zeros(32000, np.int16), parts[1]])


@pytest.fixture
def pipe(monkeypatch):
    def fill(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return fill


def test_raw_samples_on_a_pipe(project, pipe, speech_samples, capsys):
    pipe(speech_samples.tobytes())
    assert main(["transcribe", "--live", "--raw", "16000", "-"]) == 0
    assert capsys.readouterr().out.splitlines() == [FIRST, FIRST]


def test_a_wav_file_on_a_pipe_becomes_objects_with_times(project, pipe, speech_samples, capsys):
    buffer = io.BytesIO()
    soundfile.write(buffer, speech_samples, 16000, format="WAV")
    pipe(buffer.getvalue())
    command = ["transcribe", "--live", "-", "--format", "json", "--nbest", "2", "--fast"]
    assert main(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == ["stream-1", "stream-2"]
    assert all(len(line["alternatives"]) == 2 for line in lines)
    later = [w["start"] - v["start"] for v, w in zip(*(x["words"] for x in lines), strict=True)]
    assert later == pytest.approx([2 + (len(speech_samples) - 32000) / 32000] * 13, abs=0.2)


def test_rules_are_options(project, pipe, speech_samples, capsys):
    pipe(speech_samples.tobytes())
    rules = [f"--{name}=inf" for name in ("after-end", "after-likely-end", "after-words")]
    assert main(["transcribe", "--live", "--raw=16000", "-", *rules]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{FIRST} {FIRST}"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("transcribe --live examples/01-slt.wav", "standard input"),
        ("transcribe --live - --format ctm", "text, json, srt, vtt"),
        ("transcribe --live - --ref examples/text", "--ref is not for"),
        ("transcribe examples/01-slt.wav --hop 1", "--hop is for"),
        ("transcribe --live - --hop 0", "hop must be above 0"),
    ],
)
def test_what_is_refused(project, pipe, command, message, capsys):
    pipe(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0")
    assert main(command.split()) == 1
    assert message in capsys.readouterr().err


@contextmanager
def recorded(blocks):
    yield 16000, blocks


def test_a_microphone_until_it_is_interrupted(
    project, speech_samples, monkeypatch, capsys, tmp_path
):
    def blocks():
        yield from np.array_split(speech_samples, 50)
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield np.zeros(800, np.int16)

    monkeypatch.setattr(microphone, "microphone", lambda device: recorded(blocks()))
    assert main(["live", "--output", str(tmp_path / "talk.srt")]) == 0
    text = (tmp_path / "talk.srt").read_text()
    assert text.startswith("1\n00:00:00,")
    assert " ".join(text.split()).count("in front of the house") == 2
    assert "Ctrl-C" in capsys.readouterr().err


def test_no_microphone_is_an_error_with_a_remedy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["live"]) == 1
    assert "asr-hlg[live]" in capsys.readouterr().err
