"""Training graphs H ∘ L ∘ transcript, in which every arc consumes one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import k2
import numpy as np

from asr_hlg.errors import LexiconError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses.frame_graph import FrameGraph

_CACHE_SIZE = 20_000
"""Number of compiled transcripts kept; a short one takes a few kilobytes."""


class TranscriptGraphs:
    """Compiler of H ∘ L ∘ transcript with a cache: each transcript is compiled once.

    >>> graphs = TranscriptGraphs(topology.ctc(lexicon.num_tokens), lexicon)
    >>> graphs.of("one two").min_frames
    5

    Parameters
    ----------
    H : k2.Fsa or Arcs
        A topology whose output labels are the lexicon's tokens.
    lexicon : Lexicon
        L, with its silence, alternative pronunciations and their probabilities.
    grammar : k2.Fsa, optional
        An acceptor of tokens such as `phone_bigram`. With it the graph is
        H ∘ (tokens of the transcript ∩ grammar): the weights of L are dropped, and a token
        sequence that is spelled in several ways counts once.
    """

    def __init__(self, H: k2.Fsa | Arcs, lexicon: Lexicon, grammar: k2.Fsa | None = None) -> None:
        self.H = H if isinstance(H, Arcs) else Arcs.from_k2(H)
        written = int(self.H.olabel.max())
        if written < lexicon.num_tokens - 1:
            raise OptionError(
                f"the topology writes {written} tokens, the lexicon has {lexicon.num_tokens - 1}",
                remedy="make the topology for the lexicon's own number of tokens",
            )
        self.num_columns = int(self.H.ilabel.max()) + 1
        # The token table is fixed, so that a restricted lexicon keeps the numbering of H.
        self.lexicon = lexicon.with_tokens(symbols.names(lexicon.tokens)[: lexicon.num_tokens])
        self.grammar = None if grammar is None else Arcs.from_k2(grammar)
        self._compiled = lru_cache(_CACHE_SIZE)(self._compile)

    def __getstate__(self) -> dict[str, Any]:
        # The cache is not copied and not sent to other processes.
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._compiled = lru_cache(_CACHE_SIZE)(self._compile)

    def of(self, text: str) -> FrameGraph:
        """Graph of a transcript, from the cache if it was compiled before.

        Raises
        ------
        LexiconError
            For a word without a pronunciation.
        """
        return self._compiled(" ".join(text.split()))

    def arcs(self, text: str) -> Arcs:
        """Compile the graph of a transcript as a transducer from columns to tokens."""
        tokens = _token_graph(self.lexicon, text.split())
        tokens = replace(tokens, olabel=tokens.ilabel)
        if self.grammar is not None:
            tokens = _intersect(self.grammar, tokens)
        return compose(self.H, tokens)

    def _compile(self, text: str) -> FrameGraph:
        return FrameGraph.from_arcs(self.arcs(text))


def compose(left: Arcs, right: Arcs) -> Arcs:
    """Compose left ∘ right and connect the result; right has no input epsilons."""
    parts = (k2.arc_sort(part) for part in (left.to_k2(), _with_dead_arc(right)))
    return Arcs.from_k2(k2.connect(k2.compose(*parts)))


def _token_graph(lexicon: Lexicon, words: Sequence[str]) -> Arcs:
    """Compile L ∘ transcript without epsilons: every pronunciation, with optional silence.

    The token table of ``lexicon`` is fixed. Two pronunciations with the same tokens stay two
    paths, because the loss sums over both.
    """
    missing = [word for word in dict.fromkeys(words) if word not in lexicon]
    if missing:
        raise LexiconError(
            f"no pronunciation for {', '.join(missing)}",
            remedy="add it to the lexicon, or correct the transcript",
        )
    # A lexicon cannot be empty, so an empty transcript takes any one word of it.
    part = lexicon.restrict(words or [lexicon.entries[0].word])
    return _remove_epsilons(compose(part.arcs(), Arcs.linear([part.words[word] for word in words])))


def _intersect(grammar: Arcs, tokens: Arcs) -> Arcs:
    """Intersect a token graph with a grammar of tokens, keeping only the grammar's weights."""
    final = np.where(np.isfinite(tokens.final), 0, -np.inf)
    unweighted = replace(tokens, score=0 * tokens.score, final=final).to_k2()
    del unweighted.aux_labels
    return compose(grammar, Arcs.from_k2(k2.determinize(k2.connect(unweighted))))


def _with_dead_arc(arcs: Arcs) -> k2.Fsa:
    """Convert to k2 with one more arc, which leads to a dead state.

    k2 1.23.4 cannot compose an automaton of a single arc, such as that of an empty transcript: it
    takes the single score for a non-contiguous tensor.
    """
    return Arcs(
        np.append(arcs.src, 0),
        np.append(arcs.dst, arcs.num_states),
        np.append(arcs.ilabel, 1),
        np.append(arcs.olabel, 1),
        np.append(arcs.score, 0),
        np.append(arcs.final, -np.inf),
    ).to_k2()


def _remove_epsilons(arcs: Arcs) -> Arcs:
    """Remove input epsilons in the log semiring.

    Every epsilon arc is replaced by the arcs that leave its destination, and its score is added
    to theirs and to the final score. L has such arcs at its start only, before the first optional
    silence. ``k2.remove_epsilon`` works in the tropical semiring: it keeps the best of several
    paths, where a sum needs all of them.
    """
    while (arcs.ilabel == 0).any():
        arc = int(np.argmax(arcs.ilabel == 0))
        src, dst, score = arcs.src[arc], arcs.dst[arc], arcs.score[arc]
        kept = arcs.take(np.delete(np.arange(arcs.num_arcs), arc))
        leaving = np.flatnonzero(kept.src == dst)
        final = arcs.final.copy()
        final[src] = np.logaddexp(final[src], score + final[dst])
        arcs = Arcs(
            np.append(kept.src, np.full(len(leaving), src)),
            np.append(kept.dst, kept.dst[leaving]),
            np.append(kept.ilabel, kept.ilabel[leaving]),
            np.append(kept.olabel, kept.olabel[leaving]),
            np.append(kept.score, kept.score[leaving] + score),
            final,
        )
    return arcs.sorted()
