"""Long pauses: which spans are left out, and that every frame of the recording gets its row."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from asr_hlg import acoustic
from asr_hlg.acoustic import pauses

RATE, FRAME = 16000, 320


def noise(seconds: float, rms: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (rms * samples).astype(np.float32)


def babble(seconds: float, rms: float) -> np.ndarray:
    """Noise whose level rises and falls by 30 dB four times a second, as that of speech does."""
    time = np.arange(round(seconds * RATE)) / RATE
    envelope = 10 ** (-0.75 * (1 + np.cos(2 * np.pi * 4 * time)))
    return (noise(seconds, rms) * envelope).astype(np.float32)


def seconds_of(spans) -> list[tuple[float, float]]:
    return [(begin * FRAME / RATE, end * FRAME / RATE) for begin, end in spans]


@pytest.mark.parametrize("rms", [0.0, 1e-4, 1e-3])
def test_only_the_middle_of_a_long_pause_is_left_out(rms):
    parts = [noise(3, rms, 1), babble(2, 0.1), noise(4, rms, 2), babble(2, 0.1), noise(5, rms, 3)]
    [head, middle, tail] = seconds_of(pauses.find(np.concatenate(parts), RATE, FRAME))
    assert head == pytest.approx((0.0, 3.0 - pauses.KEEP), abs=0.15)
    assert middle == pytest.approx((5.0 + pauses.KEEP, 9.0 - pauses.KEEP), abs=0.15)
    assert tail == pytest.approx((11.0 + pauses.KEEP, 16.0), abs=0.15)


def test_short_pauses_stay():
    parts = [noise(0.9, 0), babble(2, 0.1), noise(1.3, 0), babble(2, 0.1), noise(0.9, 0)]
    assert pauses.find(np.concatenate(parts), RATE, FRAME) == []


@pytest.mark.parametrize("level", [0.1, 1e-2, 1e-3])
def test_soft_speech_is_no_pause_beside_loud_speech(level):
    assert pauses.find(np.concatenate([babble(3, 0.3), babble(3, level)]), RATE, FRAME) == []


def test_loud_noise_is_no_pause():
    assert pauses.find(np.concatenate([babble(3, 0.1), noise(3, 0.05)]), RATE, FRAME) == []


@pytest.mark.parametrize("num_samples", [0, 1, 319, 320, 16000, 16001])
def test_short_recordings_have_no_spans(num_samples):
    assert pauses.find(np.zeros(num_samples, np.float32), RATE, FRAME) in ([], [(0, 50)])


def test_rows_and_samples_of_the_shortened_recording_fit_together():
    spans = [(0, 4), (10, 13), (20, 24)]
    numbers = np.repeat(np.arange(24), FRAME)
    kept = np.concatenate(pauses.without(numbers, spans, FRAME))[::FRAME]
    assert kept.tolist() == [*range(4, 10), *range(13, 20)]
    silence = np.array([0, 9, 0, 0, 0, 0, 8, 0, 0, 0, 0, 7, 0], np.float32)
    rows = pauses.sources(len(kept), spans, silence, reach=2)
    assert len(rows) == 24
    left_out = np.zeros(24, bool)
    for begin, end in spans:
        left_out[begin:end] = True
    np.testing.assert_array_equal(kept[rows[~left_out]], np.flatnonzero(~left_out))
    assert rows[left_out].tolist() == 4 * [1] + 3 * [6] + 4 * [11]


def test_rows_where_no_column_is_silence():
    rows = pauses.sources(3, [(1, 3), (5, 6)], np.zeros(3, np.float32), reach=1)
    assert rows.tolist() == [0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("rms", [0.0, 1e-3])
@pytest.mark.parametrize("where", ["start", "end", "both"])
def test_posteriors_of_speech_hardly_depend_on_silence_around_it(root, rms, where):
    model = acoustic.load("hama")
    speech = soundfile.read(root / "examples" / "06-awb.wav", dtype="float32")[0]
    before = noise(12, rms, 1) if where != "end" else noise(0, 0)
    after = noise(15, rms, 2) if where != "start" else noise(0, 0)
    padded = np.concatenate([before, speech, after])
    [alone] = model.posteriors([torch.from_numpy(speech)], RATE).log_probs
    [rows] = model.posteriors([torch.from_numpy(padded)], RATE).log_probs
    assert len(rows) == len(padded) // FRAME + 1
    begin = len(before) // FRAME
    same = rows[begin : begin + len(alone)].argmax(1) == alone.argmax(1)
    assert same.float().mean() > 0.95
    outside = torch.cat([rows[: max(0, begin - 25)], rows[begin + len(alone) + 25 :]])
    assert outside[:, :2].exp().sum(1).min() > 0.5
