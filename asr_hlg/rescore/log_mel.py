"""Input of Whisper's encoder: log-mel energies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16000
MAX_SECONDS = 30
"""The window that Whisper was trained on; shorter sound is padded to it."""

_FFT = 400
_HOP = 160
_NUM_FRAMES = MAX_SECONDS * SAMPLE_RATE // _HOP


def log_mel(
    samples: npt.NDArray[np.floating[Any]], filters: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float32]:
    """Log-mel energies of samples at 16 kHz, padded with silence to 30 seconds.

    Parameters
    ----------
    samples : np.ndarray
        ``(num_samples,)``, 30 seconds at most.
    filters : np.ndarray
        ``(num_mels, 201)``.

    Returns
    -------
    np.ndarray
        float32 ``(1, num_mels, 3000)``: decibels in a range of 80 dB, scaled to about [-1, 1]
        (Radford et al., "Robust speech recognition via large-scale weak supervision", 2022, 2.2).
    """
    half = _FFT // 2
    start = np.zeros(half, dtype=np.float32)  # mirror image of the first samples
    mirrored = samples[1 : half + 1][::-1]
    start[half - len(mirrored) :] = mirrored
    # Frames whose windows lie in the padding have no energy and need no transform.
    num_frames = min(_NUM_FRAMES, (len(samples) + half) // _HOP + 1)
    size = (num_frames - 1) * _HOP + _FFT
    padded = np.zeros(size, dtype=np.float32)
    content = np.concatenate([start, samples.astype(np.float32)])[:size]
    padded[: len(content)] = content
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    spectrum = np.fft.rfft(windows * _hann_window(), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    energies = np.zeros((len(filters), _NUM_FRAMES), dtype=np.float32)
    energies[:, :num_frames] = filters.astype(np.float32) @ power.T
    decibels = np.log10(np.maximum(energies, 1e-10))
    scaled: npt.NDArray[np.float32] = (np.maximum(decibels, decibels.max() - 8.0) + 4.0) / 4.0
    return np.ascontiguousarray(scaled[None])


def mel_filters(num_mels: int) -> npt.NDArray[np.float64]:
    """Triangular filters of equal area on Slaney's mel scale, ``(num_mels, 201)``, up to 8 kHz.

    The scale of the Auditory Toolbox (Slaney, 1998) is linear below 1 kHz, 200/3 Hz a mel, and
    logarithmic above, 27 mels for a factor of 6.4.
    """
    top = 15 + 27 * math.log(SAMPLE_RATE / 2 / 1000) / math.log(6.4)
    mels = np.linspace(0, top, num_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    left, centre, right = (edges[k : k + num_mels, None] for k in range(3))
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    filters: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    filters *= 2 / (right - left)
    return filters


def _hann_window() -> npt.NDArray[np.float32]:
    """Periodic Hann window."""
    steps = np.arange(_FFT) / _FFT
    window: npt.NDArray[np.float32] = (0.5 - 0.5 * np.cos(2 * np.pi * steps)).astype(np.float32)
    return window
