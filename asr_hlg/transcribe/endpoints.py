"""Endpoints: where a stream of speech is divided into segments.

The rules are those of Kaldi's ``online-endpoint.h``. Silence is a run of frames in which the
acoustic model gives blank or silence most of the probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import OptionError
from asr_hlg.transcribe.pieces import pause_probability

_SILENT = 0.5
"""Probability of blank and silence together from which a frame counts as silent."""


@dataclass(frozen=True)
class EndpointOptions:
    """Seconds after which a segment ends; ``inf`` switches a rule off.

    The gap is the score of the best path less that of the best one that ends where a sentence of
    the graph may end: it is small after words that often end a sentence.

    Attributes
    ----------
    after_nothing : float
        Silence in a segment without words.
    after_end : float
        Silence after words, if the gap is below 2.
    after_likely_end : float
        Silence after words, if the gap is below 8.
    after_words : float
        Silence after words, whatever the gap.
    max_length : float
        Length of a segment. It is then cut at the longest pause of its second half.
    """

    after_nothing: float = 5.0
    after_end: float = 0.5
    after_likely_end: float = 1.0
    after_words: float = 2.0
    max_length: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise OptionError(
                    f"{field.name} must be above 0 s, not {getattr(self, field.name)}",
                    remedy="inf switches the rule off",
                )


_MAX_GAP = {"after_end": 2.0, "after_likely_end": 8.0, "after_words": float("inf")}


_MIN_SILENCE = 0.1
"""Seconds of silence that are part of the segment itself."""


Flags = npt.NDArray[np.bool_]


def silent_frames(posteriors: Posteriors) -> Flags:
    """Which frames of one utterance are silent, ``(num_frames,)``, by blank and silence."""
    return pause_probability(posteriors) >= _SILENT


class EndpointDetector:
    """Applies the rules to one segment after the other.

    Parameters
    ----------
    options : EndpointOptions
    """

    def __init__(self, options: EndpointOptions):
        self._options = options
        self.restart()

    def restart(self) -> None:
        """A new segment begins."""
        self._length = self._silence = 0.0

    def accept(self, silent: Flags, shift: float) -> None:
        """Take the next frames of the segment.

        Parameters
        ----------
        silent : np.ndarray
            bool ``(num_frames,)``: which of them are silent.
        shift : float
            Seconds from one frame to the next.
        """
        spoken, num_frames = np.flatnonzero(~silent), len(silent)
        self._length += num_frames * shift
        if len(spoken):
            self._silence = 0.0
            num_frames -= 1 + int(spoken[-1])
        self._silence += num_frames * shift

    def is_too_long(self) -> bool:
        """Whether the segment has its largest length."""
        return self._length >= self._options.max_length

    def is_silent(
        self,
        has_words: Callable[[], bool],
        gap: Callable[[], float],
        ahead: Posteriors | None = None,
    ) -> bool:
        """Whether a silence ends the segment.

        Parameters
        ----------
        has_words, gap : callable
            Called only if they matter: whether the best path has words, and its gap.
        ahead : Posteriors, optional
            Preliminary frames after the segment. If they are silent, the silence is so much longer.
        """
        options, silence = self._options, self._silence
        if silence < _MIN_SILENCE:
            return False
        if ahead is not None and silent_frames(ahead).all():
            silence += int(ahead.lengths[0]) * ahead.frame_shift
        names = [name for name in _MAX_GAP if silence >= getattr(options, name)]
        if not names and silence < options.after_nothing:
            return False
        if not has_words():
            return silence >= options.after_nothing
        return any(np.isinf(_MAX_GAP[name]) or gap() < _MAX_GAP[name] for name in names)
