"""Segmentation of words with times into subtitle cues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from asr_hlg.output.transcript import Word

LINE_LENGTH = 42  # characters; the usual limit of broadcasters
MAX_SECONDS = 7.0
MIN_SECONDS = 1.0  # where the next cue leaves room
PAUSE = 0.7  # seconds of silence that end a cue


@dataclass(frozen=True)
class Cue:
    """Subtitle of one or two lines of words, shown from ``start`` to ``end`` (seconds)."""

    start: float
    end: float
    lines: list[list[Word]]


def cues(words: list[Word], duration: float = 0.0) -> Iterator[Cue]:
    """Split words into cues of at most two lines, 42 characters per line and seven seconds.

    A pause ends a cue. A cue that would be too long is split at the longest gap between words in
    its second half. A word that exceeds a limit by itself gets a separate cue. Cues are in the
    order of the words and do not overlap; a short one is extended to one second, but not beyond
    the next cue or the end of the recording (``duration`` seconds).
    """
    begin = 0
    while begin < len(words):
        stop = begin + _cue_size(words[begin : begin + 2 * LINE_LENGTH])
        start, end = words[begin].start, words[stop - 1].end
        limit = words[stop].start if stop < len(words) else max(duration, end)
        end = min(max(end, start + MIN_SECONDS), limit)
        yield Cue(start, end, _lines(words[begin:stop]))
        begin = stop


def _cue_size(words: list[Word]) -> int:
    """Number of words in the first cue."""
    gaps = [after.start - before.end for before, after in pairwise(words)]
    size = 1
    while size < len(words) and _fits(words[: size + 1]):
        if gaps[size - 1] >= PAUSE:
            return size
        size += 1
    if size == len(words):
        return size
    return max(range(size // 2 + 1, size + 1), key=lambda n: (gaps[n - 1], n)) if size > 1 else 1


def _fits(words: list[Word]) -> bool:
    """Whether words are short enough for one cue."""
    return words[-1].end - words[0].start <= MAX_SECONDS and all(
        _length(line) <= LINE_LENGTH for line in _lines(words)
    )


def _lines(words: list[Word]) -> list[list[Word]]:
    """Words in one line, or in two of nearly equal length."""
    if len(words) == 1 or _length(words) <= LINE_LENGTH:
        return [words]
    middle = min(range(1, len(words)), key=lambda n: max(_length(words[:n]), _length(words[n:])))
    return [words[:middle], words[middle:]]


def _length(words: list[Word]) -> int:
    """Number of characters in a line."""
    return sum(len(word.text) for word in words) + len(words) - 1
