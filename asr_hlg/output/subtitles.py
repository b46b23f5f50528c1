"""Segmentation of words with times into subtitle cues by dynamic programming.

Every way to break the words into cues has a cost: what exceeds a limit of
:mod:`asr_hlg.output.subtitle_rules`, what is read too fast, breaks inside a clause, pauses inside a
cue, very short cues. The cost of a cue depends on its words and on the start of the next word only,
so the cheapest segmentation of the first n words extends the cheapest one of fewer words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from asr_hlg.output.subtitle_rules import (
    LINE_LENGTH,
    MAX_LINES,
    MAX_SECONDS,
    MAX_SPEED,
    MIN_GAP,
    MIN_SECONDS,
)
from asr_hlg.output.transcript import Word

_GAP = MIN_GAP + 0.001  # both times are rounded to milliseconds
_GOOD_SECONDS = 1.0  # shorter cues are allowed, but cost
_GOOD_SPEED = 17.0  # characters a second, which all viewers can read
_LINGER = 1.5  # seconds that a cue may stay after its last word, if that helps reading (BBC)
_CLOSED_PAUSE = 0.5  # a cue before a shorter pause stays until the next one: screens do not flicker
_READABLE = 15  # characters: shorter cues cost, since the eye cannot settle

# Costs; only their proportions matter.
_EXCEEDED = 100.0  # a limit of the guidelines
_CUE = 4.0
_ONE_WORD = 6.0  # a cue of one word
_INSIDE_CLAUSE = 8.0
_AT_COMMA = 3.0
_WORD_TORN_OFF = 5.0  # an article, a preposition or a pronoun at the end of a line
_LINE = 2.0  # a second line
_SENTENCE_INSIDE = 5.0  # the end of a sentence inside a cue
_PAUSE_INSIDE = 6.0  # a second of silence inside a cue

_SENTENCE_END = re.compile(r"[.?!…][\"'”’)\]]*$")
_CLAUSE_END = re.compile(r"[,;:–—-][\"'”’)\]]*$")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that belong to the next one.
_LEADING = _words(
    """a an the my your his her its our their this these those some any no every each i you he she
    we they who which that and or but nor so if as because than when while where of in on at to by
    for from with without into onto upon over under about between through during against is are was
    were be been am has have had do does did will would can could shall should may might must not
    very more most mr. mr mister mrs. mrs ms. ms dr. dr st. doctor saint"""
)
# Words that begin a clause or a phrase: a line may break before them.
_STARTS_CLAUSE = _words(
    "and or but nor so if because when while where which who that although though unless"
)
_STARTS_PHRASE = _words(
    """of in on at to by for from with without into onto upon over under about between through
    during against as than"""
)


@dataclass(frozen=True)
class Cue:
    """Subtitle of one or two lines of words, shown from ``start`` to ``end`` (seconds)."""

    start: float
    end: float
    lines: list[list[Word]]


def cues(words: Sequence[Word], duration: float = 0.0) -> Iterator[Cue]:
    """Split words into cues of at most two lines of 42 characters, shown seven seconds at most.

    A word that exceeds a limit by itself gets a cue of its own. Cues are in the order of the words
    and do not overlap. A cue appears with its first word. It stays until it has been read, but not
    beyond the next cue or the end of the recording.

    Parameters
    ----------
    words : sequence of Word
        In the order of their starts; punctuation at their ends is taken into account.
    duration : float
        Length of the recording in seconds.
    """
    if not words:
        return
    costs = _Costs(words, duration)
    best = [0.0] + [float("inf")] * len(words)
    begins = [0] * (len(words) + 1)
    for stop in range(1, len(words) + 1):
        for begin in range(stop - 1, -1, -1):
            if begin < stop - 1 and not costs.fits(begin, stop):
                break
            total = best[begin] + costs.of_cue(begin, stop)
            if total < best[stop]:
                best[stop], begins[stop] = total, begin
    breaks = [len(words)]
    while breaks[-1] > 0:
        breaks.append(begins[breaks[-1]])
    for begin, stop in pairwise(reversed(breaks)):
        middle = costs.line_break(begin, stop)[1]
        lines = [list(words[begin:middle]), list(words[middle:stop])]
        yield Cue(words[begin].start, costs.end(begin, stop), [line for line in lines if line])


class _Costs:
    """Costs of cues and of line breaks, for the words of a recording.

    A cue is given by the indices of its first word and of the word after its last one.
    """

    def __init__(self, words: Sequence[Word], duration: float):
        self._words = words
        # Characters before each word, a blank after each word included.
        self._offsets = list(accumulate((len(word.text) + 1 for word in words), initial=0))
        last = max(duration, words[-1].end)
        # The start of the word after each; a recording's last cue may stay until its end.
        self._next_start = [word.start for word in words[1:]] + [last + _GAP]
        self._breaks = [_cost_of_break(one, other) for one, other in pairwise(words)] + [0.0]
        inside = [_cost_inside(one, other) for one, other in pairwise(words)]
        self._inside = list(accumulate(inside, initial=0.0))

    def fits(self, begin: int, stop: int) -> bool:
        """Whether words can be one cue: two lines, seven seconds."""
        seconds = self._words[stop - 1].end - self._words[begin].start
        length = self._length(begin, stop)
        return seconds <= MAX_SECONDS and length <= MAX_LINES * LINE_LENGTH + 1

    def of_cue(self, begin: int, stop: int) -> float:
        """Cost of a cue, with that of the break after it."""
        length = self._length(begin, stop)
        seconds = self.end(begin, stop) - self._words[begin].start
        speed = length / max(seconds, 0.001)
        cost = _CUE + self._breaks[stop - 1] + self.line_break(begin, stop)[0]
        cost += _ONE_WORD * (stop - begin == 1)
        cost += self._inside[stop - 1] - self._inside[begin]
        cost += max(0.0, speed - _GOOD_SPEED) ** 2
        cost += 0.4 * max(0, _READABLE - length) + 20 * max(0.0, _GOOD_SECONDS - seconds)
        exceeded = (
            seconds < MIN_SECONDS,
            speed > MAX_SPEED,
            self._next_start[stop - 1] - self.end(begin, stop) < MIN_GAP,
        )
        return cost + _EXCEEDED * sum(exceeded)

    def end(self, begin: int, stop: int) -> float:
        """Time at which a cue disappears.

        It stays as long as reading takes, but not longer than a moment after its last word, and
        leaves a gap before the next cue.
        """
        start, spoken = self._words[begin].start, self._words[stop - 1].end
        following = self._next_start[stop - 1]
        latest = following - _GAP
        if latest <= start:  # words of no length: half of the time is for the gap
            return start + (following - start) / 2 if following > start else start + 0.001
        reading = start + self._length(begin, stop) / _GOOD_SPEED
        end = max(spoken, start + _GOOD_SECONDS, min(reading, spoken + _LINGER))
        is_last = stop == len(self._words)
        if not is_last and latest - end < _CLOSED_PAUSE and latest - spoken < _LINGER:
            end = latest
        return min(end, latest, start + MAX_SECONDS)

    def line_break(self, begin: int, stop: int) -> tuple[float, int]:
        """Cost of a cue's best lines, and the first word of its second line, or ``stop``."""
        if stop - begin == 1:
            return (_EXCEEDED if self._length(begin, stop) > LINE_LENGTH else 0.0), stop
        if self._length(begin, stop) <= LINE_LENGTH:
            return 0.0, stop
        best, middle = float("inf"), stop
        for candidate in range(begin + 1, stop):
            upper, lower = self._length(begin, candidate), self._length(candidate, stop)
            if upper <= LINE_LENGTH and lower <= LINE_LENGTH:
                cost = _LINE + 0.5 * self._breaks[candidate - 1] + 0.08 * abs(upper - lower)
                if cost < best:
                    best, middle = cost, candidate
        return best, middle

    def _length(self, begin: int, stop: int) -> int:
        """Number of characters of words in one line."""
        return self._offsets[stop] - self._offsets[begin] - 1


def _cost_of_break(one: Word, other: Word) -> float:
    """Cost of a break between two words: low at the ends of sentences, at commas and pauses."""
    pause = other.start - one.end
    last, first = one.text.lower(), other.text.lower()
    if last in _LEADING:  # titles have a period, too
        cost = _INSIDE_CLAUSE + _WORD_TORN_OFF
    elif _SENTENCE_END.search(one.text):
        return 0.0
    elif _CLAUSE_END.search(one.text):
        cost = _AT_COMMA
    elif first in _STARTS_CLAUSE:
        cost = _INSIDE_CLAUSE - 3.0
    elif first in _STARTS_PHRASE:
        cost = _INSIDE_CLAUSE - 2.0
    else:
        cost = _INSIDE_CLAUSE
    return max(0.0, cost - 14.0 * min(max(0.0, pause), 1.0))


def _cost_inside(one: Word, other: Word) -> float:
    """Cost of two words in one cue: of the pause between them, and of a sentence's end."""
    ends = _SENTENCE_END.search(one.text) is not None and one.text.lower() not in _LEADING
    pause = max(0.0, other.start - one.end - 0.3)
    return _SENTENCE_INSIDE * ends + _PAUSE_INSIDE * pause + 10.0 * max(0.0, pause - 1.5) ** 2
