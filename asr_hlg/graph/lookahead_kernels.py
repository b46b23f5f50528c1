"""Kernels of :mod:`asr_hlg.graph.lookahead`, compiled with numba."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Structs = Any
Index = Any

FREE = -1
"""A pair in which G may follow its ε-arcs: the start, and after a word."""

BOUND = -2
"""A pair in which G waits for a word, whose probability is on the arcs before. Larger values are
the word that has been written already, and that HCL is still to read."""

_NONE = -1
_FEW = 32  # words whose probabilities are summed one by one


class Left(NamedTuple):
    """HCL, arcs by source; and :class:`asr_hlg.fst.openfst.Reach` of its states."""

    first: Ints
    dst: Ints
    ilabel: Ints
    olabel: Ints
    score: Floats
    final: Floats
    reach_first: Ints
    reach_begin: Ints
    reach_end: Ints
    final_label: int


class Right(NamedTuple):
    """G, arcs by source and label; and :func:`sums_before`."""

    first: Ints
    dst: Ints
    ilabel: Ints
    olabel: Ints
    score: Floats
    final: Floats
    before: Floats
    total: Floats


class Table(NamedTuple):
    """Pairs of states by number, and a hash table of their numbers.

    ``mode`` is `FREE`, `BOUND` or a word; ``ahead`` the log-probability that arcs before the pair
    have in advance. ``size`` has one entry, the number of pairs.
    """

    left: Ints
    right: Ints
    mode: Ints
    ahead: Floats
    slots: Ints
    size: Ints


class Buffers(NamedTuple):
    """What one call of :func:`expand` writes; ``outputs`` has a word and a phone an arc."""

    arcs: Structs
    outputs: Ints
    eps_arcs: Structs
    eps_words: Ints
    states: Structs
    final: Floats


class _Ahead(NamedTuple):
    """Words of a state of G that a state of HCL can reach: positions of arcs, summed score."""

    begin: int
    end: int
    score: float
    is_final: Any


def new_table(capacity: int) -> Table:
    """A table with the pair of both start states; ``capacity`` is a power of two."""
    left, right, mode = np.zeros((3, capacity), np.int32)
    mode[0] = FREE
    slots = np.full(2 * capacity, _NONE, np.int32)
    slots[_hash(0, 0, FREE, 2 * capacity)] = 0
    return Table(left, right, mode, np.zeros(capacity), slots, np.ones(1, np.int64))


@njit(cache=True)
def sums_before(first: Ints, label: Ints, score: Floats) -> tuple[Floats, Floats]:
    """Sums of the probabilities of a state's words: those before every arc, and of all."""
    before, total = np.zeros(len(label)), np.zeros(len(first) - 1)
    for state in range(len(first) - 1):
        for arc in range(first[state], first[state + 1]):
            before[arc] = total[state]
            if label[arc] != 0:
                total[state] += np.exp(score[arc])
    return before, total


@njit(cache=True)
def expand(  # noqa: C901 - the cases of the composition filter
    left: Left,
    right: Right,
    labels: Any,
    table: Table,
    buffers: Buffers,
    begin: int,
    num_arcs: int,
    num_eps: int,
) -> tuple[Table, int, int, int]:
    """Write the arcs of pairs, from number ``begin`` on, until the buffers are full.

    ``num_arcs`` and ``num_eps`` have been written before. Returns the table, to which new pairs
    have been added, and how many states, arcs and ε-arcs have been written.
    """
    arcs = eps = 0
    pair = begin
    room = len(buffers.states)
    most = len(buffers.arcs) - room  # new pairs that the arcs of one lead to
    while pair < table.size[0] and pair - begin < room and max(arcs, eps) < room:
        if table.size[0] + most > len(table.left):
            table = _enlarged(table)
        h, g, mode = table.left[pair], table.right[pair], table.mode[pair]
        ahead = table.ahead[pair]
        state = buffers.states[pair - begin]
        state.first, state.eps_first = num_arcs + arcs, num_eps + eps
        first_arc = arcs
        buffers.final[pair - begin] = (
            -np.inf if mode > 0 else left.final[h] + right.final[g] - ahead
        )
        g_begin, g_end = right.first[g], right.first[g + 1]
        words = g_begin
        while words < g_end and right.ilabel[words] == 0:
            if mode == FREE:  # G backs off before HCL goes on
                target = _number(table, h, right.dst[words], FREE, 0.0)
                eps_arc = buffers.eps_arcs[eps]
                eps_arc.dst, eps_arc.score = target, right.score[words] - ahead
                buffers.eps_words[eps] = right.olabel[words]
                eps += 1
            words += 1
        only_eps = words == g_end and words > g_begin and right.final[g] == -np.inf
        for arc in range(left.first[h], left.first[h + 1]):
            next_h, label = left.dst[arc], left.olabel[arc]
            match, next_mode, word, added, next_ahead = words - 1, mode, 0, 0.0, 0.0
            next_g = g
            if mode > 0:  # the word has been written
                if label == mode:
                    next_mode = FREE
                elif label != 0 or (
                    left.first[h + 1] - left.first[h] > 1 and not _reaches(left, next_h, mode)
                ):
                    continue
            elif label == 0:
                if only_eps:
                    continue
                found = _look_ahead(left, right, next_h, g, words, g_end)
                if found.begin < 0 and not found.is_final:
                    continue
                if found.end - found.begin == 1 and not found.is_final:
                    match = found.begin
                    next_g, next_mode = right.dst[match], right.ilabel[match]
                    word, added = right.olabel[match], right.score[match]
                else:
                    next_mode, next_ahead = BOUND, found.score
            else:
                match = _lower_bound(right.ilabel, words, g_end, label)
                if match == g_end or right.ilabel[match] != label:
                    continue
                next_g, next_mode = right.dst[match], FREE
                word, added = right.olabel[match], right.score[match]
            while True:
                target = _number(table, next_h, next_g, next_mode, next_ahead)
                score = left.score[arc] + added + next_ahead - ahead
                column = labels.column[left.ilabel[arc]]
                if column >= 0:
                    phone = labels.phone[left.ilabel[arc]]
                    _insert(buffers, first_arc, arcs, target, score, column, word, phone)
                    arcs += 1
                else:
                    eps_arc = buffers.eps_arcs[eps]
                    eps_arc.dst, eps_arc.score = target, score
                    buffers.eps_words[eps] = word
                    eps += 1
                match += 1
                if mode > 0 or label == 0 or match >= g_end or right.ilabel[match] != label:
                    break
                next_g, word, added = right.dst[match], right.olabel[match], right.score[match]
        state.reach = buffers.arcs[first_arc].score if arcs > first_arc else -np.inf
        pair += 1
    return table, pair - begin, arcs, eps


@njit(cache=True)
def _insert(
    buffers: Buffers,
    first: Index,
    last: Index,
    target: Index,
    score: float,
    column: Index,
    word: Index,
    phone: Index,
) -> None:
    """Add an arc to those of a state, the largest score first."""
    arcs, outputs = buffers.arcs, buffers.outputs
    at = last
    while at > first and arcs[at - 1].score < score:
        arcs[at].dst, arcs[at].score = arcs[at - 1].dst, arcs[at - 1].score
        arcs[at].label = arcs[at - 1].label
        outputs[at, 0], outputs[at, 1] = outputs[at - 1, 0], outputs[at - 1, 1]
        at -= 1
    arcs[at].dst, arcs[at].score, arcs[at].label = target, score, column
    outputs[at, 0], outputs[at, 1] = word, phone


@njit(cache=True)
def _look_ahead(left: Left, right: Right, h: Index, g: Index, begin: Index, end: Index) -> _Ahead:
    """The arcs of G's state, from ``begin``, whose words HCL's state can reach.

    Their score is the logarithm of the sum of their probabilities; if both can end, it is at least
    G's final score.
    """
    first, last, total = -1, -1, 0.0
    row, row_end = left.reach_first[h], left.reach_first[h + 1]
    if 2 * (end - begin) < row_end - row:
        for arc in range(begin, end):
            if _reaches(left, h, right.ilabel[arc]):
                first = arc if first < 0 else first
                last = arc + 1
                total += np.exp(right.score[arc])
    else:
        at = begin
        for i in range(row, row_end):
            low = _lower_bound(right.ilabel, at, end, left.reach_begin[i])
            at = _lower_bound(right.ilabel, low, end, left.reach_end[i])
            if at == low:
                continue
            first = low if first < 0 else first
            last = at
            if at - low < _FEW:
                for arc in range(low, at):
                    total += np.exp(right.score[arc])
            else:
                after = right.total[g] if at == right.first[g + 1] else right.before[at]
                total += after - right.before[low]
    is_final = right.final[g] > -np.inf and _reaches(left, h, left.final_label)
    score = np.log(total) if first >= 0 else -np.inf
    if is_final:
        score = max(score, right.final[g])
    return _Ahead(first, last, score, is_final)


@njit(cache=True)
def _reaches(left: Left, h: Index, label: Index) -> bool:
    """Whether a state of HCL can reach a label."""
    low, end = left.reach_first[h], left.reach_first[h + 1]
    high = end
    while low < high:
        middle = (low + high) >> 1
        if left.reach_end[middle] <= label:
            low = middle + 1
        else:
            high = middle
    return bool(low < end and left.reach_begin[low] <= label)


@njit(cache=True)
def _lower_bound(label: Ints, low: Index, high: Index, value: Index) -> Index:
    """The first position with at least a value."""
    while low < high:
        middle = (low + high) >> 1
        if label[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def _number(table: Table, h: Index, g: Index, mode: Index, ahead: float) -> Index:
    """The number of a pair, a new one if it is not in the table, which must have room."""
    count, slots = table.size[0], table.slots
    at = _hash(h, g, mode, len(slots))
    while slots[at] != _NONE:
        pair = slots[at]
        if table.left[pair] == h and table.right[pair] == g and table.mode[pair] == mode:
            return pair
        at = (at + 1) & (len(slots) - 1)
    slots[at] = count
    table.left[count], table.right[count], table.mode[count] = h, g, mode
    table.ahead[count] = ahead
    table.size[0] = count + 1
    return count


@njit(cache=True)
def _hash(h: Index, g: Index, mode: Index, size: Index) -> Index:
    """Where to begin looking for a pair; ``size`` is a power of two."""
    mixed = np.uint64(h) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= np.uint64(g) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed += np.uint64(mode + 2) * np.uint64(0x165667B19E3779F9)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(size - 1))


@njit(cache=True)
def _enlarged(table: Table) -> Table:
    """A table twice as large."""
    count = table.size[0]
    capacity = 2 * len(table.left)
    left, right = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    mode, ahead = np.empty(capacity, np.int32), np.empty(capacity)
    left[:count], right[:count] = table.left[:count], table.right[:count]
    mode[:count], ahead[:count] = table.mode[:count], table.ahead[:count]
    slots = np.full(2 * capacity, _NONE, np.int32)
    for pair in range(count):
        at = _hash(left[pair], right[pair], mode[pair], len(slots))
        while slots[at] != _NONE:
            at = (at + 1) & (len(slots) - 1)
        slots[at] = pair
    return Table(left, right, mode, ahead, slots, table.size)
