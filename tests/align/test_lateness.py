"""Starts of words whose phones CTC marks late."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from asr_hlg.align.lateness import LATENESS, corrected, lateness
from asr_hlg.output.transcript import Word

RATE = 16000


def tones(*spans: tuple[float, float]) -> np.ndarray:
    """Three seconds of faint noise, louder in some spans."""
    sound = 1e-4 * np.random.default_rng(0).standard_normal(3 * RATE)
    for start, end in spans:
        sound[int(start * RATE) : int(end * RATE)] *= 1000
    return sound.astype(np.float32)


def word(start: float, end: float) -> Word:
    return Word("w", start, end, 1.0)


@pytest.mark.parametrize("late", [0.08, 0.12, 0.18])
def test_words_after_pauses_begin_with_the_sound(late):
    spans = [(0.5, 0.9), (1.5, 1.9), (2.4, 2.8)]
    words = [word(start + late, end) for start, end in spans]
    sound = tones(*spans)
    assert lateness(words, sound, RATE) == pytest.approx(
        (3 * (late - 0.048) + 2 * LATENESS) / 5, abs=0.012
    )
    found = corrected(words, sound, RATE)
    errors = [w.start - start for w, (start, _) in zip(found, spans, strict=True)]
    assert np.abs(errors).max() < late / 2
    assert [w.end for w in found] == [w.end for w in words]


def test_no_word_begins_before_the_end_of_the_one_before():
    words = [word(0.5, 0.6), word(0.62, 0.7), word(0.7, 0.8), word(1.5, 1.6)]
    found = corrected(words, np.zeros(0, np.float32), RATE)
    assert found[0].start == pytest.approx(0.5 - LATENESS - 0.42 * 0.15)
    assert found[1].start == 0.6
    assert found[2].start == 0.7
    for before, after in pairwise(found):
        assert before.start <= before.end <= after.start
    assert corrected([], np.zeros(0, np.float32), RATE) == []


def test_steady_sound_measures_nothing():
    words = [word(0.5, 0.9), word(1.5, 1.9)]
    assert lateness(words, tones((0.0, 3.0)), RATE) == LATENESS
    assert lateness(words, np.zeros(3 * RATE, np.float32), RATE) == LATENESS
