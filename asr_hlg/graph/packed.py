"""The packed view of L∘G for token passing: ε-closed, the arcs of each state adjacent.

packed = PackedLg.pack(graph.lg)
first, last = packed.states["first"][s : s + 2]
packed.arcs[first:last]                                  # arcs of state s that read a token
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Bools, Ints, expand_ranges, row_splits

Records = npt.NDArray[np.void]
Scores = npt.NDArray[np.floating[Any]]
Spelling = tuple[int, ...]  # words that one ε-arc writes

STATE = np.dtype([("first", "<u4"), ("eps_first", "<u4"), ("reach", "<f4")])


class PackedArrays:
    """Properties of dataclasses of arrays that hold a packed automaton."""

    final: npt.NDArray[np.float32]

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.final)

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name."""
        return dict(vars(self))

    @property
    def num_bytes(self) -> int:
        """Size of all arrays in memory."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True)
class PackedLg(PackedArrays):
    """L∘G as arrays sorted by state; state 0 is the start.

    Arcs that read a token and ε-arcs are kept apart. The ε-arcs are closed under concatenation:
    for every path of ε-arcs there is one ε-arc from its first to its last state, unless the last
    state neither has an arc that reads a token nor is final. Of several ε-paths between the same
    states with the same words only the best one is kept, as in tropical ε-removal (Mohri 2002,
    "Generic ε-removal").

    The attributes of an arc are one record, because memory latency limits the search.

    Attributes
    ----------
    states : np.ndarray
        Records ``(num_states + 1,)``: state s has the arcs ``states[s].first`` to
        ``states[s + 1].first - 1`` and the ε-arcs likewise from ``eps_first``; ``reach`` is the
        largest score of an arc that reads a token, ``-inf`` without any.
    arcs : np.ndarray
        Records ``(num_arcs,)``, by score within a state, the largest first: ``dst``, ``score``,
        ``label``. A search skips the rest of a state's arcs at the first one below its beam.
    words : np.ndarray
        int32 ``(num_arcs,)``: word ids, 0 for none.
    eps_arcs : np.ndarray
        Records ``(num_eps,)``: ``dst``, ``score`` and ``spelling``, the row of ``spellings``
        that the arc writes.
    final : np.ndarray
        float32 ``(num_states,)``: final scores, ``-inf`` where a state is not final.
    spellings, spelling_splits : np.ndarray
        int32: words of row i are ``spellings[spelling_splits[i]:spelling_splits[i + 1]]``; row 0
        has none.
    """

    states: Records
    arcs: Records
    words: npt.NDArray[np.int32]
    eps_arcs: Records
    final: npt.NDArray[np.float32]
    spellings: npt.NDArray[np.int32]
    spelling_splits: npt.NDArray[np.int32]

    @staticmethod
    def pack(lg: Arcs) -> PackedLg:
        """Derive the packed view from L∘G, in which label 0 is ε.

        This takes about 0.4 s for the 1.8 million arcs of ``en`` and 4.4 s for the 10 million of
        ``en-full``, and mapping the arrays from a graph folder takes milliseconds; hence the
        folder keeps them (:meth:`asr_hlg.graph.store.ViewCache.get`).
        """
        number = _visiting_order(lg)
        final = np.empty_like(lg.final)
        final[number] = lg.final
        emitting = np.flatnonzero(lg.ilabel > 0).astype(np.int32)
        emitting = emitting[
            _best_first(number[lg.src[emitting]], lg.ilabel[emitting], lg.score[emitting])
        ]
        useful = np.isfinite(final)
        useful[number[lg.src[emitting]]] = True
        eps = lg.take(np.flatnonzero(lg.ilabel == 0))
        eps = replace(eps, src=number[eps.src], dst=number[eps.dst], final=final)
        src, label, score = number[lg.src[emitting]], lg.ilabel[emitting], lg.score[emitting]
        closure, spellings = _closure(eps, useful)

        states = state_records(src, score, closure.src, len(final))
        return PackedLg(
            states,
            _records(
                dst=number[lg.dst[emitting]].astype(np.uint32), score=score, label=_narrow(label)
            ),
            np.maximum(lg.olabel[emitting], 0).astype(np.int32),
            _records(
                dst=closure.dst.astype(np.uint32),
                score=closure.score.astype(np.float32),
                spelling=_narrow(closure.spelling),
            ),
            final,
            np.array([word for words in spellings for word in words], dtype=np.int32),
            np.cumsum([0, *(len(words) for words in spellings)]).astype(np.int32),
        )


def state_records(src: Ints, score: Scores, eps_src: Ints, num_states: int) -> Records:
    """`STATE` records ``(num_states + 1,)`` of arcs and ε-arcs that are sorted by state."""
    states = np.zeros(num_states + 1, dtype=STATE)
    states["first"] = row_splits(src, num_states)
    states["eps_first"] = row_splits(eps_src, num_states)
    states["reach"] = -np.inf
    with_arcs = np.flatnonzero(np.diff(states["first"]))
    if len(with_arcs):
        states["reach"][with_arcs] = np.maximum.reduceat(score, states["first"][with_arcs])
    return states


def _by_label(src: Ints, label: Ints) -> npt.NDArray[np.int32]:
    """Indices that sort arcs by source, then by label."""
    key = src.astype(np.int64) * (int(label.max(initial=0)) + 1) + label
    return np.argsort(key, kind="stable").astype(np.int32)


def _best_first(src: Ints, label: Ints, score: Scores) -> npt.NDArray[np.int32]:
    """Indices that sort arcs by source, then by falling score, then by label."""
    order = _by_label(src, label)
    src, score = src[order], score[order]
    _sort_ranges(row_splits(src, int(src.max(initial=-1)) + 1), score, order)
    return order


@njit(cache=True)
def _sort_ranges(splits: Ints, score: Scores, order: Ints) -> None:
    """Sort every range of ``order`` by falling score, in place and stably."""
    for row in range(len(splits) - 1):
        begin, end = splits[row], splits[row + 1]
        if end > begin + 1:
            by_score = np.argsort(-score[begin:end], kind="mergesort")
            order[begin:end] = order[begin:end][by_score]


def _visiting_order(lg: Arcs) -> npt.NDArray[np.int32]:
    """New state numbers, such that states that are searched together are close in memory."""
    order = _by_label(lg.src, lg.ilabel)
    return _depth_first(row_splits(lg.src, lg.num_states), lg.dst[order])


@njit(cache=True)
def _depth_first(first: Ints, dst: Ints) -> npt.NDArray[np.int32]:
    """Number the states in the order of a depth-first search from state 0.

    The successor of a state with one arc has the next number, and most states are inside a word.
    """
    num_states = len(first) - 1
    number = np.full(num_states, -1, dtype=np.int32)
    stack = np.empty(len(dst) + 1, dtype=np.int32)
    count = 0
    for root in range(num_states):
        stack[0] = root
        depth = 1
        while depth > 0:
            depth -= 1
            state = stack[depth]
            if number[state] >= 0:
                continue
            number[state] = count
            count += 1
            for arc in range(first[state + 1] - 1, first[state] - 1, -1):
                if number[dst[arc]] < 0:
                    stack[depth] = dst[arc]
                    depth += 1
    return number


def _narrow(values: Ints) -> Ints:
    """Cast non-negative integers to the narrowest unsigned type."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _records(**columns: npt.NDArray[Any]) -> Records:
    """Make a structured array, without padding, from its columns."""
    dtype = np.dtype([(name, column.dtype) for name, column in columns.items()])
    result = np.empty(len(next(iter(columns.values()))), dtype=dtype)
    for name, column in columns.items():
        result[name] = column
    return result


class _EpsArcs(NamedTuple):
    """ε-arcs as columns; ``spelling`` is an index into a table, whose entry 0 is empty."""

    src: npt.NDArray[np.int64]
    dst: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    spelling: npt.NDArray[np.int64]

    def take(self, index: Ints | Bools) -> _EpsArcs:
        """Select arcs."""
        return _EpsArcs(self.src[index], self.dst[index], self.score[index], self.spelling[index])


def _closure(eps: Arcs, useful: Bools) -> tuple[_EpsArcs, list[Spelling]]:
    """ε-closure: one ε-arc for every ε-path that ends in a useful state, sorted; and spellings."""
    spellings: dict[Spelling, int] = {(): 0}
    words, rows = np.unique(np.maximum(eps.olabel, 0), return_inverse=True)
    ids = [spellings.setdefault((int(word),) if word else (), len(spellings)) for word in words]
    by_src = np.argsort(eps.src, kind="stable")
    single = _EpsArcs(
        eps.src[by_src].astype(np.int64),
        eps.dst[by_src].astype(np.int64),
        eps.score[by_src].astype(np.float64),
        np.array(ids, dtype=np.int64)[rows][by_src],
    )
    first = row_splits(single.src, len(useful))
    by_length = [single]
    while len((paths := by_length[-1]).src):
        right, left = expand_ranges(first[paths.dst], first[paths.dst + 1])
        longer = _EpsArcs(
            paths.src[left],
            single.dst[right],
            paths.score[left] + single.score[right],
            _concatenated(paths.spelling[left], single.spelling[right], spellings),
        )
        by_length.append(_best_paths(longer))
    closure = _best_paths(
        _EpsArcs(
            np.concatenate([paths.src for paths in by_length]),
            np.concatenate([paths.dst for paths in by_length]),
            np.concatenate([paths.score for paths in by_length]),
            np.concatenate([paths.spelling for paths in by_length]),
        )
    )
    return closure.take(useful[closure.dst]), list(spellings)


def _concatenated(
    left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], spellings: dict[Spelling, int]
) -> npt.NDArray[np.int64]:
    """Indices of the spellings left + right, which are added to ``spellings`` if they are new."""
    joined = np.where(left == 0, right, left)
    both = np.flatnonzero((left > 0) & (right > 0))
    pairs, rows = np.unique(
        np.stack([left[both], right[both]], axis=1), axis=0, return_inverse=True
    )
    table = list(spellings)
    ids = [spellings.setdefault(table[a] + table[b], len(spellings)) for a, b in pairs.tolist()]
    joined[both] = np.array(ids, dtype=np.int64)[rows] if len(both) else 0
    return joined


def _best_paths(paths: _EpsArcs) -> _EpsArcs:
    """Keep the best of the arcs with the same source, destination and spelling; sort them."""
    order = np.lexsort((-paths.score, paths.spelling, paths.dst, paths.src))
    paths = paths.take(order)
    is_new = np.zeros(len(order), dtype=bool)
    is_new[:1] = True
    for column in (paths.src, paths.dst, paths.spelling):
        is_new[1:] |= column[1:] != column[:-1]
    return paths.take(is_new)
