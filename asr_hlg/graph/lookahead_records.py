"""Arrays of HCL, G and their composition, as :mod:`asr_hlg.graph.lookahead_kernels` takes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Structs = Any
Index = Any

FREE = -1
"""Mode of a pair in which G may follow its ε-arcs: the start, and after a word."""

BOUND = -2
"""Mode of a pair in which G waits for a word, whose probability is on the arcs before. Larger
modes are the word that has been written already, and that HCL is still to read."""

HCL_STATE = np.dtype([("first", "<i4"), ("interval", "<i4"), ("final", "<f4")])
HCL_ARC = np.dtype([("dst", "<i4"), ("score", "<f4"), ("word", "<i4"), ("label", "<i4")])
INTERVAL = np.dtype([("begin", "<i4"), ("end", "<i4")])
LABEL = np.dtype([("column", "<i4"), ("phone", "<i4")])
G_STATE = np.dtype([("first", "<i4"), ("sum", "<i4"), ("final", "<f4")])

FEW = 32
"""Words whose probabilities are summed one by one; of more, sums are stored."""

PAIR = np.dtype([("h", "<i4"), ("g", "<i4"), ("mode", "<i4"), ("ahead", "<f8")], align=True)
"""States of HCL and of G, and the log-probability that arcs before the pair have in advance."""

NOT_COMPOSED = 0xFFFFFFFF
"""``eps_first`` of a state whose arcs are not there."""

PAIRS, ARCS, EPS_ARCS = 0, 1, 2  # entries of a composition's ``size``


class Source(NamedTuple):
    """Arrays of :class:`asr_hlg.graph.lookahead.LookAhead`."""

    hcl_states: Structs
    hcl_arcs: Structs
    intervals: Structs
    labels: Structs
    g_states: Structs
    g_dst: Ints
    g_word: Ints
    g_score: Floats
    g_sum: Floats
    final_label: Ints


def read_only(array: Structs) -> Structs:
    """A view that cannot be written, as a graph's file is mapped, for which numba compiles once."""
    view = array.view()
    view.flags.writeable = False
    return view


NO_SOURCE = Source(
    *(
        read_only(np.zeros(0, dtype))
        for dtype in (
            HCL_STATE,
            HCL_ARC,
            INTERVAL,
            LABEL,
            G_STATE,
            np.int32,
            np.int32,
            np.float32,
            np.float64,
            np.int32,
        )
    )
)
"""Of an automaton that needs no composition."""


class Composition(NamedTuple):
    """States of HCL∘G that have been composed or are the target of an arc, as arrays that fill.

    States have even numbers, and state s is ``pairs[s // 2]``. As in
    :class:`asr_hlg.graph.packed_fst.PackedFst` its arcs end where those of record s + 1 of
    ``states`` begin, but that record belongs to no state: states are composed in any order.

    Attributes
    ----------
    source : Source
    pairs : np.ndarray
        `PAIR` records; their number is the capacity.
    slots : np.ndarray
        int32: hash table of pairs, as their indices plus one; 0 is free.
    states, arcs, words, phones, eps_arcs, eps_words, final : np.ndarray
        As in :class:`asr_hlg.graph.packed_fst.PackedFst`, with words in place of rows of spellings.
    size : np.ndarray
        int64 ``(3,)``: how many pairs, arcs and ε-arcs there are.
    """

    source: Source
    pairs: Structs
    slots: Ints
    states: Structs
    arcs: Structs
    words: npt.NDArray[np.int32]
    phones: npt.NDArray[np.int32]
    eps_arcs: Structs
    eps_words: npt.NDArray[np.int32]
    final: Floats
    size: Ints
