"""Times of an alignment by the hybrid HMM, over recordings of any length.

The recording is read once more, and words are refined in groups of about a minute, each with the
sound around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from asr_hlg.align import hmm_states
from asr_hlg.align.alignment import Alignment, Line, Token
from asr_hlg.align.matching import assembled
from asr_hlg.align.times import Pronunciations, TimeModel
from asr_hlg.audio.resampling import Samples
from asr_hlg.output.transcript import Word

_SHORT, _LONG = (
    60.0,
    180.0,
)  # seconds of a group: it ends at a pause between the two, or at the last
_PAUSE = 0.2
_BEFORE, _AFTER = 0.6, 0.5  # seconds of sound around a group
_LATE = 0.1  # seconds by which CTC begins a word too late


@dataclass(frozen=True)
class Group:
    """Words [first, last) of an alignment, and the seconds in which they may lie."""

    first: int
    last: int
    start: float
    end: float


class SoundReader:
    """Parts of a recording that is read once, from its start to its end.

    Parameters
    ----------
    blocks : iterator of np.ndarray
        The samples, float32 ``(n,)`` each.
    sample_rate : int
        Of the samples, in Hz.
    """

    def __init__(self, blocks: Iterator[Samples], sample_rate: int):
        self._blocks = blocks
        self._rate = sample_rate
        self._buffer = np.zeros(0, np.float32)
        self._first = 0  # sample of the recording with which the buffer begins

    def between(self, start: float, end: float) -> Samples:
        """The samples between two times in seconds; starts must not decrease."""
        begin, stop = int(start * self._rate), int(end * self._rate)
        while self._first + len(self._buffer) < stop:
            block = next(self._blocks, None)
            if block is None:
                break
            kept = self._buffer[max(0, begin - self._first) :]
            self._first += len(self._buffer) - len(kept)
            self._buffer = np.concatenate([kept, block])
        return self._buffer[max(0, begin - self._first) : max(0, stop - self._first)]


def refine(
    alignment: Alignment,
    blocks: Callable[[], Iterator[Samples]],
    times: TimeModel,
    pronunciations: Pronunciations,
    states: bool = False,
) -> Alignment:
    """Alignment with the times of the hybrid HMM, and the states of its phones if requested.

    ``blocks`` reads the recording, at the sample rate of the HMM, from its start, whenever it is
    called. Words that the HMM cannot align keep their times and phones.
    """
    places = [
        (line_number, token_number, number)
        for line_number, line in enumerate(alignment.lines)
        for token_number, token in enumerate(line.tokens)
        for number in range(len(token.words))
    ]
    places.sort(key=lambda p: alignment.lines[p[0]].tokens[p[1]].words[p[2]].start)
    if not places:
        return alignment
    words = [alignment.lines[a].tokens[b].words[c] for a, b, c in places]
    speakers = [alignment.lines[a].speaker for a, _, _ in places]
    sound = SoundReader(blocks(), times.network.sample_rate)
    refined: dict[tuple[int, int, int], tuple[Word, list[Word]]] = {}
    all_states: list[Word] = []
    for speaker in dict.fromkeys(speakers):
        if speaker != speakers[0]:
            sound = SoundReader(blocks(), times.network.sample_rate)
        numbers = [n for n, name in enumerate(speakers) if name == speaker]
        own = [words[n] for n in numbers]
        for group in groups(own, alignment.unmatched):
            samples = sound.between(group.start, group.end)
            part = [_shifted(word, -group.start) for word in own[group.first : group.last]]
            new_words, phones = times.refine(samples, part, pronunciations)
            if states:
                flat = [phone for of_word in phones for phone in of_word]
                found = hmm_states.of_phones(times, samples, flat)
                all_states += [_shifted(state, group.start) for state in found]
            for n, word, of_word in zip(
                numbers[group.first : group.last], new_words, phones, strict=True
            ):
                at = [_shifted(phone, group.start) for phone in of_word]
                refined[places[n]] = (_shifted(word, group.start), at)
    all_states.sort(key=lambda state: state.start)
    lines = [_with_times(line, a, refined) for a, line in enumerate(alignment.lines)]
    return assembled(replace(alignment, lines=lines, states=all_states))


def groups(words: list[Word], unmatched: list[tuple[float, float]]) -> Iterator[Group]:
    """Groups of words, divided at pauses and where unmatched sound is between two words."""
    barriers = np.array([start for start, _ in unmatched])
    first, bound = 0, 0.0
    for n in range(1, len(words) + 1):
        if n == len(words):
            yield Group(first, n, _start(words[first], bound), words[-1].end + _AFTER)
            return
        before, after = words[n - 1], words[n]
        k = int(np.searchsorted(barriers, before.start))
        is_barrier = k < len(barriers) and barriers[k] < after.start
        length = before.end - words[first].start
        is_pause = length > _SHORT and after.start - before.end > _PAUSE
        if not (is_barrier or is_pause or length > _LONG):
            continue
        limit = unmatched[k][0] - _LATE if is_barrier else after.start - _LATE
        end = min(before.end + _AFTER, max(before.end, limit))
        yield Group(first, n, _start(words[first], bound), end)
        first, bound = n, min(after.start, before.end)
        if is_barrier:
            bound = min(after.start, max(bound, *(e for s, e in unmatched[k:] if s < after.start)))


def _start(word: Word, bound: float) -> float:
    return max(0.0, bound, word.start - _BEFORE)


def _shifted(word: Word, seconds: float) -> Word:
    return replace(word, start=word.start + seconds, end=word.end + seconds)


def _with_times(
    line: Line, number: int, refined: dict[tuple[int, int, int], tuple[Word, list[Word]]]
) -> Line:
    """Line with the words and phones that were refined."""
    tokens = []
    for token_number, token in enumerate(line.tokens):
        found = [refined[number, token_number, n] for n in range(len(token.words))]
        tokens.append(_token(token, found))
    return replace(line, tokens=tuple(tokens))


def _token(token: Token, found: list[tuple[Word, list[Word]]]) -> Token:
    """Token with new words; its phones stay if a word has no new ones."""
    words = tuple(word for word, _ in found)
    if not all(phones for _, phones in found):
        return replace(token, words=words)
    return replace(token, words=words, phones=tuple(p for _, phones in found for p in phones))
