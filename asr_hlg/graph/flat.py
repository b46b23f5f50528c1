"""A decoding graph's automaton as numpy arrays, to which arcs and states can be added.

The millions of arcs are copied once; nothing is sorted or composed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import k2
import numpy as np
import torch


@dataclass(frozen=True)
class FlatGraph:
    """Arcs of H∘L∘G, sorted by source; the last state is the only final one.

    Attributes
    ----------
    packed : np.ndarray
        int32 ``(num_arcs, 4)``: source, destination, column (-1 to the final state) and the bits
        of a float32 score, as k2 has them.
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

    @property
    def num_arcs(self) -> int:
        return len(self.packed)

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
        words = self.words[expand(begin, end)[0]]
        splits = np.concatenate([[0], np.cumsum(end - begin)]).astype(np.int32)
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
        word_position = self.word_splits[position]

        packed = np.insert(self.packed, position, more.packed, axis=0)
        ends = packed[:, :2]
        ends[packed[:, 0] > last, 0] -= 1
        moved = packed[:, 1] >= last
        ends[moved, 1] = np.where(ends[moved, 1] == last, last + added, ends[moved, 1] - 1)
        new_counts, counts = np.diff(more.word_splits), np.diff(self.word_splits)
        words = np.insert(self.words, np.repeat(word_position, new_counts), more.words)
        splits = np.append(0, np.cumsum(np.insert(counts, position, new_counts)))
        return FlatGraph(
            packed,
            np.insert(self.phones, position, more.phones),
            words,
            splits.astype(np.int32),
            more.num_states,
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
