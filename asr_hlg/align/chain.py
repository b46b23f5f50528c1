"""Viterbi alignment of a chain of words with the frames of a hybrid HMM, compiled with numba.

The chain of two words, where every box is a left-to-right HMM and silence may be skipped::

          ┌─ SIL ─┐   ┌─ pronunciation 1 ─┐   ┌─ SIL ─┐   ┌─ pronunciation 1 ─┐   ┌─ SIL ─┐
    ──▸ A₀ ──────▸ B₀ ─ pronunciation 2 ──▸ A₁ ──────▸ B₁ ────────────────────▸ A₂ ──────▸ B₂

Every HMM may be restricted to a span of frames, so that the work grows with the length of the
recording and not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_LOOP, _STEP = 0, 1
"""How a state was reached: from itself, or from the state or the node before it."""


@dataclass(frozen=True)
class Chain:
    """HMMs between nodes; nodes are numbered from left to right, the first is 0.

    Attributes
    ----------
    columns : np.ndarray
        int32 ``(num_states,)``: the posterior column of every state, one HMM after the other.
    first : np.ndarray
        int32 ``(num_hmms + 1,)``: the first state of every HMM.
    source, target : np.ndarray
        int32 ``(num_hmms,)``: nodes before and after it; sorted by source.
    skip : np.ndarray
        bool ``(num_nodes,)``: whether a node is also reached from the one before it at no cost.
    begin, end : np.ndarray
        int32 ``(num_hmms,)``: the frames [begin, end) to which an HMM is restricted; neither
        falls from one HMM to the next.
    """

    columns: Ints
    first: Ints
    source: Ints
    target: Ints
    skip: npt.NDArray[np.bool_]
    begin: Ints
    end: Ints

    def align(self, scores: Floats, self_loop: float) -> tuple[list[tuple[int, Ints]], float]:
        """The best path through the chain.

        Parameters
        ----------
        scores : np.ndarray
            float32 ``(num_frames, num_columns)``: log-likelihoods.
        self_loop : float
            Probability that a state repeats.

        Returns
        -------
        path : list of (int, np.ndarray)
            Every HMM on the path, with the first frame of each of its states and the frame after
            its last: int32 ``(num_states + 1,)``.
        score : float
            Its log-probability, ``-inf`` (and an empty path) where there is none.
        """
        loop, step = float(np.log(self_loop)), float(np.log1p(-self_loop))
        arrays = self.columns, self.first, self.source, self.target, self.skip
        hmms, frames, score = _align(scores, *arrays, self.begin, self.end, loop, step)
        path = []
        for hmm in hmms[::-1].tolist():
            count = int(self.first[hmm + 1] - self.first[hmm])
            path.append((hmm, frames[self.first[hmm] : self.first[hmm] + count]))
        ends = [int(starts[0]) for _, starts in path[1:]] + [len(scores)] * bool(path)
        return [
            (hmm, np.append(starts, end).astype(np.int32))
            for (hmm, starts), end in zip(path, ends, strict=True)
        ], score


def make(
    words: Sequence[Sequence[Sequence[int]]],
    spans: Sequence[tuple[int, int]],
    silence: Sequence[int],
    num_frames: int,
) -> tuple[Chain, list[tuple[int, int]]]:
    """The chain of some words.

    Parameters
    ----------
    words : sequence
        For every word its pronunciations, each as the columns of its states.
    spans : sequence of (int, int)
        The frames [begin, end) in which each word may lie.
    silence : sequence of int
        Columns of the states of silence.
    num_frames : int

    Returns
    -------
    chain : Chain
    owner : list of (int, int)
        For every HMM its word and pronunciation; (-1, -1) for silence.
    """
    hmms: list[tuple[Sequence[int], int, int, int, int]] = []  # columns, nodes, frames
    owner: list[tuple[int, int]] = []
    for number, pronunciations in enumerate(words):
        before = spans[number - 1][0] if number else 0
        hmms.append((silence, 2 * number, 2 * number + 1, before, spans[number][1]))
        owner.append((-1, -1))
        for index, columns in enumerate(pronunciations):
            hmms.append((columns, 2 * number + 1, 2 * number + 2, *spans[number]))
            owner.append((number, index))
    last = spans[-1][0] if spans else 0
    hmms.append((silence, 2 * len(words), 2 * len(words) + 1, last, num_frames))
    owner.append((-1, -1))
    sizes = [len(columns) for columns, *_ in hmms]
    table = np.array([hmm[1:] for hmm in hmms], dtype=np.int32)
    source, target, begin, end = (np.ascontiguousarray(column) for column in table.T)
    chain = Chain(
        columns=np.array([column for columns, *_ in hmms for column in columns], dtype=np.int32),
        first=np.cumsum([0, *sizes]).astype(np.int32),
        source=source,
        target=target,
        skip=np.arange(2 * len(words) + 2) % 2 == 1,
        begin=np.minimum.accumulate(np.maximum(begin[::-1], 0))[::-1].copy(),
        end=np.maximum.accumulate(np.minimum(end, num_frames)),
    )
    return chain, owner


@njit(nogil=True, cache=True)
def _align(  # noqa: C901 - one pass over frames, HMMs and states
    scores: Floats,
    columns: Ints,
    first: Ints,
    source: Ints,
    target: Ints,
    skip: npt.NDArray[np.bool_],
    begin: Ints,
    end: Ints,
    loop: float,
    step: float,
) -> tuple[Ints, Ints, Any]:
    """HMMs on the best path, the last first; the first frame of every state; the score."""
    num_frames, num_hmms, num_nodes = len(scores), len(source), len(skip)
    # Backpointers of a state, for the frames of its HMM alone.
    offset = np.zeros(num_hmms + 1, dtype=np.int64)
    for h in range(num_hmms):
        size = (first[h + 1] - first[h]) * max(0, end[h] - begin[h])
        offset[h + 1] = offset[h] + size
    back = np.zeros(offset[num_hmms], dtype=np.uint8)
    came = np.full((num_frames + 1, num_nodes), -1, dtype=np.int32)  # HMM; -1: skipped or start
    value = np.full(len(columns), -np.inf)
    node, before = np.full(num_nodes, -np.inf), np.full(num_nodes, -np.inf)
    node[0] = 0.0
    for n in range(1, num_nodes):
        if skip[n]:
            node[n] = node[n - 1]
    low = high = 0  # HMMs that have ended, and that have begun: both limits never fall
    for t in range(num_frames):
        node, before = before, node
        node[:] = -np.inf
        while low < num_hmms and end[low] <= t:
            low += 1
        while high < num_hmms and begin[high] <= t:
            high += 1
        for h in range(low, high):
            states = first[h + 1] - first[h]
            row = offset[h] + (t - begin[h]) * states
            for s in range(states - 1, -1, -1):
                i = first[h] + s
                stay = value[i] + loop
                enter = before[source[h]] if s == 0 else value[i - 1] + step
                if t == begin[h]:
                    stay = -np.inf
                    if s > 0:
                        enter = -np.inf
                if enter > stay:
                    back[row + s] = _STEP
                    value[i] = enter + scores[t, columns[i]]
                else:
                    back[row + s] = _LOOP
                    value[i] = stay + scores[t, columns[i]]
            out = value[first[h + 1] - 1] + step
            if out > node[target[h]]:
                node[target[h]] = out
                came[t + 1, target[h]] = h
        for n in range(1, num_nodes):
            if skip[n] and node[n - 1] > node[n]:
                node[n] = node[n - 1]
                came[t + 1, n] = -1
    path = np.empty(num_hmms, dtype=np.int32)
    frames = np.full(len(columns), -1, dtype=np.int32)
    score = node[num_nodes - 1]
    count, t, n = 0, num_frames, num_nodes - 1
    while score > -np.inf and (t > 0 or n > 0):
        h = came[t, n]
        if h < 0:
            n -= 1
            continue
        path[count] = h
        count += 1
        states = first[h + 1] - first[h]
        s = states - 1
        while True:
            t -= 1
            if back[offset[h] + (t - begin[h]) * states + s] == _STEP:
                frames[first[h] + s] = t
                s -= 1
                if s < 0:
                    break
        n = source[h]
    return path[:count].copy(), frames, score
