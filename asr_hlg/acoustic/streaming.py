"""Posteriors of sound that comes in parts.

    stream = PosteriorStream(acoustic.load("hama"), WindowOptions())
    for samples in parts:                           # float32 (n,), at the model's rate
        for posteriors in stream.accept(samples):   # the frames that are known now, often none
            ...
    posteriors = stream.finish()                    # the rest

A network whose frames depend on a limited part of the sound runs over new sound with that much
before and after it, and the posteriors are those of the whole recording. One that attends to whole
utterances runs again and again over a window of the last seconds: of its output the frames between
left context and look-ahead are taken, which differ a little from those of the whole recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asr_hlg.acoustic.model import AcousticModel, Samples
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
    look_ahead: float = 0.6
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

    Attributes
    ----------
    is_exact : bool
        Whether the posteriors are those of the whole recording, to 1e-4.
    """

    def __init__(self, model: AcousticModel, options: WindowOptions):
        self._model = model
        self._samples_per_frame = model.frame_shift * model.sample_rate
        context = model.context
        self.is_exact = context is not None
        left, right = context or (options.left_context, options.look_ahead)
        self._left, self._right = (int(np.ceil(n / model.frame_shift)) for n in (left, right))
        self._hop = max(1, round(options.hop / model.frame_shift))
        self._buffer: Samples = np.zeros(0, np.float32)
        self._first = 0  # frame with which the buffer begins
        self._next = 0  # first frame that was not returned
        self._ahead: Posteriors | None = None

    def accept(self, samples: Samples) -> Iterator[Posteriors]:
        """Take more samples, float32 ``(n,)`` at the model's rate; yields new frames, if any.

        Every hop gives frames of its own, so that they do not depend on how the samples are
        divided.
        """
        self._buffer = np.concatenate([self._buffer, samples])
        while True:
            end = self._next + self._hop
            size = self._sample(end + self._right) - self._sample(self._first)
            if len(self._buffer) < size:
                return
            yield self._frames(self._buffer[:size], end)

    def finish(self) -> Posteriors | None:
        """The frames that are left: there are no more samples."""
        if not len(self._buffer):
            return None
        posteriors = self._model.posteriors([self._buffer], self._model.sample_rate)
        self._buffer, self._ahead = self._buffer[:0], None
        return posteriors.frames(self._next - self._first, None)

    @property
    def ahead(self) -> Posteriors | None:
        """Frames of the last window after those that :meth:`accept` has returned.

        They are preliminary: the network had little or no sound after them.
        """
        return self._ahead

    def _frames(self, samples: Samples, end: int) -> Posteriors:
        """Frames from the next one to ``end``; what no later frame needs leaves the buffer."""
        posteriors = self._model.posteriors([samples], self._model.sample_rate)
        edge = end - self._first + max(0, self._right - round(_EDGE / self._model.frame_shift))
        self._ahead = posteriors.frames(end - self._first, edge)
        result = posteriors.frames(self._next - self._first, end - self._first)
        first = max(self._first, end - self._left)
        self._buffer = self._buffer[self._sample(first) - self._sample(self._first) :]
        self._first, self._next = first, end
        return result

    def _sample(self, frame: int) -> int:
        return round(frame * self._samples_per_frame)
