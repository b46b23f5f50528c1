"""Silence around speech and between words changes no words, and moves their times exactly."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from asr_hlg import Transcriber
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import TranscribeOptions

RATE = 16000


@pytest.fixture(scope="module")
def transcriber(english, root) -> Transcriber:
    options = TranscribeOptions(passes=PassOptions())
    return Transcriber.from_graph(root / "graphs" / "en", options=options, graph=english)


@pytest.fixture(scope="module")
def words(transcriber, root):
    found = transcriber.transcribe([root / "examples"])
    return {transcript.id: transcript.words for transcript in found}


def sound_of(root, id: str) -> np.ndarray:
    return soundfile.read(root / "examples" / f"{id}.wav", dtype="float32")[0]


def silence(seconds: float, rms: float) -> np.ndarray:
    return rms * np.random.default_rng(1).standard_normal(round(seconds * RATE))


def transcribe(transcriber, path, parts):
    soundfile.write(path, np.concatenate(parts), RATE, subtype="PCM_16")
    [transcript] = transcriber.transcribe([path])
    return transcript.words


def num_changed(old: list[str], new: list[str]) -> int:
    """Edit distance of two lists of words."""
    row = list(range(len(new) + 1))
    for i, word in enumerate(old, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(new, start=1):
            diagonal, row[j] = row[j], min(diagonal + (word != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@pytest.mark.parametrize("rms", [0.0, 1e-3])  # zeros, and noise at -60 dB
@pytest.mark.parametrize("before", [0, 2, 10, 60])
@pytest.mark.parametrize("after", [0, 20])
def test_silence_at_the_ends(transcriber, root, words, tmp_path, rms, before, after):
    id = ["03-awb", "06-awb", "07-slt", "08-rms"][(before + after) % 4]
    parts = [silence(before, rms), sound_of(root, id), silence(after, rms)]
    found = transcribe(transcriber, tmp_path / "padded.wav", parts)
    assert num_changed([w.text for w in words[id]], [w.text for w in found]) <= 1
    kept = {w.text: w.start for w in found}
    shifts = [kept[w.text] - w.start for w in words[id] if w.text in kept]
    assert np.median(shifts) == pytest.approx(before, abs=0.021)


@pytest.mark.parametrize("rms", [0.0, 1e-3])
@pytest.mark.parametrize("seconds", [3, 10, 60])
def test_silence_between_words(transcriber, root, words, tmp_path, rms, seconds):
    old = words["06-awb"]
    middle = round((old[5].end + old[6].start) / 2 * RATE)
    sound = sound_of(root, "06-awb")
    parts = [sound[:middle], silence(seconds, rms), sound[middle:]]
    found = transcribe(transcriber, tmp_path / "divided.wav", parts)
    assert num_changed([w.text for w in old], [w.text for w in found]) <= 1
    assert found[0].start == pytest.approx(old[0].start, abs=0.021)
    assert found[-1].end == pytest.approx(old[-1].end + seconds, abs=0.1)


@pytest.mark.parametrize("seconds", [1, 5, 60])
@pytest.mark.parametrize("rms", [1e-4, 1e-3])
def test_soft_noise_has_no_words(transcriber, tmp_path, rms, seconds):
    assert transcribe(transcriber, tmp_path / "noise.wav", [silence(seconds, rms)]) == []
