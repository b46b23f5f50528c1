"""Resampling of whole recordings, and of long ones block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

_ZERO_CROSSINGS = 6  # of the sinc function, on each side of its centre, that the filter contains
_ROLLOFF = 0.99  # cut-off frequency, as a share of the lower Nyquist frequency
_CHUNK = 1 << 22  # products of samples and filter taps that are in memory at once
_LARGEST = 1600  # in the ratio of two rates; exact for multiples of 10 Hz up to 16 kHz


def resample(samples: npt.NDArray[Any], source: int, target: int) -> Samples:
    """Convert samples ``(n,)`` from ``source`` Hz to ``target`` Hz, as float32.

    The size of the filter is the product of the numbers in the ratio of the rates, such as 441:160.
    Where they exceed 1600, as for 44101 and 16000, a near ratio is used; times change by less than
    0.035 %, and for four of five rates by less than 0.001 %.
    """
    step, results = _ratio(source, target)
    return samples if step == results else _Resampler.of(step, results)(samples)


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
        self._step, self._results = _ratio(source, target)
        self._buffer = np.zeros(0, np.float32)
        self._converted = 0  # samples of the buffer whose result has been returned

    def add(self, block: Samples, is_last: bool = False) -> Samples:
        """Take more samples, float32 ``(n,)``; returns what is known of the result now.

        With ``is_last`` there are no more samples, and it is the rest of the result.
        """
        if self._step == self._results:
            return block
        self._buffer = np.concatenate([self._buffer, block])
        ready = len(self._buffer)
        if not is_last:
            ready = (ready - self._context) // self._step * self._step
        return self._result(ready)

    @property
    def _resampler(self) -> _Resampler:
        return _Resampler.of(self._step, self._results)

    @property
    def _context(self) -> int:
        """Samples that are kept on both sides, which equal a whole number of the result's."""
        return math.ceil((self._resampler.width + self._step) / self._step) * self._step

    def _result(self, ready: int) -> Samples:
        """The result for samples of the buffer up to ``ready``."""
        if ready <= self._converted:
            return np.zeros(0, np.float32)
        first, last = (-(-n * self._results // self._step) for n in (self._converted, ready))
        result = self._resampler(self._buffer)[first:last]
        kept = min(self._context, ready)  # a multiple of step
        self._buffer, self._converted = self._buffer[ready - kept :], kept
        return result


class _Resampler:
    """Band-limited interpolation with a sinc function under a Hann window.

    A sample of the result at time t is Σ_i x[i] h(i/source - t) with the low-pass filter h. The
    results at times that are a period apart have the same weights, so the filter is a matrix: a row
    for every sample of the result within a period.

    Parameters
    ----------
    step, results : int
        Samples of the source and of the result in a period, without a common divisor.

    Attributes
    ----------
    width : int
        Samples before and after a period on which its results depend.
    """

    def __init__(self, step: int, results: int):
        self.step, self._results = step, results
        cutoff = min(self.step, self._results) * _ROLLOFF
        self.width = math.ceil(_ZERO_CROSSINGS * self.step / cutoff)
        offset = np.arange(-self.width, self.width + self.step) / self.step
        phase = np.arange(self._results)[:, None] / self._results
        time = np.clip((offset - phase) * cutoff, -_ZERO_CROSSINGS, _ZERO_CROSSINGS)
        window = np.cos(time * (math.pi / _ZERO_CROSSINGS / 2)) ** 2
        self._filter = (np.sinc(time) * window * (cutoff / self.step)).astype(np.float32)

    @staticmethod
    @lru_cache(maxsize=8)
    def of(step: int, results: int) -> _Resampler:
        """The resampler for a ratio of rates, kept for the next recording."""
        return _Resampler(step, results)

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


def _ratio(source: int, target: int) -> tuple[int, int]:
    """Samples of the source and of the result in a period: the ratio of the rates, or nearly."""
    low, high = sorted([source, target])
    near = Fraction(low, high).limit_denominator(_LARGEST)
    ratio = near.denominator, near.numerator
    return ratio if source == high else ratio[::-1]
