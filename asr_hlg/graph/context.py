"""H∘C: hidden Markov models of phones whose pdfs depend on the phones before and after them.

C reads phones in context and writes phones (Mohri, Pereira & Riley 2002, "Weighted finite-state
transducers in speech recognition", section 3.2; figure 6a). A state of C is the last phone and the
set of phones from which the next one must come: the arc that enters a phone chooses such a set for
its right context, and the phone after it must keep that promise. So a phone is written on its first
frame, as without context, and times and alignments need nothing else. L∘G has one phone that comes
next within a word, hence composition keeps one choice there; at the end of a word it keeps those
that a next word fulfils, whose first phone is the right context.

>>> states = TiedStates.read(path, phones, num_states=1, context=3)
>>> HC = in_context(states, np.tile(left_to_right(1), (states.num_phones, 1, 1)))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Ints
from asr_hlg.graph.tied_states import Mask, TiedStates

Floats = npt.NDArray[np.float64]


class _Unit(NamedTuple):
    """A phone with the pdfs of its states and a right context: an HMM of H∘C."""

    phone: int
    pdfs: tuple[int, ...]
    right: int  # index of a set of right contexts of this phone


def in_context(states: TiedStates, transitions: Floats) -> Arcs:
    """Compose H with C, with one HMM for each phone, pdfs and set of right contexts.

    Parameters
    ----------
    states : TiedStates
    transitions : np.ndarray
        float64 ``(num_phones, num_states, num_states + 1)``: P(s'|s); see
        :func:`asr_hlg.graph.topology.hmm`.

    Returns
    -------
    Arcs
        Every arc reads a column. State 0 precedes the first frame and is final; an HMM is final if
        its right context may be the end of the recording. The score of an arc is log P(s'|s): C
        adds none.
    """
    rights, units, entered = _units(states)
    num_states = states.num_states
    first = 1 + np.arange(len(units)) * num_states  # first state of every unit
    exits = transitions[:, :, num_states]
    parts: list[Sequence[npt.NDArray[Any]]] = []
    final = np.full(1 + len(units) * num_states, -np.inf)
    final[0] = 0.0
    everything = np.ones(states.num_phones + 1, bool)
    parts.append(_enter(np.zeros(1, np.int64), np.zeros(1), 0, everything, units, first, entered))
    for index, unit in enumerate(units):
        matrix = transitions[unit.phone - 1]
        state, following = np.nonzero(matrix[:, :num_states])
        labels = np.array(unit.pdfs)[following]
        score = np.log(matrix[state, following])
        base = first[index]
        parts.append((base + state, base + following, labels, np.zeros_like(labels), score))
        out = np.flatnonzero(exits[unit.phone - 1])
        scores = np.log(exits[unit.phone - 1, out])
        allowed = rights[unit.phone][unit.right]
        parts.append(_enter(base + out, scores, unit.phone, allowed, units, first, entered))
        if allowed[0]:
            final[base + out] = scores
    return sorted_arcs([np.concatenate(column) for column in zip(*parts, strict=True)], final)


def context_transducer(phones: Sequence[str], context: int) -> tuple[Arcs, list[str]]:
    """C alone, over all phones in context, for pictures.

    Parameters
    ----------
    phones : sequence of str
        ``<eps>`` first.
    context : int
        2 or 3.

    Returns
    -------
    arcs : Arcs
        Reads phones in context, writes phones.
    names : list of str
        The phones in context, as HTK writes them: ``l-p+r``, with ``#`` for the edge.
    """
    size = len(phones)
    shape = size, 1, size, size if context == 3 else 1
    table = 1 + np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    edge = ["#", *phones[1:]]
    names = ["<eps>"]
    for p, _, left, right in np.ndindex(shape):
        names.append(f"{edge[left]}-{phones[p]}" + (f"+{edge[right]}" if context == 3 else ""))
    arcs = in_context(TiedStates(tuple(names), table), np.tile([[0.0, 1.0]], (size - 1, 1, 1)))
    return arcs, names


def sorted_arcs(columns: Sequence[npt.NDArray[Any]], final: Floats) -> Arcs:
    """Arcs of the columns src, dst, ilabel, olabel and score, sorted as k2 needs them."""
    src, dst, ilabel, olabel = (np.asarray(column, dtype=np.int32) for column in columns[:4])
    score = np.asarray(columns[4], dtype=np.float32)
    arcs = Arcs(src, dst, ilabel, olabel, score, np.asarray(final, dtype=np.float32))
    return arcs.take(np.lexsort([dst, ilabel, src]))


def _units(states: TiedStates) -> tuple[list[list[Mask]], list[_Unit], list[list[Ints]]]:
    """Right contexts of every phone, all units, and which units can be entered.

    ``entered[left][phone]`` are the units of a phone after a phone, one for every set of its right
    contexts. Right contexts with the same pdfs for all left contexts are one set.
    """
    size = states.num_phones + 1
    rights: list[list[Mask]] = [[]]
    index: dict[_Unit, int] = {}
    entered: list[list[Ints]] = [[np.zeros(0, np.int64)] for _ in range(size)]
    for phone in range(1, size):
        pdfs = states.table[phone]  # (states, left, right)
        kinds, kind = np.unique(pdfs.reshape(-1, pdfs.shape[2]), axis=1, return_inverse=True)
        kind = np.broadcast_to(kind.reshape(-1), size)
        rights.append([kind == number for number in range(kinds.shape[1])])
        by_left = kinds.reshape(*pdfs.shape[:2], -1)  # (states, left, sets of right contexts)
        for left in range(size):
            column = by_left[:, min(left, by_left.shape[1] - 1)]
            units = [_Unit(phone, tuple(p), r) for r, p in enumerate(column.T.tolist())]
            entered[left].append(np.array([index.setdefault(u, len(index)) for u in units]))
    return rights, list(index), entered


def _enter(
    src: Ints,
    scores: Floats,
    left: int,
    allowed: Mask,
    units: Sequence[_Unit],
    first: Ints,
    entered: Sequence[Sequence[Ints]],
) -> tuple[Ints, Ints, Ints, Ints, Floats]:
    """Arcs from states of a phone to the first states of the units that may follow."""
    phones = np.flatnonzero(allowed[1:]) + 1
    targets = np.concatenate([np.zeros(0, np.int64), *(entered[left][p] for p in phones)])
    labels = np.array([units[unit].pdfs[0] for unit in targets], np.int64)
    written = np.array([units[unit].phone for unit in targets], np.int64)
    count = len(targets)
    return (
        np.repeat(src, count),
        np.tile(first[targets], len(src)),
        np.tile(labels, len(src)),
        np.tile(written, len(src)),
        np.repeat(scores, count),
    )
