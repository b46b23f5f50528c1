"""HCL and G with label look-ahead, whose composition is made state by state.

Kaldi's small models come as HCLr.fst and Gr.fst, which are composed during the search. HCLr has
for each state the intervals of word labels that it can reach. A pair of states is kept only if
such a word is on an arc of G's state; the summed probability of these words is put on the arc that
leads there, instead of on the word's own arc; and a word that is the only one left is written at
once. See Allauzen, Riley & Schalkwyk 2009, "A Generalized Composition Algorithm for Weighted
Finite-State Transducers". The result has the states and scores that OpenFst's ``ComposeFst`` gives
with the type ``olabel_lookahead``, so that a beam prunes the same tokens.

look_ahead = LookAhead.of(hcl, reach, g, labels)
look_ahead.composition(1 << 20)        # for a search, which adds the states that it visits
look_ahead.packed()                    # all states
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Ints
from asr_hlg.fst.openfst import Reach
from asr_hlg.graph import lookahead_kernels as kernels
from asr_hlg.graph.lookahead_records import (
    FEW,
    G_STATE,
    HCL_ARC,
    HCL_STATE,
    INTERVAL,
    PAIRS,
    Composition,
    Source,
    read_only,
)
from asr_hlg.graph.packed import STATE, PackedArrays, Records
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.threads import interruptible


@dataclass(frozen=True)
class LookAhead(PackedArrays):
    """HCL and G as arrays sorted by state; both start in state 0.

    Attributes
    ----------
    hcl_states : np.ndarray
        `HCL_STATE` records ``(num_states + 1,)``: state s has the arcs ``hcl_states[s].first`` to
        ``hcl_states[s + 1].first - 1``, and the intervals likewise from ``interval``; final score,
        ``-inf`` where a state is not final.
    hcl_arcs : np.ndarray
        `HCL_ARC` records: ``label`` is a row of ``labels``; ``word`` 0 is none.
    intervals : np.ndarray
        `INTERVAL` records: words ``begin`` to ``end - 1`` that a state reaches before it writes
        another.
    labels : np.ndarray
        `LABEL` records: column of the posteriors, -1 for ε and disambiguation symbols, and the
        phone that begins on an arc with the label, 0 for none.
    g_states : np.ndarray
        `G_STATE` records ``(num_states + 1,)``: where arcs and sums begin, and final scores. States
        with less than `FEW` arcs have no sums.
    g_dst, g_word, g_score : np.ndarray
        int32, int32 and float32: arcs of G by state and word; word 0 is ε.
    g_sum : np.ndarray
        float64: sums of the probabilities of a state's words, up to and with every arc.
    final_label : np.ndarray
        int32 ``(1,)``: the label in ``intervals`` for reaching a final state without a word.
    """

    hcl_states: Records
    hcl_arcs: Records
    intervals: Records
    labels: Records
    g_states: Records
    g_dst: npt.NDArray[np.int32]
    g_word: npt.NDArray[np.int32]
    g_score: npt.NDArray[np.float32]
    g_sum: npt.NDArray[np.float64]
    final_label: npt.NDArray[np.int32]

    view: ClassVar[str] = "look_ahead"

    @staticmethod
    def of(hcl: Arcs, reach: Reach, g: Arcs, labels: Records) -> LookAhead:
        """Arrays of two automata.

        Parameters
        ----------
        hcl : Arcs
            Transition-ids to words, sorted by source.
        reach : Reach
            The words that every state of ``hcl`` can reach before it writes another.
        g : Arcs
            Acceptor of words, sorted by source; label 0 is ε.
        labels : np.ndarray
            `LABEL` records: what the input labels of ``hcl`` stand for.
        """
        hcl_states = np.zeros(hcl.num_states + 1, HCL_STATE)
        hcl_states["first"], hcl_states["interval"] = hcl.row_splits, reach.splits
        hcl_states["final"][:-1] = hcl.final
        hcl_arcs = np.empty(hcl.num_arcs, HCL_ARC)
        for name, column in (
            ("dst", hcl.dst),
            ("score", hcl.score),
            ("word", hcl.olabel),
            ("label", hcl.ilabel),
        ):
            hcl_arcs[name] = column
        intervals = np.empty(len(reach.begin), INTERVAL)
        intervals["begin"], intervals["end"] = reach.begin, reach.end
        g = _sorted_by_label(g)
        g_states = np.zeros(g.num_states + 1, G_STATE)
        g_states["first"], g_states["final"][:-1] = g.row_splits, g.final
        counts = np.diff(g.row_splits)
        g_states["sum"][1:] = np.cumsum(np.where(counts < FEW, 0, counts))
        return LookAhead(
            hcl_states,
            hcl_arcs,
            intervals,
            labels,
            g_states,
            np.ascontiguousarray(g.dst, np.int32),
            np.ascontiguousarray(g.ilabel, np.int32),
            np.ascontiguousarray(g.score, np.float32),
            kernels.sums(g_states, g.ilabel, g.score),
            np.array([reach.final_label], np.int32),
        )

    @property
    def num_states(self) -> int:
        """Number of states of both automata."""
        return len(self.hcl_states) + len(self.g_states) - 2

    @property
    def num_arcs(self) -> int:
        """Number of arcs of both automata."""
        return len(self.hcl_arcs) + len(self.g_word)

    @property
    def largest_word(self) -> int:
        """The largest label of a word in G."""
        return int(self.g_word.max(initial=0))

    def composition(self, capacity: int) -> Composition:
        """A composition of which the start state is known, with room for so many states."""
        return kernels.new(Source(*map(read_only, self.arrays.values())), capacity)

    def packed(self) -> PackedFst:
        """The whole composition."""
        return _packed(_composed(self.composition(1 << 12), lambda composition: False))

    def accepts_anything(self) -> bool:
        """Whether the composition has a final state."""

        def has_final(composition: Composition) -> bool:
            return bool(np.isfinite(composition.final[: 2 * composition.size[PAIRS] : 2]).any())

        return has_final(_composed(self.composition(1 << 12), has_final))


def _sorted_by_label(g: Arcs) -> Arcs:
    later, same = g.src[1:] > g.src[:-1], g.ilabel[1:] >= g.ilabel[:-1]
    return g if (later | same).all() else g.take(np.lexsort((g.ilabel, g.src)))


def _composed(composition: Composition, enough: Callable[[Composition], bool]) -> Composition:
    """Compose state by state, with twice the room whenever there is none, until it is enough."""
    done = 0
    while True:
        done = interruptible(kernels.compose_all, composition, done)
        if done == composition.size[PAIRS] or enough(composition):
            return composition
        composition = _enlarged(composition)


def _enlarged(composition: Composition) -> Composition:
    """The same pairs and arcs, with twice the room."""
    larger = kernels.new(composition.source, 2 * len(composition.pairs))
    kernels.add_pairs(larger, composition.pairs[1 : composition.size[PAIRS]])
    for name in composition._fields[3:-1]:
        array = getattr(composition, name)
        getattr(larger, name)[: len(array)] = array
    larger.size[:] = composition.size
    return larger


def _packed(composition: Composition) -> PackedFst:
    """A composition of which all states are composed, in their order."""
    num_pairs, num_arcs, num_eps = composition.size.tolist()
    states = np.empty(num_pairs + 1, STATE)
    states[:-1] = composition.states[: 2 * num_pairs : 2]
    states[-1] = num_arcs, num_eps, -np.inf
    arcs, eps_arcs = composition.arcs[:num_arcs].copy(), composition.eps_arcs[:num_eps].copy()
    for records in (arcs, eps_arcs):
        records["dst"] //= 2
    words, eps_words = composition.words[:num_arcs], composition.eps_words[:num_eps]
    ids = np.union1d(np.union1d(np.zeros(1, np.int32), words), eps_words)
    return PackedFst(
        states,
        arcs,
        _rows(words, ids),
        composition.phones[:num_arcs].copy(),
        eps_arcs,
        _rows(eps_words, ids),
        composition.final[: 2 * num_pairs : 2].copy(),
        ids[1:].astype(np.int32),
        np.append(0, np.arange(len(ids))).astype(np.int32),
    )


def _rows(words: Ints, ids: Ints) -> npt.NDArray[np.int32]:
    """Position of every word in sorted ids; most arcs have none, which is at position 0."""
    rows = np.zeros(len(words), np.int32)
    written = np.flatnonzero(words)
    rows[written] = np.searchsorted(ids, words[written])
    return rows
