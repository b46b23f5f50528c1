"""Result of forced alignment: a transcript with the times and confidences of words and phones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.lattice.path import Segment
from asr_hlg.output.transcript import Transcript, Word


@dataclass(frozen=True)
class Token:
    """A word of a text as it is written, such as `$25.`, with the spoken words that it stands for.

    Attributes
    ----------
    text : str
        As it is written.
    spoken : str
        The words that are said for it, separated by blanks.
    words : tuple of Word
        These words with their times; none if the recording does not contain them.
    phones : tuple of Word
        The phones of these words.
    """

    text: str
    spoken: str
    words: tuple[Word, ...] = ()
    phones: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line of a text, a fragment of its recording.

    Attributes
    ----------
    text : str
        As it is written.
    tokens : tuple of Token
    speaker : str
        Empty if the text names none.
    number : int
        Of the line in its file, from 1.
    """

    text: str
    tokens: tuple[Token, ...]
    speaker: str = ""
    number: int = 1

    @property
    def words(self) -> list[Word]:
        """The words that are spoken."""
        return [word for token in self.tokens for word in token.words]

    @property
    def span(self) -> tuple[float, float] | None:
        """Seconds from the first word that is spoken to the end of the last; None without any."""
        words = self.words
        return (words[0].start, words[-1].end) if words else None


@dataclass(frozen=True)
class Alignment(Transcript):
    """A transcript with the times of its phones.

    ``phones`` are like words: a name, start and end in seconds, a confidence; silence is not
    among them. With the times of CTC models a phone covers only the frames in which it is the
    aligned label, often a single one, and there are blanks between phones. ``states`` are the
    states of the phones' HMMs, if they were requested: ``AE_0``, ``AE_1``, ``AE_2``.

    ``text`` has all words, and ``words`` those that are spoken, with their times. ``lines`` are the
    lines of the text, with words that are spoken and words that are not; ``unmatched`` is sound
    that the text lacks, as (start, end) in seconds. ``sound`` is the name of the sound file.
    """

    states: list[Word] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    unmatched: list[tuple[float, float]] = field(default_factory=list)
    sound: str = ""

    def phone_transcript(self) -> Transcript:
        """The phones as the words of a transcript, for formats that have words only."""
        return self._as_words(self.phones)

    def state_transcript(self) -> Transcript:
        """The states as the words of a transcript, for formats that have words only."""
        return self._as_words(self.states)

    def _as_words(self, tier: list[Word]) -> Transcript:
        text = " ".join(item.text for item in tier)
        return Transcript(self.id, text, tier, self.score, self.duration)


def gap_to_best(scores: Posteriors, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Log-probability gap between the best label and the aligned label, per frame."""
    log_probs = scores.array[0, : len(labels)]
    gap: npt.NDArray[np.float32] = log_probs.max(axis=1) - log_probs[np.arange(len(labels)), labels]
    return gap


def phone_confidences(phones: Sequence[Segment], gap: npt.NDArray[np.float32]) -> list[float]:
    """Confidences exp(−Σ gap) of phones over their own frames."""
    return [math.exp(-gap[begin:end].sum()) for _, begin, end in phones]


def word_confidences(
    spans: Sequence[tuple[int, int]], phones: Sequence[Segment], gap: npt.NDArray[np.float32]
) -> list[float]:
    """Confidences exp(−1/n · Σ gap) of words with n phones.

    The sum runs from the end of the previous word to the start of the next one, so that words
    which the transcript lacks lower the confidence of their neighbours.
    """
    if not spans:
        return []
    total = np.concatenate([[0.0], np.cumsum(gap, dtype=np.float64)])
    begins = [0, *(end for _, end in spans[:-1])]
    ends = [*(begin for begin, _ in spans[1:]), len(gap)]
    starts = np.array([begin for _, begin, _ in phones])
    counts = np.diff(np.searchsorted(starts, [*(begin for begin, _ in spans), len(gap)]))
    return [
        math.exp(-(total[end] - total[begin]) / count)
        for begin, end, count in zip(begins, ends, counts, strict=True)
    ]
