"""Small corpora for tests: cuts of noise in memory, sound files, words that are tones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from lhotse import CutSet, MonoCut, SupervisionSegment

from asr_hlg import data
from asr_hlg.data import Batch

RATE = 16000
TONE_RATE = 8000
TONES = {"low": 400, "high": 1600, "off": 2800}
"""Frequency in Hz of the tone that each word is."""


def sound(seconds: float, seed: int = 0, rate: int = RATE) -> npt.NDArray[np.float32]:
    """White noise, float32 ``(samples,)``."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate)).astype("float32")


def make_cuts(durations: Sequence[float], rate: int = RATE) -> CutSet:
    """Cuts c0, c1, … of noise, held in memory; the transcript of cut n is "word n"."""
    found = []
    for number, duration in enumerate(durations):
        name = f"c{number}"
        recording = data.augmentation.in_memory(name, sound(duration, number, rate), rate)
        spoken = SupervisionSegment(name, name, 0.0, recording.duration, text=f"word {number}")
        found.append(MonoCut(name, 0.0, recording.duration, 0, [spoken], recording=recording))
    return CutSet(found)


def write_wavs(folder: Path, *names: str, rate: int = RATE) -> None:
    """Write a sound file of noise for each name; every one is 0.1 s longer than the last."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        soundfile.write(folder / f"{name}.wav", sound(0.3 + 0.1 * number, number, rate), rate)


def assert_equal(left: Iterable[Batch], right: Iterable[Batch]) -> None:
    """Assert that two sequences of batches hold the same utterances and inputs."""
    left, right = list(left), list(right)
    assert [batch.ids for batch in left] == [batch.ids for batch in right]
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.lengths, b.lengths)
        assert a.texts == b.texts


def write_tones(folder: Path, count: int, seed: int) -> None:
    """Write recordings of one to three words that are tones, in noise, and their transcripts."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    lines = []
    for number in range(count):
        words = generator.choice(list(TONES), size=generator.integers(1, 4))
        time = np.arange(TONE_RATE // 4) / TONE_RATE
        pieces = [
            part
            for word in words
            for part in (0.3 * np.sin(2 * np.pi * TONES[word] * time), np.zeros(TONE_RATE // 10))
        ]
        samples = np.concatenate(pieces)
        samples += 0.01 * generator.normal(size=len(samples))
        soundfile.write(folder / f"{seed}-{number}.wav", samples, TONE_RATE)
        lines.append(f"{seed}-{number} {' '.join(words)}\n")
    (folder / "text").write_text("".join(lines))
