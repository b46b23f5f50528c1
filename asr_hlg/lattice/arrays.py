"""One utterance's lattice as numpy arrays: over frames, and over words.

k2 searches and sums over whole batches. Unique word sequences, times and posteriors of words are
computed here, from the few thousand arcs of one utterance, on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.arcs import k2_fsa
from asr_hlg.lattice import kernels
from asr_hlg.lattice.compact import CompactLattice

if TYPE_CHECKING:
    import k2

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_HISTORIES = 50_000
"""Word histories that a summed ranking expands before it ranks candidates only."""


@dataclass(frozen=True)
class FrameArcs:
    """Arcs of one utterance's lattice, each one frame long; states are in topological order.

    All arrays but ``words`` have shape ``(num_arcs,)``.

    Attributes
    ----------
    src, dst : np.ndarray
        int32 states; 0 is the start, ``num_states - 1`` the only final state.
    label : np.ndarray
        int32 column of the posteriors, -1 on arcs into the final state.
    phone : np.ndarray
        int32 token of the lexicon that begins here, else 0.
    frame : np.ndarray
        int32 frame index.
    score, graph_score : np.ndarray
        float64 total score, and the graph's share of it.
    words, word_splits : np.ndarray
        int32 word ids; arc i has ``words[word_splits[i]:word_splits[i + 1]]``.
    compact : CompactLattice or None
        The lattice over words, if the search determinized it as it went on.
    """

    num_states: int
    src: Ints
    dst: Ints
    label: Ints
    phone: Ints
    frame: Ints
    score: Floats
    graph_score: Floats
    words: Ints
    word_splits: Indices
    compact: CompactLattice | None = None

    @property
    def num_arcs(self) -> int:
        """The number of arcs."""
        return len(self.src)

    @staticmethod
    def unpack(fsas: k2.Fsa) -> list[FrameArcs]:
        """The utterances of an FsaVec."""
        states = fsas.arcs.shape().row_splits(1).cpu().numpy()
        arc_splits = fsas.arcs.shape().row_splits(2).cpu().numpy()
        packed = fsas.arcs.values().cpu().numpy()
        phone, frame, graph_score = (
            getattr(fsas, name).cpu().numpy() for name in ("phones", "frames", "graph_scores")
        )
        score = fsas.scores.detach().double().cpu().numpy()
        words, splits = _aux_words(fsas)
        utterances = []
        for i in range(len(states) - 1):
            begin, end = arc_splits[states[i]], arc_splits[states[i + 1]]
            arcs = slice(begin, end)
            word_splits = splits[begin : end + 1]
            utterances.append(
                FrameArcs(
                    int(states[i + 1] - states[i]),
                    packed[arcs, 0],
                    packed[arcs, 1],
                    packed[arcs, 2],
                    phone[arcs],
                    frame[arcs],
                    score[arcs],
                    graph_score[arcs].astype(np.float64),
                    words[word_splits[0] : word_splits[-1]],
                    word_splits - word_splits[0],
                )
            )
        return utterances

    @staticmethod
    def pack(utterances: Sequence[FrameArcs]) -> k2.Fsa:
        """Utterances as an FsaVec; the inverse of :meth:`unpack`."""
        import k2
        import torch

        fsas = []
        for arcs in utterances:
            splits = torch.from_numpy(arcs.word_splits.astype(np.int32))
            shape = k2.ragged.create_ragged_shape2(splits, None, len(arcs.words))
            words = k2.RaggedTensor(shape, torch.from_numpy(arcs.words.astype(np.int32)))
            fsa = k2_fsa(arcs.src, arcs.dst, arcs.label, arcs.score.astype(np.float32), words)
            fsa.phones = torch.from_numpy(arcs.phone)
            fsa.frames = torch.from_numpy(arcs.frame)
            fsa.graph_scores = torch.from_numpy(arcs.graph_score.astype(np.float32))
            fsas.append(fsa)
        return k2.create_fsa_vec(fsas)

    @cached_property
    def word_lattice(self) -> WordLattice:
        """The same lattice with at most one word per arc, and the frame arc of every arc."""
        count = np.diff(self.word_splits)
        pieces = np.maximum(count, 1)
        arc = np.repeat(np.arange(self.num_arcs), pieces)
        first = np.cumsum(pieces) - pieces
        piece = np.arange(len(arc)) - first[arc]
        last = piece == pieces[arc] - 1
        word = np.zeros(len(arc), dtype=np.int32)
        has = count[arc] > 0
        word[has] = self.words[(self.word_splits[arc] + piece)[has]]
        # States inside a divided arc get numbers just after the arc's source, which keeps the
        # order topological: old states are (state, 0), new ones (source, how many before).
        inner = np.flatnonzero(~last)
        rank = np.arange(len(inner)) + 1
        keys = np.concatenate([np.arange(self.num_states), self.src[arc[inner]]])
        ranks = np.concatenate([np.zeros(self.num_states, dtype=np.int64), rank])
        order = np.lexsort((ranks, keys))
        number = np.empty(len(order), dtype=np.int32)
        number[order] = np.arange(len(order))
        src = number[self.src[arc]]
        dst = number[self.dst[arc]]
        dst[inner] = number[self.num_states + np.arange(len(inner))]
        src[inner + 1] = dst[inner]
        score = np.where(piece == 0, self.score[arc], 0.0)
        by_src = np.argsort(src, kind="stable")
        return WordLattice(
            len(order),
            src[by_src],
            dst[by_src],
            word[by_src],
            score[by_src],
            np.where(piece == 0, arc, -1)[by_src],
        )

    def best_path(self) -> Indices:
        """Indices of the arcs on the path with the largest score, first frame first."""
        path: Indices = kernels.best_path(self.src, self.dst, self.score, self.num_states)
        return path

    def forward_score(self) -> float:
        """Log Σ over all paths."""
        return float(kernels.forward(self.src, self.dst, self.score, self.num_states, True)[-1])

    def closest(self, words: Ints) -> tuple[Indices, Indices]:
        """The path with the smallest edit distance to a word sequence.

        Parameters
        ----------
        words : np.ndarray
            int32 word ids.

        Returns
        -------
        arcs : np.ndarray
            Indices of arcs, from the first frame to the last.
        aligned : np.ndarray
            int64: for every word, the position of the path's word that is equal to it or replaced
            by it; -1 for a word that the path lacks.
        """
        lattice = self.word_lattice
        path, aligned, _ = kernels.closest_path(
            lattice.src, lattice.dst, lattice.word, lattice.score, lattice.num_states, words
        )
        arcs = lattice.arc[path]
        position = np.cumsum(lattice.word[path] > 0) - 1
        return arcs[arcs >= 0], np.where(aligned < 0, -1, position[aligned])


@dataclass(frozen=True)
class WordLattice:
    """A lattice with at most one word per arc; state 0 is the start, the last state is final.

    ``word`` is 0 on arcs without one; ``arc`` is the index of an arc in :class:`FrameArcs`, -1
    for none. Arcs are sorted by ``src``, states topologically; scores are float64 natural logs.
    """

    num_states: int
    src: Ints
    dst: Ints
    word: Ints
    score: Floats
    arc: Indices

    def best_sequences(self, n: int, log: bool) -> list[tuple[Ints, float]]:
        """The n best different word sequences with their scores, best first.

        Parameters
        ----------
        n : int
            How many at most.
        log : bool
            True ranks by the sum over alignments and pronunciations (log semiring), False by
            the best of them (tropical).

        Notes
        -----
        Summed ranking must expand every history that is as probable as the best sequence. In a
        long recording with many alternatives these can be too many. Then the candidates are the
        sequences with the best single alignments, ranked by their exact sums.
        """
        arrays = self.src, self.dst, self.word, self.score, self.num_states
        words, scores, exact = kernels.best_sequences(*arrays, n, log, MAX_HISTORIES)
        if log and not exact:
            words, _, _ = kernels.best_sequences(*arrays, max(100, 2 * n), False, MAX_HISTORIES)
            scores = [kernels.sum_over_alignments(*arrays, sequence) for sequence in words]
            order = np.argsort(scores)[::-1][:n]
            words, scores = [words[i] for i in order], [scores[i] for i in order]
        return list(zip(words, scores, strict=True))


def arc_counts(fsas: k2.Fsa) -> list[int]:
    """The number of arcs of every automaton in an FsaVec; 0 for one without a path."""
    shape = fsas.arcs.shape()
    counts: list[int] = shape.row_splits(2)[shape.row_splits(1).long()].diff().tolist()
    return counts


def _aux_words(fsas: k2.Fsa) -> tuple[Ints, Indices]:
    """Word ids of all arcs as (values, row_splits), without epsilons and final -1s."""
    import torch

    aux = fsas.aux_labels
    if isinstance(aux, torch.Tensor):
        values = aux.cpu().numpy()
        counts = np.ones(len(values), dtype=np.int64)
    else:
        values = aux.values.cpu().numpy()
        counts = np.diff(aux.shape.row_splits(1).cpu().numpy())
    keep = values > 0
    row = np.repeat(np.arange(len(counts)), counts)
    kept = np.bincount(row[keep], minlength=len(counts))
    return values[keep], np.concatenate([[0], np.cumsum(kept)])
