"""Features of other toolkits against kaldi-native-fbank, and their normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg.acoustic.filter_banks import (
    FilterOptions,
    filter_banks,
    normalised_per_feature,
    normalised_waveform,
    num_frames,
    stacked,
)
from tests.support.native_features import native_features

KINDS = {
    "icefall": FilterOptions(),
    "NeMo": FilterOptions(
        window="hann",
        mel="slaney",
        low_freq=0.0,
        high_freq=0.0,
        subtract_mean=False,
        guard=2.0**-24,
    ),
    "GigaAM": FilterOptions(
        num_filters=64,
        window="hann",
        low_freq=0.0,
        high_freq=8000.0,
        subtract_mean=False,
        preemphasis=0.0,
        power_of_two=False,
    ),
    "SenseVoice": FilterOptions(window="hamming", high_freq=0.0, snip_edges=True, scale=32768.0),
    "TeleSpeech": FilterOptions(
        num_filters=40, num_ceps=40, low_freq=40.0, high_freq=-200.0, snip_edges=True, scale=32768.0
    ),
    "WeNet": FilterOptions(scale=32768.0),
    "8 kHz": FilterOptions(num_filters=23, high_freq=-200.0),
}


def noise(num_samples: int) -> np.ndarray:
    return (np.random.default_rng(3).standard_normal(num_samples) * 0.1).astype(np.float32)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("num_samples", [400, 16077, 170_000])
def test_features_equal_those_of_kaldi_native_fbank(name, num_samples):
    rate = 8000 if name == "8 kHz" else 16000
    samples, options = noise(num_samples), KINDS[name]
    ours = filter_banks(samples, rate, options)
    theirs = native_features(samples, rate, options)
    assert ours.shape == theirs.shape == (num_frames(num_samples, rate, options), ours.shape[1])
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_columns_are_normalised():
    features = noise(3000).reshape(-1, 5) * [1, 2, 3, 4, 5] + 7
    normal = normalised_per_feature(features.astype(np.float32))
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(normal.std(0), 1, atol=1e-3)


def test_waveforms_are_normalised():
    normal = normalised_waveform(1e-7)(noise(5000) * 3 + 1)
    assert abs(normal.mean()) < 1e-6
    assert abs(normal.std() - 1) < 1e-5


def test_frames_are_stacked_around_their_centre():
    features = np.arange(13, dtype=np.float32)[:, None]
    assert stacked(features, 7, 6).tolist() == [
        [0, 0, 0, 0, 1, 2, 3],
        [3, 4, 5, 6, 7, 8, 9],
        [9, 10, 11, 12, 12, 12, 12],
    ]
