"""Back-off language models as arrays for compiled code, and their composition with a lattice."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg import lm
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import SymbolTable

Ints = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNKNOWN = -15.0
"""Natural-log probability of a word that a model lacks: about one in three million, as rare as
the rarest words of a large vocabulary."""


class Automaton(NamedTuple):
    """A back-off model as arrays, indexed by state, that are made from ``lm.to_arcs``.

    The arcs of state s are ``first[s]:first[s + 1]``, sorted by word; the last is its back-off
    arc if its label is ``backoff``. ``unknown`` is the score of a word that no state has.
    """

    first: npt.NDArray[np.int64]
    word: npt.NDArray[np.int32]
    dst: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    final: npt.NDArray[np.float32]
    backoff: int
    unknown: float

    @staticmethod
    def of(model: lm.ArpaModel, words: SymbolTable, scale: float = 1.0) -> Automaton:
        """A model limited to the words of a graph, all its scores times ``scale`` (not 0)."""
        arcs, _ = lm.to_arcs(model, words)
        arcs = replace(
            arcs, score=arcs.score * np.float32(scale), final=arcs.final * np.float32(scale)
        )
        return Automaton._of_arcs(arcs, words, UNKNOWN * scale)

    @staticmethod
    def zero(words: SymbolTable) -> Automaton:
        """A model that gives every sentence the score 0, for a graph without a language model."""
        none = np.empty(0, dtype=np.int32)
        score = np.empty(0, dtype=np.float32)
        arcs = Arcs(none, none, none, none, score, np.zeros(1, dtype=np.float32))
        return Automaton._of_arcs(arcs, words, 0.0)

    @staticmethod
    def _of_arcs(arcs: Arcs, words: SymbolTable, unknown: float) -> Automaton:
        first = np.searchsorted(arcs.src, np.arange(arcs.num_states + 1))
        backoff = words["#0"]
        return Automaton(first, arcs.ilabel, arcs.dst, arcs.score, arcs.final, backoff, unknown)


@njit(cache=True)
def step(model: Automaton, state: np.int64, word: int) -> tuple[np.int64, float]:
    """State after a word, and log P(word | state), backing off where the state lacks the word."""
    score = 0.0
    while True:
        begin, end = model.first[state], model.first[state + 1]
        arc = begin + np.searchsorted(model.word[begin:end], word)
        if arc < end and model.word[arc] == word:
            return np.int64(model.dst[arc]), score + model.score[arc]
        if end == begin or model.word[end - 1] != model.backoff:
            return np.int64(state), score + model.unknown
        score += model.score[end - 1]
        state = np.int64(model.dst[end - 1])


@njit(cache=True)
def final_score(model: Automaton, state: np.int64) -> float:
    """Log-probability that the sentence ends in a state, backing off where it is not final."""
    score = 0.0
    while True:
        if model.final[state] > -np.inf:
            return score + float(model.final[state])
        begin, end = model.first[state], model.first[state + 1]
        if end == begin or model.word[end - 1] != model.backoff:
            return score + model.unknown
        score += model.score[end - 1]
        state = np.int64(model.dst[end - 1])


@njit(cache=True)
def sentence_score(model: Automaton, words: Ints) -> float:
    """Log P of a whole sentence."""
    state, total = np.int64(0), 0.0
    for word in words:
        state, score = step(model, state, word)
        total += score
    return total + final_score(model, state)


@njit(cache=True)
def _step_both(
    old: Automaton,
    new: Automaton,
    states: tuple[np.int64, np.int64],
    words: Ints,
    is_final: bool,
    scales: tuple[float, float, float],
) -> tuple[np.int64, np.int64, float]:
    """States of both models after the words of an arc, and the change of the arc's score."""
    old_state, new_state = states
    change = 0.0
    for word in words:
        old_state, old_score = step(old, old_state, word)
        new_state, new_score = step(new, new_state, word)
        change += scales[1] * new_score - scales[0] * old_score + scales[2]
    if is_final:
        change += scales[1] * final_score(new, new_state) - scales[0] * final_score(old, old_state)
        return np.int64(0), np.int64(0), change
    return old_state, new_state, change


# One function, since the lists of states and arcs that it appends to are local variables.
@njit(cache=True)
def compose(
    src: Ints,
    dst: Ints,
    label: Ints,
    words: Ints,
    word_splits: Ints,
    score: Floats,
    backward_score: Floats,
    old: Automaton,
    new: Automaton,
    scales: tuple[float, float, float],
    beam: float,
) -> tuple[Ints, Ints, Ints, Floats]:
    """Compose a lattice with the difference of two language models, frame by frame.

    Parameters
    ----------
    score : np.ndarray
        float64 ``(num_arcs,)``: scores of the lattice's arcs, without the change of models.
    backward_score : np.ndarray
        float64 ``(num_states,)``: of the best path from a state to the end, for pruning.
    old, new : Automaton
        The model whose scores are subtracted, and the one whose scores are added.
    scales : tuple
        Factors on the old and on the new model, and a bonus for every word.
    beam : float
        States whose best path is worse than the frame's best by more than this are dropped.

    Returns
    -------
    origin : np.ndarray
        int64: for every arc of the result, the arc of the lattice.
    src, dst : np.ndarray
        int64 states, in topological order; the last is final.
    change : np.ndarray
        float64: the scaled score of the new model less that of the old one, and the bonus.
    """
    num_states = len(backward_score)
    first = np.searchsorted(src, np.arange(num_states + 1))
    # A composed state is a lattice state with a state of each model. Those of one lattice state
    # are a linked list: it begins at ``newest`` and goes on where ``older`` leads.
    newest = np.full(num_states, -1)
    base = [np.int64(0)]
    old_state, new_state, older = [np.int64(0)], [np.int64(0)], [np.int64(-1)]
    alpha = [0.0]
    origin = [0 for _ in range(0)]
    out_src = [0 for _ in range(0)]
    out_dst = [0 for _ in range(0)]
    change = [0.0 for _ in range(0)]
    begin, end = 0, 1
    while begin < end:  # the states of one frame, whose arcs lead to those of the next
        best = -np.inf
        for state in range(begin, end):
            best = max(best, alpha[state] + backward_score[base[state]])
        for state in range(begin, end):
            if alpha[state] + backward_score[base[state]] < best - beam:
                continue
            for arc in range(first[base[state]], first[base[state] + 1]):
                arc_words = words[word_splits[arc] : word_splits[arc + 1]]
                states, is_final = (old_state[state], new_state[state]), label[arc] == -1
                o, n, delta = _step_both(old, new, states, arc_words, is_final, scales)
                target = newest[dst[arc]]
                while target >= 0 and not (old_state[target] == o and new_state[target] == n):
                    target = older[target]
                if target < 0:
                    target = len(base)
                    base.append(np.int64(dst[arc]))
                    old_state.append(o)
                    new_state.append(n)
                    older.append(newest[dst[arc]])
                    newest[dst[arc]] = target
                    alpha.append(-np.inf)
                alpha[target] = max(alpha[target], alpha[state] + score[arc] + delta)
                origin.append(arc)
                out_src.append(state)
                out_dst.append(target)
                change.append(delta)
        begin, end = end, len(base)
    return np.array(origin), np.array(out_src), np.array(out_dst), np.array(change)
