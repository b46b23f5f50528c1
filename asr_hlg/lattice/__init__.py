"""Lattices: what search found, and every answer that is drawn from it.

    lattice = decode(graph, posteriors)
    lattice.best_path()[0].text        # Viterbi
    lattice.forward_path()[0].text     # the word sequence with the largest total probability
    lattice.words()[0]                 # words with times and confidences
    lattice.nbest(10)[0]               # ten different word sequences

A :class:`Lattice` holds the utterances of one batch; every method answers with one item an
utterance, in the order of the posteriors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import k2
import numpy as np
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import LatticeError
from asr_hlg.lattice.arrays import FrameArcs, WordLattice, arc_counts
from asr_hlg.lattice.mbr import ConfusionNetwork, confusion_network, minimum_bayes_risk
from asr_hlg.lattice.path import NOTHING, Path, Segment, word_spans
from asr_hlg.output.transcript import Word

if TYPE_CHECKING:
    from asr_hlg.graph import DecodingGraph

__all__ = ["ConfusionNetwork", "FrameArcs", "Lattice", "Path", "WordLattice", "arc_counts"]


class Lattice:
    """Paths of a decoding graph that explain a batch of utterances.

    Parameters
    ----------
    fsas : k2.Fsa or None
        FsaVec with ``aux_labels`` (words), ``phones``, ``frames`` and ``graph_scores``.
    rows : list of int
        The utterance of each automaton in ``fsas``; where one comes twice, the later counts.
    scores : Posteriors
        The scaled scores that were searched.
    graph : DecodingGraph
        The graph that was searched: its words, tokens and lexicon.
    """

    def __init__(
        self, fsas: k2.Fsa | None, rows: list[int], scores: Posteriors, graph: DecodingGraph
    ):
        self._fsas = fsas
        self.frame_shift = scores.frame_shift
        self.scores = scores
        self.graph = graph
        self._item: list[int | None] = [None] * len(scores.lengths)
        sizes = [] if fsas is None else arc_counts(fsas)
        for item, row in enumerate(rows):
            if sizes[item]:
                self._item[row] = item

    @classmethod
    def from_arcs(
        cls, utterances: Iterable[FrameArcs | None], scores: Posteriors, graph: DecodingGraph
    ) -> Lattice:
        """A lattice from every utterance's arcs, None where there are none."""
        lattice = cls(None, [], scores, graph)
        lattice.utterances = list(utterances)
        rows = [row for row, arcs in enumerate(lattice.utterances) if arcs is not None]
        for item, row in enumerate(rows):
            lattice._item[row] = item
        return lattice

    def __len__(self) -> int:
        return len(self._item)

    def is_empty(self, utterance: int) -> bool:
        """Whether no path through the graph explains an utterance."""
        return self._item[utterance] is None

    def row(self, utterance: int) -> Lattice:
        """The lattice of one utterance alone."""
        arcs, scores = self.utterances[utterance], self.scores.utterance(utterance)
        return Lattice.from_arcs([arcs], scores, self.graph)

    @cached_property
    def fsas(self) -> k2.Fsa | None:
        """The lattices for k2's algorithms, those that are not empty in order; None without any."""
        if self._fsas is not None:
            return self._fsas
        present = [arcs for arcs in self.utterances if arcs is not None]
        return FrameArcs.pack(present) if present else None

    @cached_property
    def utterances(self) -> list[FrameArcs | None]:
        """Every utterance's arcs as numpy arrays, None for an empty lattice."""
        found = [] if self._fsas is None else FrameArcs.unpack(self._fsas)
        return [None if item is None else found[item] for item in self._item]

    def best_path(self) -> list[Path]:
        """The Viterbi answer: the path with the largest score, alignment and all."""
        return [
            NOTHING if arcs is None else self._path(arcs, arcs.best_path())
            for arcs in self.utterances
        ]

    def forward_score(self) -> torch.Tensor:
        """Log P(A) under the graph: the sum over all paths of the lattice.

        Returns
        -------
        torch.Tensor
            float64 ``(num_utterances,)``, ``-inf`` where a lattice is empty.
        """
        sums = [-np.inf if arcs is None else arcs.forward_score() for arcs in self.utterances]
        return torch.tensor(sums, dtype=torch.float64)

    def forward_path(self) -> list[Path]:
        """argmax_W Σ_S: the word sequence with the largest total probability in the lattice.

        The sum runs over all alignments and pronunciations of the sequence; ``score`` is that
        sum, times and shares are those of its best alignment.
        """
        return [paths[0] for paths in self.nbest(1, forward=True)]

    def nbest(self, n: int, forward: bool = False) -> list[list[Path]]:
        """The n best different word sequences, best first.

        Parameters
        ----------
        n : int
            How many at most; a lattice may hold fewer.
        forward : bool
            Rank by the sum over alignments (log semiring) instead of the best one.
        """
        if n < 1:
            raise LatticeError(f"an n-best list has at least one entry, not {n}")
        return [
            [NOTHING] if frame_arcs is None else self._nbest(frame_arcs, n, forward)
            for frame_arcs in self.utterances
        ]

    def words(self, paths: list[Path] | None = None) -> list[list[Word]]:
        """Words with start and end in seconds, and the posterior of each in its time slot.

        ``paths`` are the paths to describe, one an utterance; the best ones by default.
        """
        paths = self.best_path() if paths is None else paths
        return [self._words(row, path) for row, path in enumerate(paths)]

    def confusion_networks(self) -> list[ConfusionNetwork | None]:
        """Competing words slot by slot, around the hypothesis with the fewest expected errors.

        None for an empty lattice.
        """
        best = self.best_path()
        return [
            None
            if arcs is None
            else minimum_bayes_risk(arcs.word_lattice, self._ids(best[row].words))
            for row, arcs in enumerate(self.utterances)
        ]

    def mbr_path(self) -> list[Path]:
        """The word sequence with the fewest expected word errors (minimum Bayes risk).

        No path of the lattice need spell it. Scores, tokens and times are those of the path that
        comes closest; a word that this path lacks stands between its neighbours.
        """
        networks = self.confusion_networks()
        return [
            NOTHING if arcs is None or network is None else self._closest(arcs, network)
            for arcs, network in zip(self.utterances, networks, strict=True)
        ]

    def _nbest(self, arcs: FrameArcs, n: int, forward: bool) -> list[Path]:
        paths = []
        for words, score in arcs.word_lattice.best_sequences(n, log=forward):
            path = self._path(arcs, arcs.closest(words)[0])
            if forward:
                path = replace(path, score=score)
            paths.append(path)
        return paths

    def _closest(self, arcs: FrameArcs, network: ConfusionNetwork) -> Path:
        ids = np.array([word for word in network.reference if word], dtype=np.int32)
        chosen, carrier = arcs.closest(ids)
        path = self._path(arcs, chosen)
        spans = self._spans(path)
        times: list[tuple[int, int]] = []
        for index in carrier.tolist():
            before = times[-1][1] if times else 0
            times.append(spans[index] if index >= 0 else (before, before))
        words = tuple(self.graph.word_names[i] for i in ids.tolist())
        return replace(path, words=words, spans=tuple(times))

    def _path(self, arcs: FrameArcs, chosen: np.ndarray) -> Path:
        """Describe a sequence of arcs."""
        begins, ends = arcs.word_splits[chosen], arcs.word_splits[chosen + 1]
        says = np.flatnonzero(ends > begins)
        spans = zip(begins[says].tolist(), ends[says].tolist(), strict=True)
        ids = [word for begin, end in spans for word in arcs.words[begin:end].tolist()]
        score = float(arcs.score[chosen].sum())
        graph_score = float(arcs.graph_score[chosen].sum())
        return Path(
            tuple(self.graph.word_names[i] for i in ids),
            score,
            graph_score,
            score - graph_score,
            tuple(self._segments(arcs, chosen)),
        )

    def _segments(self, arcs: FrameArcs, chosen: np.ndarray) -> list[Segment]:
        """Tokens with the frames in which each is seen: from its onset to before the blank."""
        chosen = chosen[arcs.label[chosen] >= 0]
        phones = arcs.phone[chosen]
        onsets = np.flatnonzero(phones)
        spoken = np.flatnonzero(arcs.label[chosen] > 0)
        after = np.append(onsets[1:], len(chosen))
        ends = spoken[np.searchsorted(spoken, after) - 1] + 1 if len(onsets) else onsets
        names = (self.graph.token_names[phone] for phone in phones[onsets].tolist())
        return list(zip(names, onsets.tolist(), ends.tolist(), strict=True))

    def _words(self, row: int, path: Path) -> list[Word]:
        if not path.words:
            return []
        arcs = self.utterances[row]
        if arcs is None:
            raise LatticeError(f"utterance {row} has no lattice, but a path of {len(path.words)}")
        confidences = confusion_network(arcs.word_lattice, self._ids(path.words)).confidences()
        return [
            Word(word, begin * self.frame_shift, end * self.frame_shift, confidence)
            for word, (begin, end), confidence in zip(
                path.words, self._spans(path), confidences, strict=True
            )
        ]

    def _spans(self, path: Path) -> Sequence[tuple[int, int]]:
        """Frames [start, end) of a path's words."""
        if path.spans is not None:
            return path.spans
        return word_spans(path.words, path.tokens, self.graph.spellings, self.graph.fillers)

    def _ids(self, words: tuple[str, ...]) -> np.ndarray:
        return np.array([self.graph.words[word] for word in words], dtype=np.int32)
