"""Index arithmetic on arrays of arcs that are sorted by their source state."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


def row_splits(src: Ints, num_states: int) -> npt.NDArray[np.int32]:
    """Position of the first arc of every state, and the number of arcs at the end.

    Returns
    -------
    np.ndarray
        int32 ``(num_states + 1,)``.
    """
    counts = np.bincount(src, minlength=num_states)
    return np.append(0, np.cumsum(counts)).astype(np.int32)


def expand_ranges(begin: Ints, end: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All indices of the ranges ``begin[i]`` to ``end[i] - 1``, and the number i of each."""
    counts = end - begin
    owner = np.repeat(np.arange(len(counts)), counts)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(begin, counts) + offset, owner


def reachable(src: Ints, dst: Ints, start: Bools) -> Bools:
    """States that can be reached from some start states, these included.

    Parameters
    ----------
    src, dst : np.ndarray
        Arcs sorted by ``src``.
    start : np.ndarray
        bool ``(num_states,)``.
    """
    first = row_splits(src, len(start))
    reached, frontier = start.copy(), np.flatnonzero(start)
    while len(frontier):
        targets = dst[expand_ranges(first[frontier], first[frontier + 1])[0]]
        frontier = np.unique(targets[~reached[targets]])
        reached[frontier] = True
    return reached


def isin_sorted(values: Ints, members: Ints) -> Bools:
    """Membership of every value in a short sorted array; the values need not be sorted."""
    if not len(members):
        return np.zeros(len(values), dtype=bool)
    nearest = members[np.minimum(np.searchsorted(members, values), len(members) - 1)]
    return np.asarray(nearest == values)
