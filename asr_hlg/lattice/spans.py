"""Frames of words in imported graphs, whose lexicon may be unknown or another than the graph's.

Kaldi's phones may be position-dependent (``_B``, ``_I``, ``_E``, ``_S``). Other tokens may begin
words with ``▁``, as sentencepiece's do. Otherwise a word begins with the token on whose arc, or
before whose end, it is written.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from asr_hlg.errors import LatticeError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import path
from asr_hlg.lattice.path import Segment

Span = tuple[int, int]

_WORD_BEGIN = "▁"


def word_spans(
    words: Sequence[str], tokens: Sequence[Segment], frames: Sequence[int], graph: DecodingGraph
) -> tuple[Span, ...]:
    """Frames [start, end) of words.

    Parameters
    ----------
    words : sequence of str
    tokens : sequence of (str, int, int)
        The tokens of the path with their frames.
    frames : sequence of int
        For every word the frame in which the graph writes it, in order.
    graph : DecodingGraph
        With a lexicon, positions of phones, or neither.
    """
    if not words:
        return ()
    if graph.has_lexicon:
        try:
            return tuple(path.word_spans(words, tokens, graph.spellings, graph.fillers))
        except LatticeError:
            pass  # the lexicon is not the one that the graph was made of
    if graph.word_positions is not None:
        groups = _by_position(tokens, graph.word_positions)
    elif any(name.startswith(_WORD_BEGIN) for name, _, _ in tokens):
        groups = _by_mark(tokens)
    else:
        return _by_frame(tokens, frames)
    chosen = _choose(groups, frames)
    return _by_frame(tokens, frames) if chosen is None else chosen


_Group = tuple[Span, bool]  # frames, and whether the group is surely a word


def _by_position(tokens: Sequence[Segment], positions: Mapping[str, str]) -> list[_Group]:
    """Groups of phones from one that begins a word to one that ends it; others stand alone."""
    groups: list[_Group] = []
    start = -1
    for name, begin, end in tokens:
        position = positions.get(name, "nonword")
        if position == "begin":
            start = begin
        elif position == "end":
            groups.append(((start if start >= 0 else begin, end), True))
            start = -1
        elif position != "internal":
            groups.append(((begin, end), position == "singleton"))
    if start >= 0:
        groups.append(((start, tokens[-1][2]), True))
    return groups


def _by_mark(tokens: Sequence[Segment]) -> list[_Group]:
    """Groups of tokens, each from a token with ``▁`` to before the next."""
    groups: list[_Group] = []
    for name, begin, end in tokens:
        if name.startswith(_WORD_BEGIN) or not groups:
            groups.append(((begin, end), True))
        else:
            groups[-1] = ((groups[-1][0][0], end), True)
    return groups


def _choose(groups: Sequence[_Group], frames: Sequence[int]) -> tuple[Span, ...] | None:
    """As many groups as there are words, those that are surely words among them.

    Of the groups that may be silence, those nearest to the frames of the words that are left; None
    if there are too many or too few groups.
    """
    spare = len(frames) - sum(is_word for _, is_word in groups)
    if spare < 0 or len(groups) < len(frames):
        return None
    # least[w] is the smallest sum of distances with w words so far, and the groups chosen.
    least: list[tuple[float, tuple[Span, ...]] | None] = [(0.0, ())] + [None] * len(frames)
    for span, is_word in groups:
        for words in range(len(frames), -1, -1):
            skipped = None if is_word else least[words]
            taken = least[words - 1] if words else None
            if taken is not None:
                distance = taken[0] + abs(span[0] - frames[words - 1])
                if skipped is None or distance < skipped[0]:
                    skipped = (distance, (*taken[1], span))
            least[words] = skipped
    return None if least[-1] is None else least[-1][1]


def _by_frame(tokens: Sequence[Segment], frames: Sequence[int]) -> tuple[Span, ...]:
    """Words from the token that is spoken where the graph writes them to before the next word."""
    begins = [begin for _, begin, _ in tokens]
    starts: list[int] = []
    for frame in frames:
        before = bisect_right(begins, frame)
        start = begins[before - 1] if before else frame
        starts.append(max(start, starts[-1] if starts else 0))
    spans: list[Span] = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        last = (len(begins) if following is None else bisect_left(begins, following)) - 1
        spans.append((start, tokens[last][2] if last >= 0 and begins[last] >= start else start))
    return tuple(spans)
