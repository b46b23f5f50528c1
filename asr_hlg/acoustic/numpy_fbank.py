"""Kaldi's log-mel filter banks in numpy, for models that run without torch.

They equal :func:`asr_hlg.acoustic.features.fbank`, which training uses, to 1e-3.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.features import FbankOptions

Floats = npt.NDArray[np.float32]

_PREEMPHASIS = 0.97
_BLOCK = 1000  # frames that are transformed together: they stay in the cache
_SMALLEST = float(np.finfo(np.float32).eps)


def fbank(samples: Floats, sample_rate: int, options: FbankOptions) -> Floats:
    """Filter-bank energies of one utterance, as Kaldi's ``compute-fbank-feats``.

    Povey's window, pre-emphasis of 0.97, without dither; frames at the edges see the samples
    mirrored (``snip_edges`` off).

    Parameters
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)`` in [-1, 1].
    sample_rate : int
        Hz.
    options : FbankOptions

    Returns
    -------
    np.ndarray
        float32 ``(num_frames, num_filters)``, natural logarithms; a frame for every
        ``frame_shift``, rounded.
    """
    shift, length = (
        round(seconds * sample_rate) for seconds in (options.frame_shift, options.frame_length)
    )
    num_frames = (len(samples) + shift // 2) // shift
    window, mel = _tables(length, sample_rate, options)
    left = length // 2 - shift // 2
    right = max(0, (num_frames - 1) * shift - left + length - len(samples))
    padded = np.pad(samples.astype(np.float32), (left, right), mode="symmetric")
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::shift][:num_frames]
    size = 2 * (mel.shape[1] - 1)
    energies = np.empty((num_frames, len(mel)), np.float32)
    for begin in range(0, num_frames, _BLOCK):
        block = frames[begin : begin + _BLOCK]
        block = block - block.mean(axis=1, keepdims=True)
        block[:, 1:] -= _PREEMPHASIS * block[:, :-1]
        block[:, 0] *= 1 - _PREEMPHASIS
        spectrum = np.fft.rfft(block * window, size)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        energies[begin : begin + _BLOCK] = power @ mel.T
    result: Floats = np.log(np.maximum(energies, _SMALLEST))
    return result


@lru_cache
def _tables(length: int, sample_rate: int, options: FbankOptions) -> tuple[Floats, Floats]:
    """The window ``(length,)``, and the filters ``(num_filters, size / 2 + 1)``."""
    size = 1 << (length - 1).bit_length()
    phase = 2 * np.pi * np.arange(length) / (length - 1)
    window = (0.5 - 0.5 * np.cos(phase)) ** 0.85
    high = options.high_freq if options.high_freq > 0 else sample_rate / 2 + options.high_freq
    low_mel, high_mel = _mel(options.low_freq), _mel(high)
    centres = np.linspace(low_mel, high_mel, options.num_filters + 2)
    bins = _mel(np.arange(size // 2 + 1) * sample_rate / size)
    rising = (bins - centres[:-2, None]) / (centres[1:-1] - centres[:-2])[:, None]
    falling = (centres[2:, None] - bins) / (centres[2:] - centres[1:-1])[:, None]
    mel = np.maximum(0.0, np.minimum(rising, falling))
    mel[:, -1] = 0.0  # Kaldi leaves the last bin out
    return window.astype(np.float32), mel.astype(np.float32)


def _mel(frequency: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mel scale of frequencies in Hz."""
    result: npt.NDArray[np.float64] = 1127.0 * np.log1p(np.asarray(frequency) / 700.0)
    return result
