"""What the kernels of the search in tensors are written with: threads, atomics, a hash table.

`thread` and `num_threads` divide items among threads, `warp` and `num_warps` those of which each
is the work of a warp, `lane` and `num_lanes` this work. On the CPU there is one thread, and
nothing needs to be atomic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from asr_hlg.search.fused_records import CANDIDATES, ENDS, SOURCES, Array

STAMP_BITS = 48
"""Bits of a key below the stamp, which is another one in every frame, and never 0."""


@njit(nogil=True, cache=True, forceinline=True)
def thread() -> int:
    """The first item of this thread."""
    return 0


@njit(nogil=True, cache=True, forceinline=True)
def num_threads() -> int:
    """Threads that divide the items."""
    return 1


@njit(nogil=True, cache=True, forceinline=True)
def warp() -> int:
    """The first item of this warp."""
    return 0


@njit(nogil=True, cache=True, forceinline=True)
def num_warps() -> int:
    """Warps that divide the items."""
    return 1


@njit(nogil=True, cache=True, forceinline=True)
def lane() -> int:
    """Number of the thread in its warp."""
    return 0


@njit(nogil=True, cache=True, forceinline=True)
def num_lanes() -> int:
    """Threads of a warp."""
    return 1


@njit(nogil=True, cache=True, forceinline=True)
def atomic_add(array: Array, index: Any, value: Any) -> Any:
    """Add to an element; returns what it was."""
    old = array[index]
    array[index] = old + value
    return old


@njit(nogil=True, cache=True, forceinline=True)
def atomic_max(array: Array, index: Any, value: Any) -> None:
    """Raise an element to a value."""
    if value > array[index]:
        array[index] = value


@njit(nogil=True, cache=True, forceinline=True)
def compare_and_swap(array: Array, index: Any, old: Any, value: Any) -> Any:
    """Write an element if it is ``old``; returns what it was."""
    found = array[index]
    if found == old:
        array[index] = value
    return found


@njit(nogil=True, cache=True, forceinline=True)
def pair_of(state: Any, label: Any, num_labels: int) -> int:
    """Number of a pair of state and label; label 0 stands for the blank."""
    return int(state) * num_labels + int(label)


@njit(nogil=True, cache=True, forceinline=True)
def insert(
    table: Array, stamp: int, pair: Any, utterance: Any, num_utterances: int
) -> tuple[int, bool]:
    """The slot of a pair of state and label, and whether it is new in the table.

    Slots of an utterance are near each other.
    """
    num_slots = len(table) // 2
    key = stamp << STAMP_BITS | (pair * num_utterances + int(utterance))
    mixed = (pair & 0x7FFFFFFF) * 0x9E3779B1
    window = num_slots // num_utterances
    slot, step = int(utterance) * window + ((mixed >> 8 & 0xFFFFFF) * window >> 24), 0
    found = table[2 * slot]
    while True:
        if found == key:
            return slot, False
        if found >> STAMP_BITS == key >> STAMP_BITS:
            step += 1
            slot = slot + step & num_slots - 1
            found = table[2 * slot]
            continue
        # What another thread has written meanwhile is what this one goes on with: a second look
        # into the table could find the former entry in a cache.
        before = compare_and_swap(table, 2 * slot, found, key)
        if before == found:
            return slot, True
        found = before


@njit(nogil=True, cache=True, forceinline=True)
def emission(relative: Array, t: Any, utterance: Any, label: Any) -> Any:
    """A label's score minus the blank's; ``-inf`` for label 0."""
    return -np.inf if label == 0 else float(relative[t, utterance, label])


@njit(nogil=True, cache=True, forceinline=True)
def put_end(
    counts: Array, ends: Array, end_score: Array, token: Any, state: Any, utterance: Any, score: Any
) -> None:
    """Append a token after the last frame of its utterance."""
    index = atomic_add(counts, ENDS, 1)
    if index < len(ends):
        end = ends[index]
        end.token, end.state, end.utterance = token, state, utterance
        end_score[index] = score


@njit(nogil=True, cache=True, forceinline=True)
def put_source(
    counts: Array,
    sources: Array,
    source_score: Array,
    state: Any,
    label: Any,
    utterance: Any,
    src: int,
    eps: Any,
    score: float,
) -> None:
    """Append a state whose arcs are to be followed."""
    index = atomic_add(counts, SOURCES, 1)
    if index < len(sources):
        source = sources[index]
        source.state, source.label, source.utterance = state, label, utterance
        source.src, source.eps = src, eps
        source_score[index] = score


@njit(nogil=True, cache=True, forceinline=True)
def put_candidate(
    counts: Array,
    candidates: Array,
    candidate_score: Array,
    state: Any,
    label: Any,
    utterance: Any,
    src: Any,
    eps: Any,
    arc: Any,
    score: float,
) -> None:
    """Append a path to a label token."""
    index = atomic_add(counts, CANDIDATES, 1)
    if index < len(candidates):
        candidate = candidates[index]
        candidate.state, candidate.label, candidate.utterance = state, label, utterance
        candidate.src, candidate.eps, candidate.arc = src, eps, arc
        candidate_score[index] = score
