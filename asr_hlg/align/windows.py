"""Alignment of a text of any length with a recording of any length, window by window.

Anchors (:mod:`asr_hlg.align.anchors`) cut text and sound into windows, and each is aligned by
itself (:mod:`asr_hlg.align.optional`), so that time and memory grow with the length and not with
its square. Text and sound may differ, within windows and by whole chapters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_hlg.align import anchors
from asr_hlg.align.anchors import Cut, RecognisedWord
from asr_hlg.align.optional import Costs, Floats, Ints, OptionalPath, align, num_cells

Unit = Sequence[Sequence[int]]
"""Pronunciations of a word, each as the columns of its phones; none if it cannot be aligned."""

MAX_CELLS = 200_000_000
"""Bytes of the largest table of a window. What is larger, and has no anchors, does not match."""

DIRECT_CELLS = 20_000_000
"""Up to this size a recording is one window, and needs no anchors."""

_WINDOW = (10.0, 30.0)  # seconds from one cut to the next, where there are anchors
_BORDER_WORDS, _BORDER_SECONDS = 300, 90.0  # of a window that does not match, at each end
_ISLAND_PHONES = 10  # fewer, between words that are not spoken, are a coincidence
_LONG_UNMATCHED = 1.0  # seconds of sound between words that are perhaps a coincidence
_MIN_UNMATCHED = 0.1  # seconds


@dataclass(frozen=True)
class Window:
    """Words [first, last) and the frames [begin, end) that contain them."""

    first: int
    last: int
    begin: int
    end: int


@dataclass(frozen=True)
class Inputs:
    """Posteriors of a recording and the units of its text.

    Attributes
    ----------
    log_probs : np.ndarray
        float32 or float16 ``(num_frames, num_columns)``: posteriors of CTC.
    frame_shift : float
        Seconds.
    units : sequence of Unit
    pauses : sequence of int
        Columns of blank and silence.
    """

    log_probs: Floats
    frame_shift: float
    units: Sequence[Unit]
    pauses: Sequence[int]


def align_all(
    inputs: Inputs, costs: Costs, cuts: Callable[[], Sequence[Cut]] | None = None
) -> OptionalPath:
    """The path of all words, from the paths of windows.

    Parameters
    ----------
    inputs : Inputs
    costs : Costs
    cuts : callable, optional
        Finds places at which the recording may be cut, and is called only for a recording that is
        too large for one window.
    """
    num_frames = len(inputs.log_probs)
    known = [unit for unit in inputs.units if unit]
    whole = Window(0, len(inputs.units), 0, num_frames)
    windows = [whole]
    if cuts is not None and num_cells(known, num_frames) > DIRECT_CELLS:
        windows = list(divide(whole, cuts(), inputs.frame_shift))
    return align_parts(inputs, windows, costs)


def align_parts(inputs: Inputs, windows: Sequence[Window], costs: Costs) -> OptionalPath:
    """The path of all words, from the paths of given windows, whose frames may overlap."""
    parts = [part for window in windows for part in _borders(window, inputs)]
    path = _joined(inputs, [(part, _align(inputs, part, costs)) for part in parts])
    if costs.skip == np.inf:
        return path
    return _without_islands(inputs, path)


def divide(whole: Window, cuts: Sequence[Cut], frame_shift: float) -> Iterator[Window]:
    """Windows between cuts: in the longest pause within reach of the last one, or the next cut."""
    shortest, longest = (int(seconds / frame_shift) for seconds in _WINDOW)
    first, begin = whole.first, whole.begin
    index = 0
    while index < len(cuts):
        if cuts[index].frame < begin + shortest:
            index += 1
            continue
        stop = index + 1
        while stop < len(cuts) and cuts[stop].frame <= begin + longest:
            stop += 1
        cut = max(cuts[index:stop], key=lambda cut: (cut.pause, cut.frame))
        yield Window(first, cut.word, begin, cut.frame)
        first, begin = cut.word, cut.frame
    yield replace(whole, first=first, begin=begin)


def matching_cuts(
    firsts: Sequence[int], words: Sequence[str], hypothesis: Sequence[RecognisedWord]
) -> list[Cut]:
    """Cuts before units, of which unit n begins with word ``firsts[n]``."""
    unit_of = {word: unit for unit, word in enumerate(firsts)}
    found = anchors.find(words, hypothesis)
    return [replace(cut, word=unit_of[cut.word]) for cut in found if cut.word in unit_of]


def _borders(window: Window, inputs: Inputs) -> Iterator[Window]:
    """The window, or, if it is too large, the parts of it next to its neighbours."""
    units = [unit for unit in inputs.units[window.first : window.last] if unit]
    num_words, num_frames = window.last - window.first, window.end - window.begin
    if num_cells(units, num_frames) <= MAX_CELLS:
        yield window
        return
    # At the ends of the recording only one side has a neighbour.
    is_first, is_last = window.begin == 0, window.end == len(inputs.log_probs)
    shares = {(True, False): (0, 1), (False, True): (1, 0)}.get((is_first, is_last), (0.5, 0.5))
    longest = int(_BORDER_SECONDS / inputs.frame_shift)
    words = [min(_BORDER_WORDS, int(share * num_words)) for share in shares]
    frames = [min(longest, int(share * num_frames)) for share in shares]
    head = Window(window.first, window.first + words[0], window.begin, window.begin + frames[0])
    tail = Window(window.last - words[1], window.last, window.end - frames[1], window.end)
    yield head
    yield Window(head.last, head.last, head.end, tail.begin)  # sound alone
    yield tail


def _align(inputs: Inputs, window: Window, costs: Costs) -> OptionalPath:
    """The path of a window; words without pronunciation are skipped."""
    frames = inputs.log_probs[window.begin : window.end].astype(np.float32, copy=False)
    units = inputs.units[window.first : window.last]
    known = [number for number, unit in enumerate(units) if unit]
    path = align(frames, [units[number] for number in known], inputs.pauses, costs)
    choice = np.full(len(units), -1, np.int32)
    choice[known] = path.choice
    spans = [np.zeros((0, 2), np.int32) for _ in units]
    for number, span in zip(known, path.spans, strict=True):
        spans[number] = span
    return replace(path, choice=choice, spans=spans)


def _joined(inputs: Inputs, parts: Sequence[tuple[Window, OptionalPath]]) -> OptionalPath:
    """Path of the recording from the paths of its windows."""
    num_units = len(inputs.units)
    choice = np.full(num_units, -1, np.int32)
    spans: list[Ints] = [np.zeros((0, 2), np.int32) for _ in range(num_units)]
    unmatched: list[tuple[int, int]] = []
    for window, path in parts:
        choice[window.first : window.first + len(path.choice)] = path.choice
        for number, span in enumerate(path.spans, start=window.first):
            spans[number] = span + window.begin
        unmatched += [(begin + window.begin, end + window.begin) for begin, end in path.unmatched]
    gap = np.zeros(len(inputs.log_probs), np.float32)
    for window, path in parts:
        gap[window.begin : window.end] = path.gap
    score = float(sum(path.score for _, path in parts))
    return OptionalPath(choice, spans, _merged(unmatched, inputs.frame_shift), gap, score)


def _merged(
    unmatched: Sequence[tuple[int, int]], frame_shift: float, pause: float = 0.3
) -> list[tuple[int, int]]:
    """Spans in order, those with a short pause between them as one, without very short ones."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(unmatched):
        if merged and (begin - merged[-1][1]) * frame_shift < pause:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return [span for span in merged if (span[1] - span[0]) * frame_shift >= _MIN_UNMATCHED]


def _without_islands(inputs: Inputs, path: OptionalPath) -> OptionalPath:
    """Path without words that agree with the sound by coincidence.

    These are short runs of spoken words, with longer runs of words that are not spoken, or longer
    stretches of unmatched sound, on both sides. The ends of text and recording count as neither.
    """
    numbers = np.array([n for n, unit in enumerate(inputs.units) if unit], dtype=np.int64)
    spoken = numbers[path.choice[numbers] >= 0]
    if not len(spoken):
        return path
    begins = np.array([path.spans[n][0, 0] for n in spoken])
    ends = np.array([path.spans[n][-1, 1] for n in spoken])
    # Between two spoken words, before the first and after the last: words, and unmatched frames.
    places = np.searchsorted(numbers, spoken)
    words = np.diff([-1, *places, len(numbers)]) - 1
    frames = np.zeros(len(spoken) + 1, dtype=np.int64)
    for begin, end in path.unmatched:
        frames[np.searchsorted(begins, begin, side="right")] += end - begin
    long = frames * inputs.frame_shift >= _LONG_UNMATCHED
    choice, spans, unmatched = path.choice.copy(), list(path.spans), list(path.unmatched)
    breaks = np.flatnonzero((words > 0) | long).tolist()
    for first, last in pairwise([0, *(b for b in breaks if 0 < b < len(spoken)), len(spoken)]):
        run = spoken[first:last]
        length = ends[last - 1] - begins[first]
        far = [
            words[k] >= 2 * len(run) or (long[k] and frames[k] >= 2 * length)
            for k in (first, last)
            if words[k] or long[k]
        ]
        num_phones = sum(len(path.spans[n]) for n in run)
        if num_phones >= _ISLAND_PHONES or not far or not all(far):
            continue
        if len(far) == 1 and first > 0 and last < len(spoken):
            continue
        for n, begin, end in zip(run, begins[first:last], ends[first:last], strict=True):
            unmatched.append((int(begin), int(end)))
            choice[n], spans[n] = -1, np.zeros((0, 2), np.int32)
    merged = _merged(unmatched, inputs.frame_shift)
    return replace(path, choice=choice, spans=spans, unmatched=merged)
