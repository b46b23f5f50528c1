"""Filter banks follow Kaldi's definition, whichever library computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr_hlg.acoustic import features
from asr_hlg.acoustic.features import FbankOptions, fbank
from asr_hlg.errors import AudioError

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.wav"))
needs_kaldifeat = pytest.mark.skipif(
    features.backend() != "kaldifeat", reason="kaldifeat is not installed: make kaldifeat builds it"
)
LIBRARIES = ["lhotse", pytest.param("kaldifeat", marks=needs_kaldifeat)]


def speech(count: int = 3) -> list[torch.Tensor]:
    return [torch.from_numpy(soundfile.read(p, dtype="float32")[0]) for p in EXAMPLES[:count]]


def by_definition(samples: np.ndarray, options: FbankOptions) -> np.ndarray:
    """Kaldi's filter banks at 16 kHz in double precision."""
    size, shift = round(16000 * options.frame_length), round(16000 * options.frame_shift)
    count = (len(samples) + shift // 2) // shift
    padded = np.pad(samples, size, mode="symmetric")
    first = size + shift // 2 - size // 2
    n = np.arange(size)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * n / (size - 1))) ** 0.85
    transform = 1 << (size - 1).bit_length()

    def mel(hertz):
        return 1127.0 * np.log1p(hertz / 700.0)

    edges = np.linspace(
        mel(options.low_freq), mel(8000 + options.high_freq), options.num_filters + 2
    )
    bins = mel(np.arange(transform // 2 + 1) * 16000 / transform)
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(up, down))
    rows = []
    for k in range(count):
        frame = padded[first + k * shift :][:size].astype(np.float64)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, transform)) ** 2
        rows.append(np.log(np.maximum(filters @ power, np.finfo(np.float32).eps)))
    return np.array(rows)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "options",
    [FbankOptions(), FbankOptions(num_filters=40, low_freq=60.0, high_freq=-1000.0)],
    ids=["default", "other"],
)
def test_energies_are_as_kaldi_defines_them(monkeypatch, library, options):
    monkeypatch.setattr(features, "backend", lambda: library)
    [waveform] = speech(1)
    [energies] = fbank([waveform], 16000, options)
    expected = by_definition(waveform.numpy(), options)
    assert energies.shape == expected.shape
    assert energies.dtype == torch.float32
    error = np.abs(energies.numpy() - expected)
    # Single precision shows in the quietest bands only.
    assert error.mean() < 1e-4
    assert np.quantile(error, 0.99) < 1e-3


@needs_kaldifeat
def test_both_libraries_agree(monkeypatch):
    waveforms = speech()
    ours = torch.cat(fbank(waveforms, 16000))
    monkeypatch.setattr(features, "backend", lambda: "lhotse")
    error = (ours - torch.cat(fbank(waveforms, 16000))).abs()
    assert error.mean() < 1e-4
    assert (error < 1e-4).float().mean() > 0.98


@needs_kaldifeat
def test_kaldifeat_is_used_where_it_is_installed():
    extractor = features._extractor(features.backend(), FbankOptions(), 16000, "cpu")
    assert "kaldifeat" in extractor.name


@pytest.mark.parametrize("library", LIBRARIES)
def test_other_rates_and_shifts(monkeypatch, library):
    monkeypatch.setattr(features, "backend", lambda: library)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000)
    [energies] = fbank([tone], 8000, FbankOptions(num_filters=40, frame_shift=0.02))
    assert energies.shape == (50, 40)
    # The band that contains 1 kHz has the most energy.
    low, high, frequency = 1127 * np.log1p(np.array([20, 3600, 1000]) / 700)
    band = int(np.argmin(np.abs(np.linspace(low, high, 42)[1:-1] - frequency)))
    assert (energies[5:-5].argmax(1) == band).all()


@pytest.mark.filterwarnings("ignore:.*snip_edges:UserWarning")
@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_is_random_and_snipped_frames_are_inside(monkeypatch, library):
    monkeypatch.setattr(features, "backend", lambda: library)
    [waveform] = speech(1)
    first, second = fbank([waveform], 16000), fbank([waveform], 16000)
    assert torch.equal(first[0], second[0])
    [snipped] = fbank([waveform], 16000, FbankOptions(snip_edges=True))
    assert len(snipped) == 1 + (len(waveform) - 400) // 160


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("length", "snip"), [(0, False), (100, False), (399, True)])
def test_too_short_for_a_frame_is_an_error(monkeypatch, library, length, snip):
    monkeypatch.setattr(features, "backend", lambda: library)
    with pytest.raises(AudioError, match=f"waveform 1 has {length} samples"):
        fbank([torch.ones(800), torch.ones(length)], 16000, FbankOptions(snip_edges=snip))
