"""A language model as an automaton for compiled code, and its walk along a lattice."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import k2
import numpy as np
from numba import njit

from asr_hlg import lm
from asr_hlg.fst.arcs import Arcs

UNKNOWN = -15.0
"""Natural-log probability of a word that a model lacks: about one in three million, as rare as
the rarest words of a large vocabulary."""


class Automaton(NamedTuple):
    """A back-off model as arrays for compiled code: ``lm.to_arcs``, indexed by state.

    The arcs of state s are ``first[s]:first[s + 1]``, sorted by word; the last is its back-off
    arc if it is labelled ``backoff``.
    """

    first: np.ndarray
    word: np.ndarray
    dst: np.ndarray
    score: np.ndarray
    final: np.ndarray
    backoff: int
    unknown: float

    @staticmethod
    def of(model: lm.ArpaModel, words: k2.SymbolTable, scale: float = 1.0) -> Automaton:
        """A model limited to the words of a graph, all its scores times ``scale`` (not 0)."""
        arcs, _ = lm.to_arcs(model, words)
        arcs = replace(
            arcs, score=arcs.score * np.float32(scale), final=arcs.final * np.float32(scale)
        )
        return Automaton._of_arcs(arcs, words, UNKNOWN * scale)

    @staticmethod
    def indifferent(words: k2.SymbolTable) -> Automaton:
        """What scores every sentence 0: the model of a graph that has none."""
        none = np.empty(0, dtype=np.int32)
        score = np.empty(0, dtype=np.float32)
        arcs = Arcs(none, none, none, none, score, np.zeros(1, dtype=np.float32))
        return Automaton._of_arcs(arcs, words, 0.0)

    @staticmethod
    def _of_arcs(arcs: Arcs, words: k2.SymbolTable, unknown: float) -> Automaton:
        first = np.searchsorted(arcs.src, np.arange(arcs.num_states + 1))
        backoff = words["#0"]
        return Automaton(first, arcs.ilabel, arcs.dst, arcs.score, arcs.final, backoff, unknown)


@njit(cache=True)
def step(model, state, word):
    """The state after a word and its log-probability, backing off where it is not listed."""
    score = 0.0
    while True:
        begin, end = model.first[state], model.first[state + 1]
        at = begin + np.searchsorted(model.word[begin:end], word)
        if at < end and model.word[at] == word:
            return np.int64(model.dst[at]), score + model.score[at]
        if end == begin or model.word[end - 1] != model.backoff:
            return np.int64(state), score + model.unknown
        score += model.score[end - 1]
        state = np.int64(model.dst[end - 1])


@njit(cache=True)
def log_end(model, state):
    """The log-probability that a sentence ends in a state."""
    score = 0.0
    while True:
        if model.final[state] > -np.inf:
            return score + model.final[state]
        begin, end = model.first[state], model.first[state + 1]
        if end == begin or model.word[end - 1] != model.backoff:
            return score + model.unknown
        score += model.score[end - 1]
        state = np.int64(model.dst[end - 1])


@njit(cache=True)
def log_prob(model, words):
    """Log P of a whole sentence."""
    state, total = np.int64(0), 0.0
    for word in words:
        state, score = step(model, state, word)
        total += score
    return total + log_end(model, state)


@njit(cache=True)
def expand(src, dst, label, words, splits, score, rest, old, new, scales, beam):
    """Walk a lattice and both models together, frame by frame.

    Parameters
    ----------
    score : np.ndarray
        float64 ``(num_arcs,)``: what an arc scores besides the change of models.
    rest : np.ndarray
        float64 ``(num_states,)``: from a state to the end at best, for pruning.
    scales : tuple
        Of the old model (taken out), of the new one, and the bonus for a word.

    Returns
    -------
    origin : np.ndarray
        int64: for every arc of the result the arc behind it.
    src, dst : np.ndarray
        int64 states, in topological order; the last is final.
    change : np.ndarray
        float64: the new model's score less the old one's, and the bonus.
    """
    num_states = len(rest)
    first = np.searchsorted(src, np.arange(num_states + 1))
    # An expanded state is a lattice state with the states of both models. Those of one lattice
    # state are a chain: newest, then where ``chain`` leads.
    newest = np.full(num_states, -1)
    base = [np.int64(0)]
    in_old, in_new, chain = [np.int64(0)], [np.int64(0)], [np.int64(-1)]
    alpha = [0.0]
    origin = [0 for _ in range(0)]
    out_src = [0 for _ in range(0)]
    out_dst = [0 for _ in range(0)]
    change = [0.0 for _ in range(0)]
    begin, end = 0, 1
    while begin < end:  # the states of one frame; its arcs lead to those of the next
        best = -np.inf
        for state in range(begin, end):
            best = max(best, alpha[state] + rest[base[state]])
        for state in range(begin, end):
            if alpha[state] + rest[base[state]] < best - beam:
                continue
            for arc in range(first[base[state]], first[base[state] + 1]):
                o, n = np.int64(in_old[state]), np.int64(in_new[state])
                delta = 0.0
                for at in range(splits[arc], splits[arc + 1]):
                    o, taken = step(old, o, words[at])
                    n, given = step(new, n, words[at])
                    delta += scales[1] * given - scales[0] * taken + scales[2]
                if label[arc] == -1:
                    delta += scales[1] * log_end(new, n) - scales[0] * log_end(old, o)
                    o, n = np.int64(0), np.int64(0)
                target = newest[dst[arc]]
                while target >= 0 and not (in_old[target] == o and in_new[target] == n):
                    target = chain[target]
                if target < 0:
                    target = len(base)
                    base.append(np.int64(dst[arc]))
                    in_old.append(o)
                    in_new.append(n)
                    chain.append(newest[dst[arc]])
                    newest[dst[arc]] = target
                    alpha.append(-np.inf)
                alpha[target] = max(alpha[target], alpha[state] + score[arc] + delta)
                origin.append(arc)
                out_src.append(state)
                out_dst.append(target)
                change.append(delta)
        begin, end = end, len(base)
    return np.array(origin), np.array(out_src), np.array(out_dst), np.array(change)
