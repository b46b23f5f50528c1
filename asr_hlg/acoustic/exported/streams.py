"""Streaming networks on sound that comes in parts: features, chunks, states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.exported.chunks import StreamingNetwork
from asr_hlg.acoustic.filter_banks import FilterOptions, Floats, filter_banks, num_frames


class FeatureStream:
    """Features of sound that comes in parts; they equal those of the whole recording.

    Parameters
    ----------
    options : FilterOptions
        Without ``snip_edges``.
    sample_rate : int
        Hz.
    """

    def __init__(self, options: FilterOptions, sample_rate: int):
        self._options, self._rate = options, sample_rate
        self._shift = round(options.frame_shift * sample_rate)
        self._length = round(options.frame_length * sample_rate)
        self._margin = -(-self._length // (2 * self._shift))  # frames that contain mirrored samples
        self._buffer: Floats = np.zeros(0, np.float32)
        self._first = 0  # frame whose sound begins the buffer
        self._next = 0  # first frame that was not returned

    def add(self, samples: Floats, is_last: bool = False) -> Floats:
        """New frames ``(frames, dim)`` whose sound is complete; at the end, all that are left."""
        self._buffer = np.concatenate([self._buffer, samples])
        end = self._first + self._num_complete(is_last)
        if end <= self._next:
            return np.zeros((0, self._options.num_filters), np.float32)
        rows = filter_banks(self._buffer, self._rate, self._options)
        new: Floats = rows[self._next - self._first : end - self._first]
        first = max(self._first, end - self._margin)
        self._buffer = self._buffer[(first - self._first) * self._shift :]
        self._first, self._next = first, end
        return new

    def _num_complete(self, is_last: bool) -> int:
        """Frames of the buffer whose sound is complete."""
        if is_last:
            return num_frames(len(self._buffer), self._rate, self._options)
        last = len(self._buffer) - self._length + self._length // 2 - self._shift // 2
        return last // self._shift + 1 if last >= 0 else 0


class ChunkStream:
    """Log-probabilities of one recording, chunk by chunk, as its sound comes.

    Parameters
    ----------
    network : StreamingNetwork
    features : FeatureStream
    to_log_probs : callable
        From the network's scores ``(frames, outputs)`` to log-probabilities of the tokens.
    """

    def __init__(
        self,
        network: StreamingNetwork,
        features: FeatureStream,
        to_log_probs: Callable[[npt.NDArray[Any]], Floats],
    ):
        self._network, self._features, self._to_log_probs = network, features, to_log_probs
        self._states = network.initial()
        self._waiting: Floats | None = None  # frames from the next chunk's first on
        self._num_frames = self._num_chunks = self._num_rows = 0

    def accept(self, samples: Floats) -> Iterator[Floats]:
        """Take more sound at the model's rate; yields float32 ``(frames, num_tokens)``."""
        self._add(self._features.add(samples))
        while self._waiting is not None and len(self._waiting) >= self._network.sizes.length:
            yield self._chunk(self._waiting)

    def finish(self) -> Iterator[Floats]:
        """The frames of the chunks that waited for more sound."""
        self._add(self._features.add(np.zeros(0, np.float32), is_last=True))
        if self._waiting is None:
            return
        total = self._network.num_rows(self._num_frames)
        while self._num_chunks < self._network.sizes.count(self._num_frames):
            rows = self._chunk(self._network.padded(self._waiting))
            yield rows[: len(rows) - max(0, self._num_rows - total)]

    def _add(self, frames: Floats) -> None:
        self._num_frames += len(frames)
        if len(frames):
            waiting = self._waiting
            self._waiting = frames if waiting is None else np.concatenate([waiting, frames])

    def _chunk(self, frames: Floats) -> Floats:
        """Log-probabilities of the next chunk, with which ``frames`` begin."""
        sizes = self._network.sizes
        rows, self._states = self._network.step(frames[: sizes.length], self._states)
        # Some frame must remain, with which the last chunks are filled.
        assert self._waiting is not None
        kept = self._waiting[sizes.shift :]
        self._waiting = kept if len(kept) else self._waiting[-1:]
        self._num_chunks += 1
        self._num_rows += len(rows)
        return self._to_log_probs(rows)
