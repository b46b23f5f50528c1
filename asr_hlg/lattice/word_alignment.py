"""Word-aligned lattices: every arc is one word, or silence, with exactly its frames.

Kaldi's phones are position-dependent. The phones of an alignment are divided into words by
that, as ``lattice-align-words`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr_hlg.lattice.compact import Alignment, CompactLattice

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AlignedLattice:
    """Word lattice whose states have times; state 0 is the start, the last one is final.

    Attributes
    ----------
    src, dst, word : np.ndarray
        int32 ``(num_arcs,)``, sorted by source, states in topological order; word 0 is silence.
    score : np.ndarray
        float64 ``(num_arcs,)``.
    times : np.ndarray
        float64 ``(num_states,)``: frames before each state.
    """

    src: Ints
    dst: Ints
    word: Ints
    score: Floats
    times: Floats

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.times)


class _Node(NamedTuple):
    """A state of the lattice, with words and frames that have not been put on an arc."""

    state: int
    words: tuple[int, ...]
    frames: Alignment
    time: int

    def is_end(self, final: int) -> bool:
        """Whether the lattice ends here."""
        return self.state == final and not self.words and not self.frames


class _Arc(NamedTuple):
    target: _Node
    word: int
    score: float


def align_words(lattice: CompactLattice, positions: Mapping[int, str]) -> AlignedLattice:
    """Divide the alignments of a lattice into words.

    States and arcs come in the order in which Kaldi's ``WordAlignLattice`` and OpenFst's
    ``TopSort`` leave them. It decides to which of two words a third one is aligned if both are as
    close, since sums of posteriors are rounded.

    Parameters
    ----------
    lattice : CompactLattice
    positions : mapping
        ``nonword``, ``begin``, ``end``, ``internal`` or ``singleton`` for every phone's id.
    """
    start = _Node(0, (), (), 0)
    arcs: dict[_Node, list[_Arc]] = {}
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in arcs:
            arcs[node] = list(_words_from(node, lattice, positions))
            waiting.extend(arc.target for arc in arcs[node])
    return _arrays(arcs, start, lattice.final)


def _words_from(
    node: _Node, lattice: CompactLattice, positions: Mapping[int, str]
) -> Iterator[_Arc]:
    """Words, or silence, that paths of the lattice complete first behind a node."""
    paths = [] if node.is_end(lattice.final) else [(node, 0.0)]
    while paths:
        here, score = paths.pop()
        is_end = here.state == lattice.final
        taken = _complete(here, positions, is_end)
        if taken is not None:
            word, length = taken
            words = here.words[1:] if word else here.words
            rest = _Node(here.state, words, here.frames[length:], here.time + length)
            yield _Arc(rest, word, score)
        elif is_end:
            finished = _Node(lattice.final, (), (), here.time + len(here.frames))
            yield _Arc(finished, here.words[0] if here.words else 0, score)
        else:
            for arc in reversed(lattice.arcs[here.state]):
                words = (*here.words, arc.word) if arc.word else here.words
                longer = _Node(arc.target, words, here.frames + arc.alignment, here.time)
                paths.append((longer, score + arc.counted))


def _complete(node: _Node, positions: Mapping[int, str], is_end: bool) -> tuple[int, int] | None:
    """First complete word (0 for silence) of a node and its frames; None if there is none."""
    frames, begin = node.frames, 0
    for place in range(1, len(frames) + 1):
        if place == len(frames):
            if not is_end:
                return None
        elif not frames[place][1]:
            continue
        position = positions.get(frames[begin][1], "nonword")  # of the phone [begin, place)
        if begin == 0 and position == "nonword":
            return 0, place
        if position in ("end", "singleton", "nonword"):
            return (node.words[0], place) if node.words else None if not is_end else (0, place)
        begin = place
    return None


def _arrays(arcs: dict[_Node, list[_Arc]], start: _Node, final: int) -> AlignedLattice:
    """Arrays of arcs in topological order, with one final state.

    An arc after the ends is added only where there are several of them, since arcs without a word
    decide to which of two words a third one is aligned, if both are as close.
    """
    order = _topological(arcs, start)
    ends = [node for node in order if node.is_end(final)]
    order = [node for node in order if not node.is_end(final)] + ends
    number = {node: index for index, node in enumerate(order)}
    rows = [
        (number[node], number[arc.target], arc.word, arc.score)
        for node in order
        for arc in arcs[node]
    ]
    times = [float(node.time) for node in order]
    if len(ends) != 1:
        rows += [(number[node], len(order), 0, 0.0) for node in ends]
        times.append(max(times))
    table = np.array([row[:3] for row in rows], np.int32).reshape(-1, 3)
    # Kaldi's costs are float32
    scores = np.array([row[3] for row in rows], np.float32).astype(np.float64)
    return AlignedLattice(table[:, 0], table[:, 1], table[:, 2], scores, np.array(times))


def _topological(arcs: Mapping[_Node, list[_Arc]], start: _Node) -> list[_Node]:
    """Nodes in the reverse of the order in which a depth-first search leaves them."""
    left: list[_Node] = []
    seen = {start}
    stack = [(start, iter(arcs[start]))]
    while stack:
        node, rest = stack[-1]
        target = next((arc.target for arc in rest if arc.target not in seen), None)
        if target is None:
            left.append(node)
            stack.pop()
        else:
            seen.add(target)
            stack.append((target, iter(arcs[target])))
    return left[::-1]
