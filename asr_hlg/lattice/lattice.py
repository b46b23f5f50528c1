"""Lattices of a batch of utterances: best paths, n-best lists, forward scores, confidences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import LatticeError
from asr_hlg.fst.symbols import BLANK, EPS
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import spans as imported_spans
from asr_hlg.lattice.arrays import FrameArcs, arc_counts
from asr_hlg.lattice.compact import GRAPH_SCALE
from asr_hlg.lattice.determinize import determinize
from asr_hlg.lattice.mbr import ConfusionNetwork, confusion_network, minimum_bayes_risk
from asr_hlg.lattice.path import NO_PATH, Path, Segment, word_spans
from asr_hlg.lattice.timed_words import timed_words
from asr_hlg.lattice.word_alignment import align_words
from asr_hlg.output.transcript import Word

if TYPE_CHECKING:
    import k2


class Lattice:
    """Paths of a decoding graph that survived the search of a batch of utterances.

    Parameters
    ----------
    fsas : k2.Fsa or None
        FsaVec with ``aux_labels`` (words), ``phones``, ``frames`` and ``graph_scores``.
    rows : list of int
        The utterance of each automaton in ``fsas``; the later one counts where two have the same.
    scores : Posteriors
        The scaled scores that were searched.
    graph : DecodingGraph
        The graph that was searched: its words, tokens and lexicon.

    Attributes
    ----------
    is_partial : bool
        Whether paths may end within a word, since the utterance goes on.
    """

    is_partial = False

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
        """A lattice from the arcs of every utterance, None for an utterance without a path."""
        lattice = cls(None, [], scores, graph)
        lattice.utterances = list(utterances)
        rows = [row for row, arcs in enumerate(lattice.utterances) if arcs is not None]
        for item, row in enumerate(rows):
            lattice._item[row] = item
        return lattice

    def __len__(self) -> int:
        return len(self._item)

    def is_empty(self, utterance: int) -> bool:
        """Whether the lattice of an utterance has no path."""
        return self._item[utterance] is None

    def row(self, utterance: int) -> Lattice:
        """The lattice of one utterance alone."""
        arcs, scores = self.utterances[utterance], self.scores.utterance(utterance)
        return Lattice.from_arcs([arcs], scores, self.graph)

    @cached_property
    def fsas(self) -> k2.Fsa | None:
        """The lattices that are not empty, in order, as a k2 FsaVec; None if all are empty."""
        if self._fsas is not None:
            return self._fsas
        present = [arcs for arcs in self.utterances if arcs is not None]
        return FrameArcs.pack(present) if present else None

    @cached_property
    def utterances(self) -> list[FrameArcs | None]:
        """Every utterance's arcs as numpy arrays, None for an empty lattice."""
        unpacked = [] if self._fsas is None else FrameArcs.unpack(self._fsas)
        return [None if item is None else unpacked[item] for item in self._item]

    def best_path(self) -> list[Path]:
        """The path with the largest score (Viterbi) of every utterance, with its alignment."""
        return [
            NO_PATH if arcs is None else self._path(arcs, arcs.best_path())
            for arcs in self.utterances
        ]

    def forward_score(self) -> npt.NDArray[np.float64]:
        """Log P(A) under the graph: the sum over all paths of the lattice.

        Returns
        -------
        np.ndarray
            float64 ``(num_utterances,)``, ``-inf`` where a lattice is empty.
        """
        sums = [-np.inf if arcs is None else arcs.forward_score() for arcs in self.utterances]
        return np.array(sums, dtype=np.float64)

    def forward_path(self) -> list[Path]:
        """The word sequence with the largest total probability in the lattice: argmax_W Σ_S.

        The sum runs over all alignments and pronunciations of the sequence; ``score`` is that
        sum, times and shares are those of its best alignment.
        """
        return [paths[0] for paths in self.nbest(1, forward=True)]

    def nbest(self, n: int, forward: bool = False) -> list[list[Path]]:
        """The n best different word sequences, best first.

        Parameters
        ----------
        n : int
            The maximum; a lattice may contain fewer.
        forward : bool
            Rank by the sum over alignments (log semiring) instead of the best one.
        """
        if n < 1:
            raise LatticeError(f"n must be at least 1, not {n}")
        return [
            [NO_PATH] if frame_arcs is None else self._nbest(frame_arcs, n, forward)
            for frame_arcs in self.utterances
        ]

    def words(self, paths: list[Path] | None = None) -> list[list[Word]]:
        """The words of paths with start and end in seconds and their posteriors.

        ``paths`` are one per utterance; the best ones by default.
        """
        paths = self.best_path() if paths is None else paths
        return [self._words(row, path) for row, path in enumerate(paths)]

    def confusion_networks(self) -> list[ConfusionNetwork | None]:
        """Confusion networks around the hypotheses with the fewest expected word errors.

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

        It need not be the word sequence of any path. Scores, tokens and times are those of the
        path with the smallest edit distance; a word that this path lacks gets an empty span
        between its neighbours.

        Where the graph's tokens are position-dependent (Kaldi's phones), words, times and
        confidences are those of Kaldi and Vosk: see :mod:`asr_hlg.lattice.timed_words`.
        """
        if self.graph.word_positions is not None:
            return [NO_PATH if arcs is None else self._timed(arcs) for arcs in self.utterances]
        networks = self.confusion_networks()
        return [
            NO_PATH if arcs is None or network is None else self._closest(arcs, network)
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

    def _timed(self, arcs: FrameArcs) -> Path:
        """Words of minimum Bayes risk among word sequences with their best alignments."""
        names = self.graph.word_positions or {}
        positions = {self.graph.tokens[name]: position for name, position in names.items()}
        compact = arcs.compact or determinize(arcs, graph_scale=GRAPH_SCALE)
        words = timed_words(align_words(compact, positions))
        ids = np.array([word.word for word in words], dtype=np.int32)
        return replace(
            self._path(arcs, arcs.closest(ids)[0]),
            words=tuple(self.graph.words[i] for i in ids.tolist()),
            spans=tuple((word.begin, word.end) for word in words),
            confidences=tuple(word.confidence for word in words),
        )

    def _closest(self, arcs: FrameArcs, network: ConfusionNetwork) -> Path:
        ids = np.array([word for word in network.reference if word], dtype=np.int32)
        indices, aligned = arcs.closest(ids)
        path = self._path(arcs, indices)
        spans = self._spans(path)
        times: list[tuple[float, float]] = []
        for index in aligned.tolist():
            before = times[-1][1] if times else 0
            times.append(spans[index] if index >= 0 else (before, before))
        words = tuple(self.graph.words[i] for i in ids.tolist())
        return replace(path, words=words, spans=tuple(times))

    def _path(self, arcs: FrameArcs, indices: npt.NDArray[np.int64]) -> Path:
        """The path that consists of some arcs, first frame first."""
        begins, ends = arcs.word_splits[indices], arcs.word_splits[indices + 1]
        with_words = np.flatnonzero(ends > begins)
        spans = zip(begins[with_words].tolist(), ends[with_words].tolist(), strict=True)
        ids = [word for begin, end in spans for word in arcs.words[begin:end].tolist()]
        score = float(arcs.score[indices].sum())
        graph_score = float(arcs.graph_score[indices].sum())
        segments = self._segments(arcs, indices)
        words = tuple(self.graph.words[i] for i in ids)
        word_frames = None
        if self.graph.is_imported:
            frames = np.repeat(arcs.frame[indices], ends - begins).tolist()
            word_frames = imported_spans.word_spans(words, segments, frames, self.graph)
        return Path(
            words,
            score,
            graph_score,
            score - graph_score,
            tuple(segments),
            word_frames,
        )

    def _segments(self, arcs: FrameArcs, indices: npt.NDArray[np.int64]) -> list[Segment]:
        """The tokens of a path with their frames: from the first to the last before a blank."""
        indices = indices[arcs.label[indices] >= 0]
        phones = arcs.phone[indices]
        onsets = np.flatnonzero(phones)
        has_blank = self.graph.columns[0] in (BLANK, EPS)
        not_blank = np.flatnonzero(arcs.label[indices] >= has_blank)
        next_onsets = np.append(onsets[1:], len(indices))
        ends = onsets
        if len(onsets):
            ends = not_blank[np.searchsorted(not_blank, next_onsets) - 1] + 1
        names = (self.graph.token_names[phone] for phone in phones[onsets].tolist())
        return list(zip(names, onsets.tolist(), ends.tolist(), strict=True))

    def _words(self, row: int, path: Path) -> list[Word]:
        if not path.words:
            return []
        arcs = self.utterances[row]
        if arcs is None:
            raise LatticeError(
                f"utterance {row} has no lattice, but a path of {len(path.words)} words"
            )
        confidences: Sequence[float] | None = path.confidences
        if confidences is None:
            confidences = confusion_network(arcs.word_lattice, self._ids(path.words)).confidences()
        return [
            Word(word, begin * self.frame_shift, end * self.frame_shift, confidence)
            for word, (begin, end), confidence in zip(
                path.words, self._spans(path), confidences, strict=True
            )
        ]

    def _spans(self, path: Path) -> Sequence[tuple[float, float]]:
        """Frames [start, end) of a path's words."""
        if path.spans is not None:
            return path.spans
        graph = self.graph
        return word_spans(path.words, path.tokens, graph.spellings, graph.fillers, self.is_partial)

    def _ids(self, words: tuple[str, ...]) -> npt.NDArray[np.int32]:
        return np.array([self.graph.words[word] for word in words], dtype=np.int32)
