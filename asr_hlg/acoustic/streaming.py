"""Posteriors of sound that comes in parts.

    stream = PosteriorStream(acoustic.load("hama"), WindowOptions())
    for samples in parts:                           # float32 (n,), at the model's rate
        for posteriors in stream.accept(samples):   # the frames that are known now, often none
            ...
    rest = stream.finish()                          # likewise

A network whose frames depend on a limited part of the sound runs over new sound with that much
before and after it, and a recurrent network keeps its states: the posteriors are those of the whole
recording. One that attends to whole
utterances runs again and again over a window of the last seconds: of its output the frames between
left context and look-ahead are taken, which differ a little from those of the whole recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asr_hlg.acoustic.arrays import Array
from asr_hlg.acoustic.model import AcousticModel, LastFrames, Samples
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import OptionError

_EDGE = 0.1
"""Seconds at the end of a window whose frames are not even preliminary: most are wrong."""


@dataclass(frozen=True)
class WindowOptions:
    """Times in seconds for a network that runs over windows.

    Attributes
    ----------
    hop : float
        New sound that is awaited before the network runs again. Less makes words appear earlier,
        and takes more time.
    look_ahead : float
        Sound after a frame that the network gets before the frame counts. Less makes words appear
        earlier, and more of them wrong. Only for networks that attend to whole utterances.
    left_context : float
        Sound before the new frames that the network gets. More is slower and a little more exact.
        Only for networks that attend to whole utterances.
    """

    hop: float = 0.5
    look_ahead: float = 0.8
    left_context: float = 6.0

    def __post_init__(self) -> None:
        for name in ("hop", "left_context"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be above 0 s, not {getattr(self, name)}")
        if not self.look_ahead >= 0:
            raise OptionError(f"look_ahead must be at least 0 s, not {self.look_ahead}")


class PosteriorStream:
    """Computes the posteriors of one stream of sound.

    Parameters
    ----------
    model : AcousticModel
        Many streams may use one at the same time, in threads.
    options : WindowOptions
    search : LastFrames, optional
        The search of these frames, for models that depend on its result.

    Attributes
    ----------
    is_exact : bool
        Whether the posteriors are those of the whole recording, to 1e-4.
    ahead : Posteriors or None
        Frames of the last window after those that :meth:`accept` has returned. They are
        preliminary: the network had little or no sound after them.
    """

    def __init__(
        self, model: AcousticModel, options: WindowOptions, search: LastFrames | None = None
    ):
        self._model = model
        self.ahead: Posteriors | None = None
        self._own = model.frame_stream(search)
        self._recurrence = model.recurrence()
        context = model.context if self._recurrence is None else self._recurrence.context
        self.is_exact = context is not None or self._own is not None
        self._samples_per_frame = model.frame_shift * model.sample_rate
        left, right = context or (options.left_context, options.look_ahead)
        self._left, self._right = (int(np.ceil(n / model.frame_shift)) for n in (left, right))
        self._hop = max(1, round(options.hop / model.frame_shift))
        self._buffer: Samples = np.zeros(0, np.float32)
        self._first = 0  # frame with which the buffer begins
        self._next = 0  # first frame that was not returned

    def accept(self, samples: Samples) -> Iterator[Posteriors]:
        """Take more samples, float32 ``(n,)`` at the model's rate; yields new frames, if any.

        Every hop gives frames of its own, so that they do not depend on how the samples are
        divided.
        """
        if self._own is not None:
            yield from map(self._posteriors, self._own.accept(samples))
            return
        self._buffer = np.concatenate([self._buffer, samples])
        while True:
            end = self._next + self._hop
            size = self._sample(end + self._right) - self._sample(self._first)
            if len(self._buffer) < size:
                return
            yield self._window(self._buffer[:size], end)

    def finish(self) -> Iterator[Posteriors]:
        """The frames that are left: there are no more samples."""
        self.ahead = None
        if self._own is not None:
            yield from map(self._posteriors, self._own.finish())
        elif len(self._buffer):
            rows = self._rows(self._buffer)[self._next - self._first :]
            self._buffer = self._buffer[:0]
            yield self._completed(rows)

    def _window(self, samples: Samples, end: int) -> Posteriors:
        """Frames from the next one to ``end``; what no later frame needs leaves the buffer."""
        rows = self._rows(samples)
        if not self.is_exact:
            edge = max(0, self._right - round(_EDGE / self._model.frame_shift))
            ahead = rows[end - self._first : end - self._first + edge]
            self.ahead = self._posteriors(ahead)
        result = self._completed(rows[self._next - self._first : end - self._first])
        first = max(self._first, end - self._left)
        self._buffer = self._buffer[self._sample(first) - self._sample(self._first) :]
        self._first, self._next = first, end
        return result

    def _rows(self, samples: Samples) -> Array:
        """Output of the network, or of its layers before the recurrent ones, for a window."""
        if self._recurrence is not None:
            return self._recurrence.front(samples)
        return self._model.log_probs([samples])[0]

    def _completed(self, rows: Array) -> Posteriors:
        """Posteriors from rows for frames that follow those before."""
        return self._posteriors(
            rows if self._recurrence is None else self._recurrence.advance(rows)
        )

    def _posteriors(self, log_probs: Array) -> Posteriors:
        model = self._model
        return Posteriors(
            log_probs[None], [len(log_probs)], model.frame_shift, model.tokens, model.priors
        )

    def _sample(self, frame: int) -> int:
        return round(frame * self._samples_per_frame)
