"""A live stream: sound in, transcripts of finished segments and partial results out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.serve.service import Service

_BLOCK_SECONDS = 1.0
"""Sound that is decoded at once, so that a large message does not hold a thread for long."""


class Stream(Protocol):
    """Incremental recognition, as :meth:`Transcriber.stream` gives it."""

    def accept(self, samples: npt.NDArray[Any]) -> list[Transcript]:
        """Decode samples, int16 ``(n,)``; returns the segments that have ended."""

    def partial(self) -> Transcript:
        """The words of the unfinished segment."""

    def final(self) -> Transcript:
        """The last segment; ends the stream."""


class Update(NamedTuple):
    """Segments that a message has finished, and the words of the one that goes on."""

    finished: list[Transcript]
    partial: Transcript


@dataclass
class Session:
    """Recogniser of one connection. Its methods are called one after the other.

    Attributes
    ----------
    service : Service
    open_stream : callable
        Makes a :class:`Stream`; called in a thread, since it may have to change a graph first.
    sample_rate : int
        Of the sound, in Hz.
    seconds : float
        Sound so far.
    """

    service: Service
    open_stream: Callable[[], Stream]
    sample_rate: int
    seconds: float = 0.0
    _stream: Stream | None = field(default=None, repr=False)
    _offset: float = 0.0

    async def accept(self, pcm: bytes) -> Update:
        """Decode signed 16-bit samples, little-endian, one channel."""
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16, copy=False)
        block = int(self.sample_rate * _BLOCK_SECONDS)
        finished: list[Transcript] = []
        stream = self._stream
        if stream is None:
            stream = self._stream = await self.service.prepare(self.open_stream)
        for begin in range(0, len(samples), block):
            part = samples[begin : begin + block]
            finished += await self.service.live(partial(stream.accept, part))
        self.seconds += len(samples) / self.sample_rate
        self.service.metrics.sound.labels("live").inc(len(samples) / self.sample_rate)
        unfinished = await self.service.live(self._partial)
        return Update([_shifted(each, self._offset) for each in finished], unfinished)

    async def final(self) -> Transcript:
        """The last segment. Sound after it begins a new stream, with times that go on."""
        last = await self.service.live(self._final)
        last = _shifted(last, self._offset)
        self._offset = self.seconds
        return last

    def _partial(self) -> Transcript:
        if self._stream is None:
            return Transcript("", "")
        return _shifted(self._stream.partial(), self._offset)

    def _final(self) -> Transcript:
        stream, self._stream = self._stream, None
        return Transcript("", "") if stream is None else stream.final()


def _shifted(transcript: Transcript, seconds: float) -> Transcript:
    """Transcript with later times."""
    if not seconds or not transcript.words:
        return transcript

    def later(words: list[Word]) -> list[Word]:
        return [replace(w, start=w.start + seconds, end=w.end + seconds) for w in words]

    return replace(transcript, words=later(transcript.words), written=later(transcript.written))
