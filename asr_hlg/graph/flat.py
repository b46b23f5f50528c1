"""A graph's automaton as numpy arrays, to which arcs and states can be added.

The millions of arcs are copied once; nothing is sorted or composed again. It serves for H∘L∘G and
for L∘G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import k2
import numpy as np
import torch

from asr_hlg.fst.arcs import Arcs


@dataclass(frozen=True)
class FlatGraph:
    """Arcs sorted by source; the last state is the only final one.

    Attributes
    ----------
    packed : np.ndarray
        int32 ``(num_arcs, 4)``: source, destination, label (-1 to the final state) and the bits
        of a float32 score, as k2 has them. Labels are columns of posteriors in H∘L∘G, tokens or
        0 for ε in L∘G.
    phones : np.ndarray
        int32 ``(num_arcs,)``: the token that begins on an arc, 0 for none.
    words, word_splits : np.ndarray
        int32: arc i writes ``words[word_splits[i]:word_splits[i + 1]]``.
    num_states : int
        With the final state.
    """

    packed: np.ndarray
    phones: np.ndarray
    words: np.ndarray
    word_splits: np.ndarray
    num_states: int

    @staticmethod
    def of(fsa: k2.Fsa) -> FlatGraph:
        """The arrays of a graph on the CPU; they are the graph's own."""
        aux = fsa.aux_labels
        if isinstance(aux, torch.Tensor):
            aux = k2.RaggedTensor(aux.unsqueeze(1)).remove_values_leq(0)
        splits = aux.shape.row_splits(1).numpy()
        packed = fsa.arcs.values().numpy()
        return FlatGraph(packed, fsa.phones.numpy(), aux.values.numpy(), splits, int(fsa.shape[0]))

    @staticmethod
    def of_lg(lg: Arcs) -> FlatGraph:
        """L∘G with a final state of its own behind those that may end."""
        ends = np.flatnonzero(np.isfinite(lg.final))
        src = np.concatenate([lg.src, ends])
        order = np.argsort(src, kind="stable")
        dst = np.concatenate([lg.dst, np.full(len(ends), lg.num_states)])[order]
        label = np.concatenate([lg.ilabel, np.full(len(ends), -1)])[order]
        word = np.concatenate([lg.olabel, np.zeros(len(ends), dtype=np.int32)])[order]
        score = np.concatenate([lg.score, lg.final[ends]])[order]
        has = word > 0
        return FlatGraph.of_columns(
            src[order], dst, label, score, word[has], has, lg.num_states + 1
        )

    @staticmethod
    def of_columns(
        src: np.ndarray,
        dst: np.ndarray,
        label: np.ndarray,
        score: np.ndarray,
        words: np.ndarray,
        num_words: np.ndarray,
        num_states: int,
    ) -> FlatGraph:
        """Arcs of L∘G in the order of their sources; each has the next ``num_words`` words."""
        packed = np.empty((len(src), 4), dtype=np.int32)
        packed[:, 0], packed[:, 1], packed[:, 2] = src, dst, label
        packed.view(np.float32)[:, 3] = score
        splits = np.append(0, np.cumsum(num_words)).astype(np.int32)
        phones = np.maximum(packed[:, 2], 0)
        return FlatGraph(packed, phones, words.astype(np.int32), splits, num_states)

    def to_lg(self) -> Arcs:
        """L∘G as it was before `of_lg`; no arc has more than one word."""
        ends = self.packed[:, 2] == -1
        final = np.full(self.num_states - 1, -np.inf, dtype=np.float32)
        final[self.packed[ends, 0]] = self.score[ends]
        src, dst, label, _ = self.packed[~ends].T
        return Arcs(src, dst, label, self.first_word[~ends], self.score[~ends], final)

    @property
    def num_arcs(self) -> int:
        return len(self.packed)

    @property
    def first_word(self) -> np.ndarray:
        """int32 ``(num_arcs,)``: the first word of every arc, 0 for none."""
        word = np.zeros(self.num_arcs, dtype=np.int32)
        has = np.flatnonzero(np.diff(self.word_splits))
        word[has] = self.words[self.word_splits[has]]
        return word

    @property
    def score(self) -> np.ndarray:
        """float32 ``(num_arcs,)``, the memory of ``packed``."""
        return self.packed.view(np.float32)[:, 3]

    @cached_property
    def first_arc(self) -> np.ndarray:
        """int64 ``(num_states + 1,)``: where the arcs of every state begin."""
        counts = np.bincount(self.packed[:, 0], minlength=self.num_states)
        return np.concatenate([[0], np.cumsum(counts)])

    def leaving(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All arcs that leave some states, and for each the position of its state in ``states``."""
        return expand(self.first_arc[states], self.first_arc[states + 1])

    def take(self, arcs: np.ndarray) -> FlatGraph:
        """Only these arcs, in the order given, with the same states."""
        begin, end = self.word_splits[arcs], self.word_splits[arcs + 1]
        counts = end - begin
        single = counts.max(initial=0) <= 1  # nearly always, and quicker
        words = self.words[begin[counts == 1] if single else expand(begin, end)[0]]
        splits = np.zeros(len(arcs) + 1, dtype=np.int32)
        np.cumsum(counts, out=splits[1:])
        return FlatGraph(self.packed[arcs], self.phones[arcs], words, splits, self.num_states)

    def renumbered(self, number: np.ndarray) -> FlatGraph:
        """With ``number[s]`` for every state s."""
        packed = self.packed.copy()
        packed[:, :2] = number[packed[:, :2]]
        return replace(self, packed=packed)

    @staticmethod
    def together(parts: Sequence[FlatGraph], num_states: int) -> FlatGraph:
        """The arcs of several graphs that number the same states, in the order of sources."""
        counts = np.concatenate([np.diff(part.word_splits) for part in parts])
        packed = np.concatenate([part.packed for part in parts])
        return FlatGraph(
            packed,
            np.concatenate([part.phones for part in parts]),
            np.concatenate([part.words for part in parts]),
            np.append(0, np.cumsum(counts)).astype(np.int32),
            num_states,
        ).take(np.argsort(packed[:, 0], kind="stable"))

    def extended(self, more: FlatGraph) -> FlatGraph:
        """With the arcs of ``more`` besides its own.

        ``more`` numbers this graph's states as it does, its final state included; states that it
        adds come after that one. The result has them before the final state, which stays last.
        """
        last, added = self.num_states - 1, more.num_states - self.num_states
        position = np.append(self.first_arc, [self.num_arcs] * added)[more.packed[:, 0] + 1]
        packed = _insert(self.packed, position, more.packed)
        ends = packed[:, :2]
        ends[packed[:, 0] > last, 0] -= 1
        moved = packed[:, 1] >= last
        ends[moved, 1] = np.where(ends[moved, 1] == last, last + added, ends[moved, 1] - 1)
        counts = np.diff(more.word_splits)
        words = _insert(self.words, np.repeat(self.word_splits[position], counts), more.words)
        all_counts = _insert(np.diff(self.word_splits), position, counts)
        splits = np.zeros(len(packed) + 1, dtype=np.int32)
        np.cumsum(all_counts, out=splits[1:])
        return FlatGraph(
            packed, _insert(self.phones, position, more.phones), words, splits, more.num_states
        )

    def to_fsa(self) -> k2.Fsa:
        """The automaton for search, with the attributes of :class:`DecodingGraph`."""
        splits = torch.from_numpy(self.word_splits)
        shape = k2.ragged.create_ragged_shape2(splits, None, len(self.words))
        words = k2.RaggedTensor(shape, torch.from_numpy(self.words))
        fsa = k2.Fsa(torch.from_numpy(self.packed), aux_labels=words)
        fsa.phones = torch.from_numpy(self.phones)
        fsa.graph_scores = fsa.scores.clone()
        return fsa


def expand(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of some ranges, and the position of each one's range."""
    counts = end - begin
    owner = np.repeat(np.arange(len(counts)), counts)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(begin, counts) + offset, owner


def splits(src: np.ndarray, num_states: int) -> np.ndarray:
    """int32 ``(num_states + 1,)``: where the arcs of every state begin, given their sources."""
    counts = np.bincount(src, minlength=num_states)
    return np.append(0, np.cumsum(counts)).astype(np.int32)


def reached(src: np.ndarray, dst: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Which states some others lead to, themselves included.

    Parameters
    ----------
    src, dst : np.ndarray
        Arcs in the order of ``src``.
    start : np.ndarray
        bool ``(num_states,)``.
    """
    first = splits(src, len(start))
    found, frontier = start.copy(), np.flatnonzero(start)
    while len(frontier):
        behind = dst[expand(first[frontier], first[frontier + 1])[0]]
        frontier = np.unique(behind[~found[behind]])
        found[frontier] = True
    return found


def among(values: np.ndarray, few: np.ndarray) -> np.ndarray:
    """As ``np.isin`` for a sorted array of few, without sorting the values."""
    if not len(few):
        return np.zeros(len(values), dtype=bool)
    return few[np.minimum(np.searchsorted(few, values), len(few) - 1)] == values


def _insert(array: np.ndarray, position: np.ndarray, values: np.ndarray) -> np.ndarray:
    """As ``np.insert`` for ascending positions, in blocks: most of a graph stays in one piece."""
    if not len(position):
        return array.copy()
    places, first = np.unique(position, return_index=True)
    old, new = np.split(array, places), np.split(values, first[1:])
    pieces = [old[0], *(piece for pair in zip(new, old[1:], strict=True) for piece in pair)]
    return np.concatenate(pieces)
