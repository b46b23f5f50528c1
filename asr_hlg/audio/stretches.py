"""Samples of a recording of any length, in overlapping stretches that fit an acoustic model.

    splitter = StretchSplitter(sample_rate=16000, frame_shift=0.04)
    for block in microphone:
        for stretch in splitter.add(block):
            ...
    last = splitter.finish()

A recording of one block becomes one stretch. A longer one is divided into stretches with context,
so that a minute or two of it are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asr_hlg.audio.resampling import Samples

STRETCH = 26.0
"""Seconds of a long recording in a stretch; with the context and the margins that the model adds,
one window of :class:`asr_hlg.acoustic.NetworkModel`."""

CONTEXT = 3.0
"""Seconds of context on both sides of a stretch."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive samples of a recording, with context where the recording goes on.

    Attributes
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)``, context included.
    sample_span, frame_span : slice
        The samples, and the frames of their posteriors, that are no context. Over all stretches
        they cover the recording once.
    """

    samples: Samples
    sample_span: slice
    frame_span: slice


class StretchSplitter:
    """Divides the samples of one recording into stretches, as they come.

    Parameters
    ----------
    sample_rate : int
        Of the samples, in Hz.
    frame_shift : float
        Of the acoustic model, in seconds.
    """

    def __init__(self, sample_rate: int, frame_shift: float):
        self._samples_per_frame = frame_shift * sample_rate
        self._size, self._context = int(STRETCH / frame_shift), int(CONTEXT / frame_shift)
        self._num_blocks = 0
        self._buffer = np.zeros(0, np.float32)
        self._buffer_begin = 0  # first frame in the buffer
        self._begin = 0  # first frame of the next stretch

    def add(self, block: Samples) -> Iterator[Stretch]:
        """Take more samples, float32 ``(n,)``; yields the stretches that are complete now."""
        self._num_blocks += 1
        self._buffer = block if self._num_blocks == 1 else np.concatenate([self._buffer, block])
        while self._num_blocks > 1:
            end = self._begin + self._size
            end_of_context = self._position(end + self._context)
            if len(self._buffer) <= end_of_context:
                return
            yield self._stretch(self._buffer[:end_of_context], end)
            next_begin = end - self._context
            self._buffer = self._buffer[self._position(next_begin) :]
            self._buffer_begin, self._begin = next_begin, end

    def finish(self) -> Stretch:
        """The last stretch, which ends with the recording."""
        return self._stretch(self._buffer, None)

    def _stretch(self, samples: Samples, end: int | None) -> Stretch:
        """The stretch from the next frame to frame ``end``, or to the end of the recording."""
        end_of_frames = None if end is None else end - self._buffer_begin
        end_of_samples = None if end is None else self._position(end)
        return Stretch(
            samples,
            slice(self._position(self._begin), end_of_samples),
            slice(self._begin - self._buffer_begin, end_of_frames),
        )

    def _position(self, frame: int) -> int:
        """Index in the buffer of a frame's first sample."""
        return self._first_sample(frame) - self._first_sample(self._buffer_begin)

    def _first_sample(self, frame: int) -> int:
        return round(frame * self._samples_per_frame)
