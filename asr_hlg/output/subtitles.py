"""Cues: words gathered into subtitles that a viewer has the time to read."""

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
    """One or two lines of words, shown from ``start`` to ``end`` (seconds)."""

    start: float
    end: float
    lines: list[list[Word]]


def cues(words: list[Word], duration: float = 0.0) -> Iterator[Cue]:
    """Split words into cues of two lines, 42 characters a line and seven seconds at most.

    A pause ends a cue. One that is too long breaks at the longest gap between words in its second
    half. A single word that exceeds a limit has a cue of its own. Cues follow the words' order and
    never overlap; a short one stays a second where the next leaves room and the recording of
    ``duration`` seconds lasts so long.
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
    """How many of the words go into the first cue."""
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
    return words[-1].end - words[0].start <= MAX_SECONDS and all(
        _length(line) <= LINE_LENGTH for line in _lines(words)
    )


def _lines(words: list[Word]) -> list[list[Word]]:
    """The words in one line, or in two of nearly equal length."""
    if len(words) == 1 or _length(words) <= LINE_LENGTH:
        return [words]
    middle = min(range(1, len(words)), key=lambda n: max(_length(words[:n]), _length(words[n:])))
    return [words[:middle], words[middle:]]


def _length(words: list[Word]) -> int:
    return sum(len(word.text) for word in words) + len(words) - 1
