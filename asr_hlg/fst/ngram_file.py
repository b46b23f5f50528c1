"""The OpenFst type ngram: a back-off n-gram whose contexts are a tree in level order (LOUDS).

A bit string lists the states of the tree level by level: for each a one per child, then a zero.
The children of a state are those states whose contexts are longer by one word into the past; a
state backs off to its parent. See Sorensen & Allauzen 2011, "Unary Data Structures for Language
Models".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.file_bytes import FileBytes, Malformed

_LONGEST = 30
START = 1  # the first child of the root: the begin of a sentence

Ints = npt.NDArray[np.integer[Any]]


def read_arcs(data: FileBytes) -> tuple[Arcs, int]:
    """Arcs of an ngram automaton after its header, and its start state.

    The ε-arc of a state to its shorter context comes first, then one arc a word, by label.
    """
    num_states, num_futures, num_final = data.unpack("<qqq")
    counts = num_states, num_futures, num_final
    if min(counts) < 0 or 4 * (2 * num_states + 2 * num_futures + num_final) > data.remaining:
        raise Malformed(f"is cut off or damaged: an n-gram of {num_states} states")
    context = _bits(data, 2 * num_states + 1)
    future = _bits(data, num_futures + num_states + 1)
    is_final = _bits(data, num_states)
    words = data.array(np.dtype("<i4"), num_states + 1)
    labels = data.array(np.dtype("<i4"), num_futures)
    back_off = data.array(np.dtype("<f4"), num_states + 1)
    finals = data.array(np.dtype("<f4"), num_final)
    costs = data.array(np.dtype("<f4"), num_futures)
    children = _run_lengths(context, num_states)
    futures = _run_lengths(future, num_states)
    fits = num_states > START and children.sum() == num_states - 1
    fits &= futures.sum() == num_futures and is_final.sum() == num_final
    if not fits:
        raise Malformed("is damaged: its n-gram contexts do not form a tree")
    first = np.cumsum(children) - children + 1  # state 0 is the root
    parent = np.zeros(num_states, dtype=np.int64)
    parent[1:] = np.repeat(np.arange(num_states), children)
    if (parent[1:] >= np.arange(1, num_states)).any():
        raise Malformed("is damaged: an n-gram context backs off to a longer one")
    if _longest(parent) > _LONGEST:
        raise Malformed(f"has n-grams of more than {_LONGEST + 1} words")
    src = np.repeat(np.arange(num_states), futures)
    dst = _targets(src, labels, first, children, parent, words)
    final = np.full(num_states, -np.inf, dtype=np.float32)
    final[is_final] = -finals
    return _joined(src, dst, labels, costs, parent, back_off, final), START


def _joined(
    src: Ints,
    dst: Ints,
    labels: Ints,
    costs: npt.NDArray[np.float32],
    parent: Ints,
    back_off: npt.NDArray[np.float32],
    final: npt.NDArray[np.float32],
) -> Arcs:
    """Back-off arcs and arcs of words, in order; checked."""
    states = np.arange(1, len(final))
    scores = -np.concatenate([back_off[1 : len(final)], costs])
    if len(labels) and labels.min() <= 0:
        raise Malformed("has a word without a label")
    if not (scores < np.inf).all() or not (final < np.inf).all():
        raise Malformed("is damaged: a weight is not a number or minus infinity")
    arcs = Arcs(
        np.concatenate([states, src]).astype(np.int32),
        np.concatenate([parent[1:], dst]).astype(np.int32),
        np.concatenate([np.zeros(len(states)), labels]).astype(np.int32),
        np.concatenate([np.zeros(len(states)), labels]).astype(np.int32),
        scores.astype(np.float32),
        final,
    )
    order = np.lexsort((arcs.ilabel, arcs.src))
    return arcs.take(order[np.isfinite(arcs.score[order])])


def _bits(data: FileBytes, count: int) -> npt.NDArray[np.bool_]:
    """Bits that are stored in 64-bit words, the lowest first."""
    stored = data.take(8 * -(-count // 64))
    bits = np.unpackbits(np.frombuffer(stored, np.uint8), bitorder="little", count=count)
    return bits.astype(bool)


def _run_lengths(bits: npt.NDArray[np.bool_], num_states: int) -> npt.NDArray[np.int64]:
    """Number of ones between a zero and the next, of so many pairs of zeros."""
    zeros = np.flatnonzero(~bits)
    if len(zeros) != num_states + 1:
        raise Malformed("is damaged: its n-gram has another number of states than it names")
    return np.diff(zeros) - 1


@njit(cache=True)
def _longest(parent: Ints) -> Any:
    """Words of the longest context; a parent comes before its children."""
    depth = np.zeros(len(parent), dtype=np.int32)
    for state in range(1, len(parent)):
        depth[state] = depth[parent[state]] + 1
    return depth.max()


@njit(cache=True)
def _targets(
    src: Ints, labels: Ints, first: Ints, children: Ints, parent: Ints, words: Ints
) -> npt.NDArray[np.int32]:
    """The state with the longest context that the words of a state and a next word end with."""
    result = np.zeros(len(labels), dtype=np.int32)
    for arc in range(len(labels)):
        # The most recent word of a context is the child of the root that it is below.
        state, depth = src[arc], 0
        while state != 0:
            depth += 1
            state = parent[state]
        target = _child(0, labels[arc], first, children, words)
        found = target
        for level in range(1, depth + 1):
            if found < 0:
                break
            state = src[arc]
            for _ in range(depth - level):
                state = parent[state]
            found = _child(found, words[state], first, children, words)
            if found >= 0:
                target = found
        result[arc] = max(target, 0)
    return result


@njit(cache=True)
def _child(state: int, word: int, first: Ints, children: Ints, words: Ints) -> Any:
    """The child of a state with a word, by binary search; -1 for none."""
    low, high = first[state], first[state] + children[state]
    end = high
    while low < high:
        middle = (low + high) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    if low < end and words[low] == word:
        return low
    return -1
