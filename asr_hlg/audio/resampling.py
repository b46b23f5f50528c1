"""Resampling of whole recordings, and of long ones block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

_ZERO_CROSSINGS = 6  # of the sinc function, on each side of its centre, that the filter contains
_ROLLOFF = 0.99  # cut-off frequency, as a share of the lower Nyquist frequency
_CHUNK = 1 << 22  # products of samples and filter taps that are in memory at once


def resample(samples: npt.NDArray[Any], source: int, target: int) -> Samples:
    """Convert samples ``(n,)`` from ``source`` Hz to ``target`` Hz, as float32.

    The size of the filter is proportional to the two rates over their greatest common divisor.
    Where that divisor is small, as for 44101 and 16000, the source rate is rounded to a multiple
    of 10 Hz (100 Hz from 48 kHz on): times change by less than 0.1 % at 8 kHz and above.
    """
    source = _rounded_rate(source, target)
    return samples if source == target else _Resampler.of(source, target)(samples)


def resample_blocks(blocks: Iterator[Samples], source: int, target: int) -> Iterator[Samples]:
    """Convert consecutive blocks of one recording, with the result of converting them as a whole.

    A sample of the result depends on a few samples before and after it: the end of each block is
    kept, and resampled together with the next block.
    """
    source = _rounded_rate(source, target)
    if source == target:
        yield from blocks
        return
    resampler = _Resampler.of(source, target)
    step = resampler.step  # equals a whole number of samples of the result
    context = math.ceil((resampler.width + step) / step) * step
    buffer = np.zeros(0, np.float32)
    converted = 0  # samples of the buffer whose result has been yielded
    block = next(blocks, None)
    while block is not None:
        buffer = np.concatenate([buffer, block])
        block = next(blocks, None)
        ready = len(buffer) if block is None else (len(buffer) - context) // step * step
        if ready > converted:
            first, last = (-(-n * target // source) for n in (converted, ready))
            yield resampler(buffer)[first:last]
            kept = min(context, ready)  # a multiple of step
            buffer, converted = buffer[ready - kept :], kept


class _Resampler:
    """Band-limited interpolation with a sinc function under a Hann window.

    A sample of the result at time t is Σ_i x[i] h(i/source - t) with the low-pass filter h. The
    results at times that are a multiple of 1/gcd(source, target) apart have the same weights, so
    the filter is a matrix: a row for every sample of the result within such a period.

    Attributes
    ----------
    step : int
        Samples of the source in a period.
    width : int
        Samples before and after a period on which its results depend.
    """

    def __init__(self, source: int, target: int):
        divisor = math.gcd(source, target)
        self.step, self._results = source // divisor, target // divisor
        cutoff = min(self.step, self._results) * _ROLLOFF
        self.width = math.ceil(_ZERO_CROSSINGS * self.step / cutoff)
        offset = np.arange(-self.width, self.width + self.step) / self.step
        phase = np.arange(self._results)[:, None] / self._results
        time = np.clip((offset - phase) * cutoff, -_ZERO_CROSSINGS, _ZERO_CROSSINGS)
        window = np.cos(time * (math.pi / _ZERO_CROSSINGS / 2)) ** 2
        self._filter = (np.sinc(time) * window * (cutoff / self.step)).astype(np.float32)

    @staticmethod
    @lru_cache(maxsize=8)
    def of(source: int, target: int) -> _Resampler:
        """The resampler for two rates, kept for the next recording."""
        return _Resampler(source, target)

    def __call__(self, samples: npt.NDArray[Any]) -> Samples:
        """The whole of ``samples``, between zeros, at the target rate."""
        samples = np.asarray(samples, dtype=np.float32)
        padded = np.pad(samples, (self.width, self.width + self.step))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._filter.shape[1])
        windows = windows[:: self.step]
        result = np.empty((len(windows), self._results), np.float32)
        rows = max(1, _CHUNK // self._filter.shape[1])
        for begin in range(0, len(windows), rows):
            part = slice(begin, begin + rows)
            # A copy, since matrix products of overlapping rows are slow.
            np.matmul(np.ascontiguousarray(windows[part]), self._filter.T, out=result[part])
        return result.ravel()[: -(-len(samples) * self._results // self.step)]


def _rounded_rate(source: int, target: int) -> int:
    step = 10 if source < 48000 else 100
    return source if math.gcd(source, target) >= step else round(source / step) * step
