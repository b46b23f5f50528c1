"""States of an automaton with explicit labels: all, or those that searches have composed so far.

A state's arcs are the same whenever they are composed, so that forgetting states costs time only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.lookahead_kernels import add_pairs, empty
from asr_hlg.graph.lookahead_records import Composition, read_only
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.search.fst_records import FstArrays, FstOutputs, FstTokens, Structs

Numbers = npt.NDArray[np.int64]


class PackedStates:
    """All states of a packed automaton.

    Attributes
    ----------
    arrays : FstArrays
    outputs : FstOutputs
    """

    def __init__(self, fst: PackedFst):
        arrays = {name: read_only(array) for name, array in fst.arrays.items()}
        self.arrays = FstArrays(*(arrays.pop(name) for name in ("states", "arcs", "eps_arcs")))
        self.outputs = FstOutputs(**arrays)

    def names(self, states: Numbers) -> Numbers:
        """Numbers of states that stay the same throughout a search."""
        return states


class ComposedStates:
    """States of HCL∘G for one search at a time.

    Parameters
    ----------
    graph : LookAhead
    spellings : tuple of np.ndarray
        `spellings` and `spelling_splits` of :class:`asr_hlg.graph.packed_fst.PackedFst`, in which
        row i is word i.
    capacity : int
        States for which there is room.

    Attributes
    ----------
    arrays : FstArrays
    outputs : FstOutputs
        Both are replaced by :meth:`forget`.
    """

    def __init__(self, graph: LookAhead, spellings: Structs, capacity: int):
        self._graph, self._spellings, self._capacity = graph, spellings, capacity
        self._hold(graph.composition(capacity))

    def _hold(self, composition: Composition) -> None:
        self._composition = composition
        states, arcs, words, phones, eps_arcs, eps_words, final = map(read_only, composition[3:-1])
        self.arrays = FstArrays(states, arcs, eps_arcs, composition)
        self.outputs = FstOutputs(final, words, phones, eps_words, *self._spellings)

    def forget(self, tokens: FstTokens, larger: bool = False) -> None:
        """Keep only what tokens and links need: the pairs of states, and the arcs of links.

        States of tokens and arcs of links get new numbers, which are written into the records. The
        arcs of links then belong to no state: no state has arcs before it is composed again.

        Parameters
        ----------
        tokens : FstTokens
            All that the search has recorded.
        larger : bool
            Make twice as much room as there is.
        """
        old, state = self._composition, tokens.tokens["state"]
        pairs, arcs, eps_arcs = (
            _used(array, numbers)
            for array, numbers in (
                (old.pairs, np.append(0, state // 2)),  # the start comes first
                (old.arcs, tokens.links["arc"]),
                (old.eps_arcs, tokens.eps_links["arc"]),
            )
        )
        kept = {name: getattr(old, name)[arcs] for name in ("arcs", "words", "phones")}
        kept |= {name: getattr(old, name)[eps_arcs] for name in ("eps_arcs", "eps_words")}
        kept_pairs = old.pairs[pairs[1:]]
        capacity = 2 * len(old.pairs) if larger else self._capacity
        capacity = max(capacity, 2 * len(pairs), len(arcs), 2 * len(eps_arcs))
        if capacity == len(old.pairs):
            empty(new := old)
        else:
            new = self._graph.composition(capacity)
        add_pairs(new, kept_pairs)
        for name, records in kept.items():
            getattr(new, name)[: len(records)] = records
        new.size[1:] = len(arcs), len(eps_arcs)
        tokens.tokens["state"] = 2 * np.searchsorted(pairs, state // 2)
        tokens.links["arc"] = np.searchsorted(arcs, tokens.links["arc"])
        tokens.eps_links["arc"] = np.searchsorted(eps_arcs, tokens.eps_links["arc"])
        self._hold(new)

    def names(self, states: Numbers) -> Numbers:
        """Numbers of states that stay the same when states are forgotten; -1 for -1."""
        pairs = self._composition.pairs[states // 2]
        names = pairs["h"] * np.int64(len(self._graph.g_states)) + pairs["g"]
        names = names * len(self.outputs.spelling_splits) + (pairs["mode"] + 2)
        return np.where(states < 0, -1, names)


def _used(array: Structs, numbers: npt.NDArray[Any]) -> Numbers:
    """Different ones of numbers of an array's records, in order."""
    is_used = np.zeros(len(array), np.bool_)
    is_used[numbers] = True
    return np.flatnonzero(is_used)
