"""Stage 3, pieces: a long recording is cut at pauses, so that search and lattices stay small.

>>> for piece in cut(source.frames(recording)):
...     lattice = decoder.decode(piece.posteriors)

A pause is a run of frames in which the acoustic model is nearly certain of silence or blank, or the
quietest sound where the model names neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.arrays import to_numpy
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio.resampling import Samples
from asr_hlg.fst.symbols import BLANK
from asr_hlg.lexicon.phones import SILENCE
from asr_hlg.transcribe.posteriors import Frames

MAX_SECONDS = 30.0
"""Length of the longest piece."""

_QUIET_SECONDS = 0.2  # of which the energy is compared
_MIN_PAUSE_PROBABILITY = 0.95  # of silence or blank, in every frame of a pause


@dataclass(frozen=True)
class Piece:
    """A part of a recording that is decoded as one utterance.

    Attributes
    ----------
    number : int
        From 1.
    begin : int
        Its first frame, counted from the start of the recording.
    samples : np.ndarray
        float32 ``(num_samples,)``; empty where posteriors are looked up.
    posteriors : Posteriors
        Of one utterance.
    is_last : bool
        Whether the recording ends with it.
    """

    number: int
    begin: int
    samples: Samples
    posteriors: Posteriors
    is_last: bool

    @property
    def start(self) -> float:
        """Seconds from the start of the recording."""
        return self.begin * self.posteriors.frame_shift

    def duration(self, sample_rate: int) -> float:
        """Length in seconds: of the samples, or of the frames where there are no samples."""
        if len(self.samples):
            return len(self.samples) / sample_rate
        return int(self.posteriors.lengths[0]) * self.posteriors.frame_shift


class PieceCutter:
    """Cuts one recording into pieces, as its frames come.

    Cuts are made in the middle of the longest pause of the second half of each window of
    ``max_seconds``, so that no word is divided; in speech without a pause, after the frame in
    which silence or blank is most probable. A model whose columns are pdfs names neither; then
    cuts are made where the sound is quietest.

    Parameters
    ----------
    max_seconds : float
        Length of the longest piece.
    """

    def __init__(self, max_seconds: float = MAX_SECONDS):
        self._max_seconds = max_seconds
        self._number, self._begin = 1, 0  # of the next piece
        self._samples = np.zeros(0, np.float32)
        self._posteriors: Posteriors | None = None

    def add(self, frames: Frames) -> Iterator[Piece]:
        """Take more frames; yields the pieces that are complete now."""
        self._samples = np.concatenate([self._samples, frames.samples])
        more = frames.posteriors.frames(0, None)
        posteriors = more if self._posteriors is None else self._posteriors.followed_by(more)
        self._posteriors = posteriors
        max_frames = max(1, int(self._max_seconds / posteriors.frame_shift))
        samples_per_frame = len(self._samples) / max(1, int(posteriors.lengths[0]))
        while int(posteriors.lengths[0]) > max_frames:
            middle = max_frames // 2
            first, last = (round(k * samples_per_frame) for k in (middle, max_frames))
            part = posteriors.frames(middle, max_frames)
            end = middle + place_of_cut(part, self._samples[first:last])
            end_sample = min(len(self._samples), round(end * samples_per_frame))
            yield self._piece(self._samples[:end_sample], posteriors.frames(0, end), False)
            self._samples = self._samples[end_sample:]
            self._posteriors = posteriors = posteriors.frames(end, None)

    def finish(self) -> Piece:
        """The last piece. At least one :meth:`add` must come before it."""
        assert self._posteriors is not None
        return self._piece(self._samples, self._posteriors, True)

    def _piece(self, samples: Samples, posteriors: Posteriors, is_last: bool) -> Piece:
        piece = Piece(self._number, self._begin, samples, posteriors, is_last)
        self._number += 1
        self._begin += int(posteriors.lengths[0])
        return piece


def cut(frames: Iterable[Frames], max_seconds: float = MAX_SECONDS) -> Iterator[Piece]:
    """Pieces that cover one recording.

    Parameters
    ----------
    frames : iterable of Frames
        Consecutive ones that cover the recording, at least one.
    max_seconds : float
        Length of the longest piece.
    """
    cutter = PieceCutter(max_seconds)
    for some in frames:
        yield from cutter.add(some)
    yield cutter.finish()


def place_of_cut(posteriors: Posteriors, samples: Samples) -> int:
    """Frame from 1 on before which to cut the frames of one utterance.

    Parameters
    ----------
    posteriors : Posteriors
    samples : np.ndarray
        float32 ``(num_samples,)``: the sound of these frames, or none.
    """
    if len(samples) and not any(name in (BLANK, SILENCE) for name in posteriors.tokens):
        width = max(1, round(_QUIET_SECONDS / posteriors.frame_shift))
        return _quietest_place(samples, int(posteriors.lengths[0]), width)
    return best_cut(pause_probability(posteriors))


def _quietest_place(samples: Samples, num_frames: int, width: int) -> int:
    """The middle of the ``width`` frames with the least energy."""
    begins = np.arange(num_frames) * len(samples) // num_frames
    energies = np.add.reduceat(samples.astype(np.float64) ** 2, begins)
    width = min(width, num_frames)
    sums = np.convolve(energies, np.ones(width), "valid")
    return int(sums.argmin()) + (width + 1) // 2


def pause_probability(posteriors: Posteriors) -> npt.NDArray[np.float32]:
    """Probability ``(num_frames,)`` of silence or blank, for the frames of one utterance."""
    columns = [i for i, name in enumerate(posteriors.tokens) if name in (BLANK, SILENCE)]
    scores: Any = posteriors.scores
    probability = np.exp(to_numpy(scores[0][:, columns])).sum(axis=1)
    return np.asarray(np.minimum(probability, 1.0), dtype=np.float32)


def best_cut(probability: npt.NDArray[np.float32]) -> int:
    """The middle of the longest pause; without a pause, the end of the most probable frame."""
    in_pause = (probability > np.float32(_MIN_PAUSE_PROBABILITY)).astype(np.int8)
    change = np.diff(in_pause, prepend=0, append=0)
    starts, ends = np.flatnonzero(change > 0), np.flatnonzero(change < 0)
    if not len(starts):
        return 1 + int(probability.argmax())
    longest = int((ends - starts).argmax())
    return max(1, int((starts[longest] + ends[longest]) // 2))
