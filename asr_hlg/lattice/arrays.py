"""One utterance's lattice as numpy arrays: frame by frame, and word by word.

k2 searches and sums over whole batches. What follows (unique word sequences, times, posteriors
of words) concerns one utterance's few thousand arcs, and runs on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import k2
import kaldifst
import numpy as np
import torch

from asr_hlg.arcs import Arcs
from asr_hlg.errors import LatticeError
from asr_hlg.lattice import kernels

MAX_DETERMINIZED_STATES = 200_000


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
    """

    num_states: int
    src: np.ndarray
    dst: np.ndarray
    label: np.ndarray
    phone: np.ndarray
    frame: np.ndarray
    score: np.ndarray
    graph_score: np.ndarray
    words: np.ndarray
    word_splits: np.ndarray

    @property
    def num_arcs(self) -> int:
        return len(self.src)

    @staticmethod
    def unpack(fsas: k2.Fsa) -> list[FrameArcs]:
        """Split an FsaVec into its utterances."""
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

    @cached_property
    def word_lattice(self) -> WordLattice:
        """The same lattice with at most one word an arc; arcs remember where they come from."""
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

    def align(self, words: np.ndarray) -> np.ndarray:
        """The best path that spells a word sequence.

        Parameters
        ----------
        words : np.ndarray
            int32 word ids.

        Returns
        -------
        np.ndarray
            Indices of arcs, from the first frame to the last; empty if no path spells it.
        """
        lattice = self.word_lattice
        path = kernels.best_path_of_words(
            lattice.src, lattice.dst, lattice.word, lattice.score, lattice.num_states, words
        )
        arcs = lattice.arc[path]
        return arcs[arcs >= 0]


@dataclass(frozen=True)
class WordLattice:
    """A lattice over words; state 0 is the start, the last state the only final one.

    ``word`` is 0 on arcs without one; ``arc`` is the :class:`FrameArcs` index behind an arc, -1
    for none. Arcs are sorted by ``src``, states topologically; scores are float64 natural logs.
    """

    num_states: int
    src: np.ndarray
    dst: np.ndarray
    word: np.ndarray
    score: np.ndarray
    arc: np.ndarray

    def to_openfst(self) -> kaldifst.StdVectorFst:
        """The lattice as an OpenFst acceptor of words."""
        final = np.full(self.num_states, -np.inf, dtype=np.float32)
        final[-1] = 0.0
        return Arcs(self.src, self.dst, self.word, self.word, self.score, final).to_openfst()

    def determinize(self, log: bool) -> WordLattice:
        """The lattice in which every word sequence has one path.

        Parameters
        ----------
        log : bool
            True sums the probabilities of a sequence's alignments and pronunciations (log
            semiring); False keeps the best of them (tropical).

        Raises
        ------
        LatticeError
            If the result would be too large.
        """
        acceptor = self.to_openfst()
        # kaldifst returns True when it stopped at max_states.
        if kaldifst.determinize_star(acceptor, max_states=MAX_DETERMINIZED_STATES, use_log=log):
            raise LatticeError(
                f"the lattice has more than {MAX_DETERMINIZED_STATES} distinct word histories",
                remedy="lower --output-beam, or cut the recording into shorter pieces",
            )
        return _topological(Arcs.from_openfst(acceptor))


def _aux_words(fsas: k2.Fsa) -> tuple[np.ndarray, np.ndarray]:
    """Word ids of all arcs as (values, row_splits), without epsilons and final -1s."""
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


def _topological(arcs: Arcs) -> WordLattice:
    """Order an acyclic acceptor's states and lead its final states to one last state."""
    order = kernels.topological_order(arcs.src, arcs.dst, arcs.num_states)
    number = np.empty(arcs.num_states, dtype=np.int32)
    number[order] = np.arange(arcs.num_states)
    ends = np.flatnonzero(np.isfinite(arcs.final))
    src = np.concatenate([number[arcs.src], number[ends]])
    dst = np.concatenate([number[arcs.dst], np.full(len(ends), arcs.num_states)])
    word = np.concatenate([arcs.ilabel, np.zeros(len(ends), dtype=np.int32)])
    score = np.concatenate([arcs.score, arcs.final[ends]]).astype(np.float64)
    by_src = np.argsort(src, kind="stable")
    return WordLattice(
        arcs.num_states + 1,
        src[by_src].astype(np.int32),
        dst[by_src].astype(np.int32),
        word[by_src],
        score[by_src],
        np.full(len(src), -1),
    )
