"""Determinization of a lattice part by part, while the utterance is searched.

The algorithm is that of Kaldi's ``LatticeIncrementalDeterminizer``. A part ends at a frame with few
tokens. The part's last arcs have these tokens as labels, so that the next part can be joined to
it; the states before these arcs, the tail, are determinized again with the next part. Every part
is pruned to the beam when it is determinized, by the scores known then, and what is left of it
stays, however the utterance goes on.

A label is 0 for none, a word, ``-1 - token``, or ``_STATE +`` a state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from asr_hlg.lattice.compact import CompactLattice, WordArc
from asr_hlg.lattice.pruned_determinize import ONE, Arc, Weight, determinize, topological

_NEVER = -float("inf")
_STATE = 1 << 40  # labels of states begin here
_START = -1


@dataclass
class Part:
    """The lattice of some frames before it is determinized; states are tokens.

    Attributes
    ----------
    arcs : dict
        The arcs of every token: to tokens of its own frame and of the next one.
    ends : dict
        Tokens of the last frame. Their scores decide which paths are within the beam, and are not
        part of the result.
    """

    arcs: dict[int, list[Arc]]
    ends: dict[int, float]


class _Last(NamedTuple):
    """A part's last arc, with its source; no token if that has been pruned."""

    state: int
    token: int | None
    weight: Weight


@dataclass
class IncrementalDeterminizer:
    """A lattice over words that grows with the utterance.

    Parameters
    ----------
    beam : float
        Paths of a part that are worse than its best one by more than this are removed.
    """

    beam: float
    _arcs: list[list[Arc]] = field(default_factory=list)
    _forward: list[float] = field(default_factory=list)  # best scores from the start
    _incoming: list[list[tuple[int, int]]] = field(default_factory=list)  # source and place
    _last: list[_Last] = field(default_factory=list)
    _tail: list[int] = field(default_factory=list)

    def copy(self) -> IncrementalDeterminizer:
        """A copy that grows on its own."""
        return IncrementalDeterminizer(
            self.beam,
            [list(row) for row in self._arcs],
            list(self._forward),
            [list(row) for row in self._incoming],
            list(self._last),
            list(self._tail),
        )

    def begins_anew(self) -> bool:
        """Whether there is no lattice, or its tail goes back to the start.

        Then the lattice is forgotten, and the next part must begin with the first frame.
        """
        if self._arcs and all(last.state != 0 for last in self._last):
            return False
        self._forget()
        return True

    def renumber(self, number: Mapping[int, int]) -> None:
        """Change the numbers of tokens; those without a new number have been pruned."""
        self._last = [
            last._replace(token=None if last.token is None else number.get(last.token))
            for last in self._last
        ]

    def accept(self, part: Part) -> None:
        """Add a part that begins where the last one ended. Its arcs are changed."""
        is_first = not self._arcs
        start = 0 if is_first else _START
        if not is_first:
            self._join(part)
        ends = {_end(token): score for token, score in part.ends.items()}
        for token in part.ends:
            part.arcs.setdefault(token, []).append(Arc(-1 - token, _end(token), ONE))
        self._append(determinize(part.arcs, ends, start, self.beam), is_first)

    def lattice(self, finals: Mapping[int, float] | None, graph_scale: float) -> CompactLattice:
        """The lattice so far.

        Parameters
        ----------
        finals : mapping or None
            Final scores of tokens of the last frame; None to let paths end in all of them.
        graph_scale : float
            Weight of the graph's scores.
        """
        best: dict[int, Weight] = {}
        for state, token, weight in self._last:
            score = 0.0 if finals is None else finals.get(-1 if token is None else token, _NEVER)
            longer = weight._replace(score=weight.score + score, graph=weight.graph + score)
            if longer.score > best.get(state, longer._replace(score=_NEVER)).score:
                best[state] = longer
        final = len(self._arcs)
        rows = [list(row) for row in self._arcs]
        for state, weight in best.items():
            rows[state].append(Arc(0, final, weight))
        rows.append([])
        ends = {final}
        for state in reversed(topological(0, lambda state: (arc.target for arc in rows[state]))):
            if any(arc.target in ends for arc in rows[state]):
                ends.add(state)
        arcs = [
            [
                WordArc(label, target, w.score - (1 - graph_scale) * w.graph, w.alignment)
                for label, target, w in row
                if target in ends
            ]
            for row in rows
        ]
        return CompactLattice(arcs, final)

    def _forget(self) -> None:
        for table in (self._arcs, self._forward, self._incoming, self._last, self._tail):
            table.clear()

    def _join(self, part: Part) -> None:
        """Put the tail of the lattice before a part; its arcs are removed from the lattice."""
        arcs = part.arcs
        arcs[_START] = [
            Arc(_STATE + state, _tail(state), Weight(self._forward[state], 0.0, ()))
            for state in self._tail
        ]
        for state in self._tail:
            row = [arc._replace(target=_tail(arc.target)) for arc in self._arcs[state]]
            arcs[_tail(state)] = row
            self._arcs[state] = []
        for state, token, weight in self._last:
            if token is not None and _tail(state) in arcs:
                arcs[_tail(state)].append(Arc(0, token, weight))

    def _append(self, part: list[list[Arc]], is_first: bool) -> None:
        """Add a determinized part."""
        if not part:
            self._forget()
            return
        number: dict[int, int] = {}
        if not is_first:
            for arc in part[0]:
                self._enter(arc, number)
        ends = {arc.target for row in part for arc in row if arc.label < 0}
        order = topological(0, lambda state: (arc.target for arc in part[state]))
        order = [state for state in order if state not in ends and (is_first or state != 0)]
        for state in order:
            if state not in number:
                number[state] = len(self._arcs)
                self._arcs.append([])
                self._forward.append(_NEVER)
                self._incoming.append([])
        if is_first:
            self._forward[0] = 0.0
        self._last = []
        for state in order:
            for arc in part[state]:
                if arc.label < 0:
                    self._last.append(_Last(number[state], -1 - arc.label, arc.weight))
                else:
                    self._add(number[state], arc._replace(target=number[arc.target]))
        begin = [last.state for last in self._last if self._forward[last.state] > _NEVER]
        self._tail = _reached(begin, lambda state: (arc.target for arc in self._arcs[state]))

    def _enter(self, arc: Arc, number: dict[int, int]) -> None:
        """Redirect the arcs into a state of the tail to what it has become in the new part."""
        state = arc.label - _STATE
        target = number.setdefault(arc.target, state)
        more = arc.weight._replace(score=arc.weight.score - self._forward[state])
        self._forward[state] = _NEVER
        incoming, self._incoming[state] = self._incoming[state], []
        for source, place in incoming:
            row = self._arcs[source]
            if place >= len(row) or row[place].target != state:
                continue  # the arc is part of the tail too
            row[place] = Arc(row[place].label, target, row[place].weight.times(more))
            self._note(source, place)

    def _add(self, source: int, arc: Arc) -> None:
        if self._forward[source] > _NEVER:
            self._arcs[source].append(arc)
            self._note(source, len(self._arcs[source]) - 1)

    def _note(self, source: int, place: int) -> None:
        """Take note of an arc at its target."""
        arc = self._arcs[source][place]
        score = self._forward[source] + arc.weight.score
        self._forward[arc.target] = max(self._forward[arc.target], score)
        self._incoming[arc.target].append((source, place))


def _tail(state: int) -> int:
    """State of a part that stands for a state of the lattice's tail."""
    return -2 - state


def _end(token: int) -> int:
    """State of a part behind the label of a token."""
    return _STATE + token


def _reached(begin: Iterable[int], targets: Callable[[int], Iterable[int]]) -> list[int]:
    """States that can be reached from some, these included."""
    found: dict[int, None] = {}
    waiting = list(begin)
    while waiting:
        state = waiting.pop()
        if state not in found:
            found[state] = None
            waiting.extend(targets(state))
    return list(found)
