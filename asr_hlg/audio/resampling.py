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
    """Convert consecutive blocks of one recording; the result is that of converting the whole."""
    resampler = StreamResampler(source, target)
    block = next(blocks, None)
    while block is not None:
        following = next(blocks, None)
        converted = resampler.add(block, is_last=following is None)
        if len(converted):
            yield converted
        block = following


class StreamResampler:
    """Converts the rate of samples as they come, with the result of converting them as a whole.

    A sample of the result depends on a few samples before and after it: the end of each block is
    kept, and resampled together with the next block.

    Parameters
    ----------
    source, target : int
        Rates in Hz, as for :func:`resample`.
    """

    def __init__(self, source: int, target: int):
        self._source, self._target = _rounded_rate(source, target), target
        self._buffer = np.zeros(0, np.float32)
        self._converted = 0  # samples of the buffer whose result has been returned

    def add(self, block: Samples, is_last: bool = False) -> Samples:
        """Take more samples, float32 ``(n,)``; returns what is known of the result now.

        With ``is_last`` there are no more samples, and it is the rest of the result.
        """
        if self._source == self._target:
            return block
        self._buffer = np.concatenate([self._buffer, block])
        step, ready = self._resampler.step, len(self._buffer)
        if not is_last:
            ready = (ready - self._context) // step * step
        return self._result(ready)

    @property
    def _resampler(self) -> _Resampler:
        return _Resampler.of(self._source, self._target)

    @property
    def _context(self) -> int:
        """Samples that are kept on both sides, which equal a whole number of the result's."""
        width, step = self._resampler.width, self._resampler.step
        return math.ceil((width + step) / step) * step

    def _result(self, ready: int) -> Samples:
        """The result for samples of the buffer up to ``ready``."""
        if ready <= self._converted:
            return np.zeros(0, np.float32)
        first, last = (-(-n * self._target // self._source) for n in (self._converted, ready))
        result = self._resampler(self._buffer)[first:last]
        kept = min(self._context, ready)  # a multiple of step
        self._buffer, self._converted = self._buffer[ready - kept :], kept
        return result


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
