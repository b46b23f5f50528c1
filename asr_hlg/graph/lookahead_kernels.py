"""Kernels of :mod:`asr_hlg.graph.lookahead`, compiled with numba."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from asr_hlg.graph.lookahead_records import (
    ARCS,
    BOUND,
    EPS_ARCS,
    FEW,
    FREE,
    NOT_COMPOSED,
    PAIR,
    PAIRS,
    Composition,
    Floats,
    Index,
    Ints,
    Source,
    Structs,
)
from asr_hlg.graph.packed import STATE
from asr_hlg.graph.packed_fst import ARC, EPS_ARC


class _Match(NamedTuple):
    """Where G goes with an arc of HCL: state, mode, the word written, scores."""

    g: Any
    mode: Any
    word: Any
    added: Any
    ahead: Any


class _Ahead(NamedTuple):
    """Words of a state of G that a state of HCL can reach: positions of arcs, summed score."""

    begin: Any
    end: Any
    score: Any
    is_final: Any


def new(source: Source, capacity: int) -> Composition:
    """A composition with the start state; its pages cost no memory before they are written."""
    slots = 1 << (2 * capacity - 1).bit_length()
    composition = Composition(
        source,
        np.empty(capacity, PAIR),
        np.zeros(slots, np.int32),
        np.empty(2 * capacity, STATE),
        np.empty(2 * capacity, ARC),
        np.empty(2 * capacity, np.int32),
        np.empty(2 * capacity, np.int32),
        np.empty(capacity, EPS_ARC),
        np.empty(capacity, np.int32),
        np.empty(2 * capacity, np.float32),
        np.zeros(3, np.int64),
    )
    if len(source.g_states):
        empty(composition)
    return composition


def empty(composition: Composition) -> None:
    """Leave only the start state in a composition."""
    composition.slots[:] = 0
    composition.size[:] = 0
    state_of(composition, 0, 0, FREE, 0.0)


@njit(nogil=True, cache=True)
def sums(states: Structs, label: Ints, score: Floats) -> Floats:
    """Sum of the probabilities of a state's words, up to and with every arc, by ``states.sum``."""
    result = np.zeros(states[-1].sum)
    for state in range(len(states) - 1):
        total, at = 0.0, states[state].sum
        if states[state + 1].sum > at:
            for arc in range(states[state].first, states[state + 1].first):
                if label[arc] != 0:
                    total += np.exp(score[arc])
                result[at] = total
                at += 1
    return result


@njit(nogil=True, cache=True)
def compose_all(composition: Composition, begin: int) -> Index:
    """Compose the states of pairs from ``begin`` on, until there are no more, or no room.

    Returns the first pair whose state has not been composed.
    """
    pair = begin
    while pair < composition.size[PAIRS] and compose_state(composition, 2 * pair):
        pair += 1
    return pair


@njit(nogil=True, cache=True)
def compose_state(composition: Composition, state: Index) -> bool:
    """Write the arcs of a state; False where there is no room for them.

    Then the state has no arcs yet, but some of their targets may be there.
    """
    size = composition.size
    first, first_eps = size[ARCS], size[EPS_ARCS]
    if not _add_arcs(composition, composition.pairs[state >> 1], first):
        size[ARCS], size[EPS_ARCS] = first, first_eps
        return False
    here, after = composition.states[state], composition.states[state + 1]
    here.first, here.eps_first = first, first_eps
    here.reach = composition.arcs[first].score if size[ARCS] > first else -np.inf
    after.first, after.eps_first = size[ARCS], size[EPS_ARCS]
    return True


@njit(nogil=True, cache=True)
def _add_arcs(  # noqa: C901 - the cases of the composition filter
    composition: Composition, pair: Structs, first: Index
) -> bool:
    """Add the arcs of a pair, from number ``first`` on; False without room."""
    source = composition.source
    h, g, mode = pair.h, pair.g, pair.mode
    begin, end = source.g_states[g].first, source.g_states[g + 1].first
    words = begin
    while words < end and source.g_word[words] == 0:
        if mode == FREE:  # G backs off before HCL goes on
            match = _match(source.g_dst[words], FREE, 0, source.g_score[words], 0.0)
            if not _add_eps_arc(composition, pair, h, 0.0, match):
                return False
        words += 1
    only_eps = begin < words == end and source.g_states[g].final == -np.inf
    for i in range(source.hcl_states[h].first, source.hcl_states[h + 1].first):
        arc = source.hcl_arcs[i]
        if mode > 0:
            match = _read(source, pair, arc)
        elif arc.word > 0:
            at = _lower_bound(source.g_word, words, end, arc.word)
            while at < end and source.g_word[at] == arc.word:
                match = _match(source.g_dst[at], FREE, arc.word, source.g_score[at], 0.0)
                if not _add_arc(composition, pair, first, arc, match):
                    return False
                at += 1
            continue
        elif only_eps:
            continue
        else:
            match = _look_ahead(source, pair, arc, words)
        if match.mode != 0 and not _add_arc(composition, pair, first, arc, match):
            return False
    return True


@njit(nogil=True, cache=True)
def _match(g: Index, mode: Index, word: Index, added: float, ahead: float) -> _Match:
    """A record whose fields have always the same types."""
    return _Match(np.int64(g), np.int64(mode), np.int64(word), np.float64(added), np.float64(ahead))


@njit(nogil=True, cache=True)
def _read(source: Source, pair: Structs, arc: Structs) -> _Match:
    """HCL goes on to read the word that has been written; mode 0 if it cannot with this arc."""
    h, mode = pair.h, pair.mode
    if arc.word == mode:
        return _match(pair.g, FREE, 0, 0.0, 0.0)
    single = source.hcl_states[h + 1].first - source.hcl_states[h].first == 1
    if arc.word != 0 or not (single or _reaches(source, arc.dst, mode)):
        return _match(pair.g, 0, 0, 0.0, 0.0)
    return _match(pair.g, mode, 0, 0.0, 0.0)


@njit(nogil=True, cache=True)
def _look_ahead(source: Source, pair: Structs, arc: Structs, words: Index) -> _Match:
    """HCL goes on without a word; mode 0 if it can reach no word of G's state then."""
    g = pair.g
    if pair.mode == BOUND and _same_reach(source, pair.h, arc.dst):
        return _match(g, BOUND, 0, 0.0, pair.ahead)
    found = _reachable(source, arc.dst, g, words)
    if found.begin == found.end and not found.is_final:
        return _match(g, 0, 0, 0.0, 0.0)
    if found.end - found.begin == 1 and not found.is_final:
        word = source.g_word[found.begin]
        return _match(source.g_dst[found.begin], word, word, source.g_score[found.begin], 0.0)
    return _match(g, BOUND, 0, 0.0, found.score)


@njit(nogil=True, cache=True)
def _add_arc(
    composition: Composition, pair: Structs, first: Index, arc: Structs, match: _Match
) -> bool:
    """Add the arc of the composition that an arc of HCL and a match in G make."""
    label = composition.source.labels[arc.label]
    if label.column < 0:
        return _add_eps_arc(composition, pair, arc.dst, arc.score, match)
    target = state_of(composition, arc.dst, match.g, match.mode, match.ahead)
    at = composition.size[ARCS]
    if target < 0 or at == len(composition.arcs):
        return False
    score = arc.score + match.added + match.ahead - pair.ahead
    _insert(composition, first, at, target, score, label, match.word)
    composition.size[ARCS] = at + 1
    return True


@njit(nogil=True, cache=True)
def _add_eps_arc(
    composition: Composition, pair: Structs, h: Index, hcl_score: float, match: _Match
) -> bool:
    """Add an ε-arc to the pair of a state of HCL and a match in G."""
    target = state_of(composition, h, match.g, match.mode, match.ahead)
    at = composition.size[EPS_ARCS]
    if target < 0 or at == len(composition.eps_arcs):
        return False
    eps_arc = composition.eps_arcs[at]
    eps_arc.dst = target
    eps_arc.score = hcl_score + match.added + match.ahead - pair.ahead
    composition.eps_words[at] = match.word
    composition.size[EPS_ARCS] = at + 1
    return True


@njit(nogil=True, cache=True)
def _insert(
    composition: Composition,
    first: Index,
    last: Index,
    target: Index,
    score: float,
    label: Any,
    word: Index,
) -> None:
    """Add an arc to those of a state, the largest score first."""
    arcs, words, phones = composition.arcs, composition.words, composition.phones
    at = last
    while at > first and arcs[at - 1].score < score:
        arcs[at].dst, arcs[at].score = arcs[at - 1].dst, arcs[at - 1].score
        arcs[at].label = arcs[at - 1].label
        words[at], phones[at] = words[at - 1], phones[at - 1]
        at -= 1
    arcs[at].dst, arcs[at].score, arcs[at].label = target, score, label.column
    words[at], phones[at] = word, label.phone


@njit(nogil=True, cache=True)
def _same_reach(source: Source, h: Index, other: Index) -> bool:
    """Whether two states of HCL reach the same words, as far as one interval shows it."""
    states, intervals = source.hcl_states, source.intervals
    i, j = states[h].interval, states[other].interval
    if h == other:
        return True
    if states[h + 1].interval - i != 1 or states[other + 1].interval - j != 1:
        return False
    return bool(intervals[i].begin == intervals[j].begin and intervals[i].end == intervals[j].end)


@njit(nogil=True, cache=True)
def _reachable(source: Source, h: Index, g: Index, begin: Index) -> _Ahead:
    """The arcs of G's state, from ``begin``, whose words HCL's state can reach.

    Their score is the logarithm of the sum of their probabilities; if both can end, it is at least
    G's final score.
    """
    intervals, g_word, g_score, g_sum = (
        source.intervals,
        source.g_word,
        source.g_score,
        source.g_sum,
    )
    end = source.g_states[g + 1].first
    first, last, total = begin, begin, 0.0
    row, row_end = source.hcl_states[h].interval, source.hcl_states[h + 1].interval
    if 2 * (end - begin) < row_end - row:
        for arc in range(begin, end):
            if _reaches(source, h, g_word[arc]):
                first = arc if first == last else first
                last = arc + 1
                total += np.exp(g_score[arc])
    else:
        at = begin
        for i in range(row, row_end):
            low = _lower_bound(g_word, at, end, intervals[i].begin)
            at = _lower_bound(g_word, low, end, intervals[i].end)
            if at == low:
                continue
            first = low if first == last else first
            last = at
            if at - low < FEW:
                for arc in range(low, at):
                    total += np.exp(g_score[arc])
            else:
                shift = source.g_states[g].sum - source.g_states[g].first - 1
                total += g_sum[shift + at] - (g_sum[shift + low] if low > begin else 0.0)
    final = source.g_states[g].final
    is_final = final > -np.inf and _reaches(source, h, source.final_label[0])
    score = np.log(total) if last > first else -np.inf
    if is_final:
        score = max(score, np.float64(final))
    return _Ahead(first, last, score, is_final)


@njit(nogil=True, cache=True)
def _reaches(source: Source, h: Index, label: Index) -> bool:
    """Whether a state of HCL can reach a label."""
    intervals = source.intervals
    low, end = source.hcl_states[h].interval, source.hcl_states[h + 1].interval
    high = end
    while low < high:
        middle = (low + high) >> 1
        if intervals[middle].end <= label:
            low = middle + 1
        else:
            high = middle
    return bool(low < end and intervals[low].begin <= label)


@njit(nogil=True, cache=True)
def _lower_bound(label: Ints, low: Index, high: Index, value: Index) -> Index:
    """The first position with at least a value."""
    while low < high:
        middle = (low + high) >> 1
        if label[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def state_of(composition: Composition, h: Index, g: Index, mode: Index, ahead: float) -> Index:
    """The state of a pair, a new one without arcs where there is none; -1 without room for it."""
    pairs, slots = composition.pairs, composition.slots
    at = _hash(h, g, mode, len(slots))
    while slots[at] != 0:
        pair = pairs[slots[at] - 1]
        if pair.h == h and pair.g == g and pair.mode == mode:
            return 2 * (np.int64(slots[at]) - 1)
        at = (at + 1) & (len(slots) - 1)
    number = composition.size[PAIRS]
    if number == len(pairs):
        return np.int64(-1)
    slots[at] = number + 1
    pair = pairs[number]
    pair.h, pair.g, pair.mode, pair.ahead = h, g, mode, ahead
    state, source = 2 * number, composition.source
    for record in (composition.states[state], composition.states[state + 1]):
        record.first, record.eps_first, record.reach = 0, NOT_COMPOSED, -np.inf
    composition.final[state] = (
        -np.inf if mode > 0 else source.hcl_states[h].final + source.g_states[g].final - ahead
    )
    composition.size[PAIRS] = number + 1
    return state


@njit(nogil=True, cache=True)
def _hash(h: Index, g: Index, mode: Index, size: Index) -> Index:
    """Where to begin looking for a pair; ``size`` is a power of two."""
    mixed = np.uint64(h) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= np.uint64(g) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed += np.uint64(mode + 2) * np.uint64(0x165667B19E3779F9)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(size - 1))


@njit(nogil=True, cache=True)
def add_pairs(composition: Composition, pairs: Structs) -> None:
    """Add the states of pairs, which are not there yet, without arcs."""
    for i in range(len(pairs)):
        pair = pairs[i]
        state_of(composition, pair.h, pair.g, pair.mode, pair.ahead)
