"""Filter banks and MFCCs in numpy, as Kaldi and other toolkits compute them, and what follows them.

The options are those of Kaldi (``feat/feature-window.h``, ``feat/mel-computations.h``), and those
that kaldi-native-fbank adds to them: Hann windows, and the mel filters of librosa.

>>> options = FilterOptions(window="hann", mel="slaney", low_freq=0.0, high_freq=0.0)
>>> filter_banks(samples, 16000, options).shape
(166, 80)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_BLOCK = 1000  # frames that are transformed together: they stay in the cache
_SMALLEST = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class FilterOptions:
    """Options of filter banks and MFCCs; the defaults are those of icefall.

    Attributes
    ----------
    num_filters : int
        Mel filters.
    num_ceps : int
        Cepstral coefficients of MFCCs, without energy; 0 for the filter banks themselves.
    low_freq, high_freq : float
        Lowest and highest frequency of the filters, in Hz; ``high_freq`` ≤ 0 is relative to half
        the sample rate.
    frame_length, frame_shift : float
        Seconds.
    window : str
        ``povey``, ``hamming``, ``hanning`` or ``hann``, the last of which is periodic.
    preemphasis : float
        Share of the sample before that is subtracted from every sample; 0 for none.
    subtract_mean : bool
        Subtract the mean of every frame.
    power_of_two : bool
        Pad frames with zeros to a power of two before the Fourier transform.
    snip_edges : bool
        Only frames that are entirely inside the recording. Otherwise there is one frame for every
        ``frame_shift``, and frames at the edges contain mirrored samples.
    mel : str
        ``kaldi``: triangles in mel; ``slaney``: librosa's, triangles of equal area in Hz.
    scale : float
        Factor of the samples, which are in [-1, 1].
    guard : float
        Added to energies before their logarithm; by default they are at least 1.2e-7 instead.
    """

    num_filters: int = 80
    num_ceps: int = 0
    low_freq: float = 20.0
    high_freq: float = -400.0
    frame_length: float = 0.025
    frame_shift: float = 0.01
    window: str = "povey"
    preemphasis: float = 0.97
    subtract_mean: bool = True
    power_of_two: bool = True
    snip_edges: bool = False
    mel: Literal["kaldi", "slaney"] = "kaldi"
    scale: float = 1.0
    guard: float = 0.0


def filter_banks(samples: Floats, sample_rate: int, options: FilterOptions) -> Floats:
    """Compute filter-bank energies or MFCCs of one utterance, without dither.

    Parameters
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)`` in [-1, 1].
    sample_rate : int
        Hz.
    options : FilterOptions

    Returns
    -------
    np.ndarray
        float32 ``(num_frames, num_filters)``, natural logarithms of energies; or
        ``(num_frames, num_ceps)``.
    """
    shift, length = _frame_sizes(sample_rate, options)
    frames = _frames(
        np.asarray(samples, np.float32) * np.float32(options.scale),
        shift,
        length,
        options.snip_edges,
    )
    size = 1 << (length - 1).bit_length() if options.power_of_two else length
    window, mel = _window(options.window, length), _mel_filters(size, sample_rate, options)
    energies = np.empty((len(frames), options.num_filters), np.float32)
    for begin in range(0, len(frames), _BLOCK):
        block = frames[begin : begin + _BLOCK].astype(np.float32)
        if options.subtract_mean:
            block = block - block.mean(axis=1, keepdims=True)
        if options.preemphasis:
            block[:, 1:] -= np.float32(options.preemphasis) * block[:, :-1]
            block[:, 0] *= 1 - options.preemphasis
        spectrum = np.fft.rfft(block * window, size)
        power = spectrum.real**2 + spectrum.imag**2
        energies[begin : begin + _BLOCK] = power.astype(np.float32) @ mel.T
    if options.guard:
        energies += np.float32(options.guard)
    else:
        np.maximum(energies, np.float32(_SMALLEST), out=energies)
    logs: Floats = np.log(energies)
    return logs @ _cepstra(options.num_ceps, options.num_filters) if options.num_ceps else logs


def num_frames(num_samples: int, sample_rate: int, options: FilterOptions) -> int:
    """Frames of a number of samples."""
    shift, length = _frame_sizes(sample_rate, options)
    if options.snip_edges:
        return max(0, 1 + (num_samples - length) // shift)
    return (num_samples + shift // 2) // shift


def normalised_per_feature(features: Floats) -> Floats:
    """Features ``(frames, dim)`` with mean 0 and standard deviation 1 of every column, as in NeMo.

    The variance is the mean of squares without Bessel's correction, as in sherpa-onnx.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64)
    normal: Floats = ((features - mean) / (deviation + 1e-5)).astype(np.float32)
    return normal


def normalised_waveform(epsilon: float) -> Callable[[Floats], Floats]:
    """Function that gives samples ``(num_samples,)`` mean 0 and variance 1 over the utterance.

    ``epsilon`` is added to the variance: 1e-7 by Hugging Face, 1e-5 by fairseq2.
    """

    def normalise(samples: Floats) -> Floats:
        mean, variance = samples.mean(dtype=np.float64), samples.var(dtype=np.float64)
        normal: Floats = ((samples - mean) / np.sqrt(variance + epsilon)).astype(np.float32)
        return normal

    return normalise


def stacked(features: Floats, window: int, shift: int) -> Floats:
    """Low frame rate: every ``shift`` frames, ``window`` consecutive frames side by side.

    The first frame is repeated before the beginning and the last one after the end, so that
    windows are centred and there are ``ceil(frames / shift)`` of them (Pundak & Sainath 2016,
    "Lower frame rate neural network acoustic models"; the padding is FunASR's).

    Returns
    -------
    np.ndarray
        float32 ``(ceil(frames / shift), window · dim)``.
    """
    rows = -(-len(features) // shift)
    index = np.arange(rows)[:, None] * shift + np.arange(window) - (window - 1) // 2
    side_by_side: Floats = features[index.clip(0, len(features) - 1)].reshape(rows, -1)
    return side_by_side


def shifted_and_scaled(shift: Floats, scale: Floats) -> Callable[[Floats], Floats]:
    """Function from features ``(frames, dim)`` to ``(features + shift) · scale``, per column."""
    return lambda features: (features + shift) * scale


def _frame_sizes(sample_rate: int, options: FilterOptions) -> tuple[int, int]:
    """Samples from one frame to the next, and of a frame."""
    return round(options.frame_shift * sample_rate), round(options.frame_length * sample_rate)


def _frames(samples: Floats, shift: int, length: int, snip_edges: bool) -> Floats:
    """View of the frames ``(num_frames, length)``."""
    if snip_edges:
        if len(samples) < length:
            return np.zeros((0, length), np.float32)
        return np.lib.stride_tricks.sliding_window_view(samples, length)[::shift]
    count = (len(samples) + shift // 2) // shift
    left = length // 2 - shift // 2
    right = max(0, (count - 1) * shift - left + length - len(samples))
    padded = np.pad(samples, (left, right), mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::shift][:count]


@lru_cache
def _window(name: str, length: int) -> Floats:
    """Window function ``(length,)``."""
    period = length if name == "hann" else length - 1
    cosine = np.cos(2 * np.pi * np.arange(length) / period)
    window = 0.54 - 0.46 * cosine if name == "hamming" else 0.5 - 0.5 * cosine
    values: Floats = (window**0.85 if name == "povey" else window).astype(np.float32)
    return values


@lru_cache
def _mel_filters(size: int, sample_rate: int, options: FilterOptions) -> Floats:
    """Weights ``(num_filters, size / 2 + 1)`` of the power spectrum in the filters."""
    half = sample_rate / 2
    high = options.high_freq if options.high_freq > 0 else half + options.high_freq
    hertz = np.arange(size // 2 + 1) * sample_rate / size
    if options.mel == "slaney":
        ends = np.linspace(_slaney(options.low_freq), _slaney(high), options.num_filters + 2)
        corners = _inverse_slaney(ends)
        filters = _triangles(hertz, corners)
        filters *= (2 / (corners[2:] - corners[:-2]))[:, None]
    else:
        ends = np.linspace(_mel(options.low_freq), _mel(high), options.num_filters + 2)
        filters = _triangles(_mel(hertz), ends)
        filters[:, -1] = 0.0  # Kaldi leaves the last bin out
    weights: Floats = filters.astype(np.float32)
    return weights


def _triangles(points: Doubles, corners: Doubles) -> Doubles:
    """Triangular filters ``(len(corners) - 2, len(points))`` with given corners."""
    left, centre, right = (corners[k : len(corners) - 2 + k, None] for k in range(3))
    rising = (points - left) / (centre - left)
    falling = (right - points) / (right - centre)
    triangles: Doubles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles


def _mel(frequency: npt.ArrayLike) -> Doubles:
    """Kaldi's mel scale of frequencies in Hz."""
    result: Doubles = 1127.0 * np.log1p(np.asarray(frequency) / 700.0)
    return result


_LOG_STEP = np.log(6.4) / 27.0  # of Slaney's mel scale, per mel above 1000 Hz


def _slaney(frequency: float) -> float:
    """Slaney's mel scale of a frequency in Hz: linear to 1000 Hz, then logarithmic."""
    if frequency <= 1000:
        return frequency * 3 / 200
    return float(15 + np.log(frequency / 1000) / _LOG_STEP)


def _inverse_slaney(mel: Doubles) -> Doubles:
    """Frequencies in Hz of Slaney's mel scale."""
    result: Doubles = np.where(mel <= 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * _LOG_STEP))
    return result


@lru_cache
def _cepstra(num_ceps: int, num_filters: int, lifter: float = 22.0) -> Floats:
    """Matrix ``(num_filters, num_ceps)`` from log energies to liftered cepstra, as in Kaldi."""
    order = np.arange(num_ceps)
    matrix = np.cos(np.pi / num_filters * (np.arange(num_filters)[:, None] + 0.5) * order)
    matrix *= np.sqrt(np.where(order == 0, 1.0, 2.0) / num_filters)
    matrix *= 1 + 0.5 * lifter * np.sin(np.pi * order / lifter)
    return matrix.astype(np.float32)
