"""The graphs that losses sum over: H ∘ L ∘ transcript, with one arc for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import k2
import numpy as np

from asr_hlg.errors import LexiconError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses import kernels

_CACHED = 20_000
"""Compiled transcripts kept; a short one takes a few kilobytes."""


@dataclass(frozen=True, eq=False)
class FrameGraph:
    """A weighted automaton every arc of which reads one frame; state 0 is the start.

    Attributes
    ----------
    src, label : np.ndarray
        int32 ``(num_arcs,)``, sorted by the state that an arc enters; ``label`` is the posterior
        column that it reads.
    score : np.ndarray
        float64 ``(num_arcs,)``, natural logs.
    first : np.ndarray
        int64 ``(num_states + 1,)``: the arcs that enter state s are ``first[s]:first[s + 1]``.
    final : np.ndarray
        float64 ``(num_states,)``: log score of ending, ``-inf`` where the state is not final.
    """

    src: np.ndarray
    label: np.ndarray
    score: np.ndarray
    first: np.ndarray
    final: np.ndarray

    @classmethod
    def of(cls, arcs: Arcs) -> FrameGraph:
        """From an automaton without input epsilons, such as H∘L∘G."""
        order = np.argsort(arcs.dst, kind="stable")
        counts = np.bincount(arcs.dst, minlength=arcs.num_states)
        return cls(
            arcs.src[order],
            arcs.ilabel[order],
            arcs.score[order].astype(np.float64),
            np.concatenate([[0], np.cumsum(counts)]),
            arcs.final.astype(np.float64),
        )

    @cached_property
    def least_frames(self) -> int:
        """The number of arcs on the shortest path."""
        dst = np.repeat(np.arange(len(self.final)), np.diff(self.first))
        here = np.arange(len(self.final)) == 0
        for frames in range(len(self.final) + 1):
            if np.isfinite(self.final[here]).any():
                return frames
            after = np.zeros_like(here)
            after[dst[here[self.src]]] = True
            here = after
        raise OptionError("no path of the graph ends")

    def path_sum(self, log_probs: np.ndarray, gradient: bool) -> tuple[float, np.ndarray | None]:
        """Log Σ over paths of exp(score), and its gradient if asked for.

        Parameters
        ----------
        log_probs : np.ndarray
            float64 ``(num_frames, num_columns)``.
        gradient : bool

        Returns
        -------
        total : float
            ``-inf`` where no path has so many frames; nan where a log-probability is.
        occupancies : np.ndarray or None
            float64 like ``log_probs``; zeros where ``total`` is not finite.
        """
        alpha = kernels.forward(self.src, self.label, self.score, self.first, log_probs)
        ends = alpha[-1] + self.final
        total = np.nan if np.isnan(log_probs).any() else np.logaddexp.reduce(ends)
        if not gradient:
            return float(total), None
        if not np.isfinite(total):
            return float(total), np.zeros_like(log_probs)
        arrays = (self.src, self.label, self.score, self.first, self.final)
        return float(total), kernels.occupancies(*arrays, log_probs, alpha, total)

    def best_path(self, log_probs: np.ndarray) -> tuple[np.ndarray, float]:
        """The column that the best path reads in every frame (int64), and its score.

        Without a path the columns are empty and the score is ``-inf``.
        """
        arrays = (self.src, self.label, self.score, self.first, self.final)
        return kernels.viterbi(*arrays, log_probs)


class TranscriptGraphs:
    """Compiles H ∘ L ∘ transcript, each transcript once.

    >>> graphs = TranscriptGraphs(topology.ctc(lexicon.num_tokens), lexicon)
    >>> graphs.of("one two").least_frames
    5

    Parameters
    ----------
    H : k2.Fsa
        A topology that writes the lexicon's tokens.
    lexicon : Lexicon
        L, with its silence, alternative pronunciations and their probabilities.
    grammar : k2.Fsa, optional
        An acceptor of tokens such as `phone_bigram`. With it the graph is
        H ∘ (tokens of the transcript ∩ grammar): the weights of L go, and a token sequence that
        has several readings counts once.
    """

    def __init__(self, H: k2.Fsa, lexicon: Lexicon, grammar: k2.Fsa | None = None):
        written = int(H.aux_labels.max())
        if written < lexicon.num_tokens - 1:
            raise OptionError(
                f"the topology writes {written} tokens, the lexicon has {lexicon.num_tokens - 1}",
                remedy="make the topology for the lexicon's own number of tokens",
            )
        self.H = Arcs.from_k2(H)
        self.num_columns = int(H.labels.max()) + 1
        # Tokens imposed, so that a part of the lexicon still has all that H writes.
        self.lexicon = lexicon.with_tokens(symbols.names(lexicon.tokens)[: lexicon.num_tokens])
        self.grammar = None if grammar is None else Arcs.from_k2(grammar)
        self._compiled = lru_cache(_CACHED)(self._compile)

    def __getstate__(self):
        # The cache stays behind when a copy is made or sent to another process.
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    def __setstate__(self, state):
        vars(self).update(state)
        self._compiled = lru_cache(_CACHED)(self._compile)

    def of(self, text: str) -> FrameGraph:
        """The graph of a transcript.

        Raises
        ------
        LexiconError
            For a word without a pronunciation.
        """
        return self._compiled(" ".join(text.split()))

    def arcs(self, text: str) -> Arcs:
        """The graph as an automaton for other algorithms, compiled anew."""
        tokens = _tokens(self.lexicon, text.split())
        if self.grammar is not None:
            tokens = _within(self.grammar, tokens)
        return compose(self.H, tokens)

    def _compile(self, text: str) -> FrameGraph:
        return FrameGraph.of(self.arcs(text))


def sentence(lexicon: Lexicon, words: Sequence[str]) -> Arcs:
    """G of one sentence: an acceptor of just these words."""
    ids = np.array([lexicon.words[word] for word in words], dtype=np.int32)
    state = np.arange(len(words), dtype=np.int32)
    final = np.full(len(words) + 1, -np.inf, dtype=np.float32)
    final[-1] = 0.0
    return Arcs(state, state + 1, ids, ids, np.zeros(len(words), dtype=np.float32), final)


def compose(left: Arcs, right: Arcs) -> Arcs:
    """Left ∘ right, where right has no input epsilons; dead ends are gone."""
    parts = (k2.arc_sort(part) for part in (left.to_k2(), _with_dead_end(right)))
    return Arcs.from_k2(k2.connect(k2.compose(*parts)))


def _tokens(lexicon: Lexicon, words: Sequence[str]) -> Arcs:
    """L ∘ transcript without epsilons: all ways in which the words may be said.

    ``lexicon`` has tokens imposed. Two readings with equal tokens stay two paths, as a sum needs.
    """
    missing = [word for word in dict.fromkeys(words) if word not in lexicon]
    if missing:
        raise LexiconError(
            f"no pronunciation for {', '.join(missing)}",
            remedy="add it to the lexicon, or correct the transcript",
        )
    # A lexicon is never empty; for an empty transcript any word of it will do.
    part = lexicon.restrict(words or [lexicon.entries[0].word])
    return _without_epsilons(compose(part.arcs(), sentence(part, words)))


def _within(grammar: Arcs, tokens: Arcs) -> Arcs:
    """The token sequences that both know, with the grammar's weights."""
    final = np.where(np.isfinite(tokens.final), 0, -np.inf)
    plain = replace(tokens, score=0 * tokens.score, final=final).to_k2()
    del plain.aux_labels
    return compose(grammar, Arcs.from_k2(k2.determinize(k2.connect(plain))))


def _with_dead_end(arcs: Arcs) -> k2.Fsa:
    """For k2, with an arc that leads nowhere.

    k2 1.23.4 cannot compose an automaton of a single arc, which an empty transcript is: it takes
    its one score for a tensor with gaps.
    """
    return Arcs(
        np.append(arcs.src, 0),
        np.append(arcs.dst, arcs.num_states),
        np.append(arcs.ilabel, 1),
        np.append(arcs.olabel, 1),
        np.append(arcs.score, 0),
        np.append(arcs.final, -np.inf),
    ).to_k2()


def _without_epsilons(arcs: Arcs) -> Arcs:
    """Replace every arc that reads nothing by the arcs and the final score behind it.

    L has such arcs at its start only, before the first optional silence. k2's own removal keeps
    the best of several ways, where a sum needs all of them.
    """
    while (arcs.ilabel == 0).any():
        arc = int(np.argmax(arcs.ilabel == 0))
        src, dst, score = arcs.src[arc], arcs.dst[arc], arcs.score[arc]
        rest = arcs.take(np.delete(np.arange(arcs.num_arcs), arc))
        behind = np.flatnonzero(rest.src == dst)
        final = arcs.final.copy()
        final[src] = np.logaddexp(final[src], score + final[dst])
        arcs = Arcs(
            np.append(rest.src, np.full(len(behind), src)),
            np.append(rest.dst, rest.dst[behind]),
            np.append(rest.ilabel, rest.ilabel[behind]),
            np.append(rest.olabel, rest.olabel[behind]),
            np.append(rest.score, rest.score[behind] + score),
            final,
        )
    return arcs.sorted()
