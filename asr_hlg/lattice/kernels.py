"""Dynamic programming over one utterance's lattice, compiled with numba.

Every function takes arcs sorted by source state, states in topological order, state 0 the start
and the last state the only final one. Scores are float64 natural logs.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_EDIT = 1e9
"""Cost of an insertion, deletion or replacement: larger than any score."""

_NO_WORD, _MATCH, _REPLACE, _INSERT, _DELETE = range(5)


@njit(cache=True)
def closest_path(
    src: Ints, dst: Ints, word: Ints, score: Floats, num_states: int, words: Ints
) -> tuple[Indices, Indices, int]:
    """The path with the smallest edit distance to ``words``, the best-scoring one among equals.

    Viterbi over pairs of a state and a position in ``words``, where arcs may replace or insert a
    word and words may be deleted, at a cost that exceeds every score.

    Returns
    -------
    path : np.ndarray
        int64 arcs, first to last.
    aligned : np.ndarray
        int64 ``(len(words),)``: for every word the position in ``path`` of the arc whose word is
        equal to it or replaced by it; -1 for a deleted word.
    edits : int
        The edit distance.
    """
    length = len(words)
    back, move = _edit_distances(src, dst, word, score, num_states, words)
    path = np.empty(num_states, dtype=np.int64)
    aligned = np.full(length, -1, dtype=np.int64)
    state, position, count, edits = num_states - 1, length, 0, 0
    while state > 0 or position > 0:
        step = move[state, position]
        if step in (_REPLACE, _INSERT, _DELETE):
            edits += 1
        if step in (_MATCH, _REPLACE):
            aligned[position - 1] = count
        if step == _DELETE:
            position -= 1
            continue
        arc = back[state, position]
        path[count] = arc
        count += 1
        if step in (_MATCH, _REPLACE):
            position -= 1
        state = src[arc]
    aligned = np.where(aligned < 0, -1, count - 1 - aligned)
    return path[:count][::-1].copy(), aligned, edits


@njit(cache=True)
def _edit_distances(  # noqa: C901 - a function that updates the best path makes it three times slower
    src: Ints, dst: Ints, word: Ints, score: Floats, num_states: int, words: Ints
) -> tuple[Ints, npt.NDArray[np.int8]]:
    """The last arc and the last edit of the best path to every state and position in ``words``."""
    length = len(words)
    best = np.full((num_states, length + 1), -np.inf)
    back = np.full((num_states, length + 1), -1, dtype=np.int32)
    move = np.zeros((num_states, length + 1), dtype=np.int8)
    best[0, 0] = 0.0
    arc = 0
    for state in range(num_states):
        for position in range(length):
            if best[state, position] - _EDIT > best[state, position + 1]:
                best[state, position + 1] = best[state, position] - _EDIT
                move[state, position + 1] = _DELETE
        while arc < len(src) and src[arc] == state:
            target = dst[arc]
            for position in range(length + 1):
                path_score = best[state, position] + score[arc]
                if path_score == -np.inf:
                    continue
                if word[arc] == 0:
                    if path_score > best[target, position]:
                        best[target, position] = path_score
                        back[target, position] = arc
                        move[target, position] = _NO_WORD
                    continue
                if path_score - _EDIT > best[target, position]:
                    best[target, position] = path_score - _EDIT
                    back[target, position] = arc
                    move[target, position] = _INSERT
                if position < length:
                    same = words[position] == word[arc]
                    value = path_score if same else path_score - _EDIT
                    if value > best[target, position + 1]:
                        best[target, position + 1] = value
                        back[target, position + 1] = arc
                        move[target, position + 1] = _MATCH if same else _REPLACE
            arc += 1
    return back, move


@njit(cache=True)
def log_add(a: Any, b: Any) -> Any:
    """log(exp a + exp b) without overflow."""
    if a == -np.inf:
        return b
    if b == -np.inf:
        return a
    return max(a, b) + np.log1p(np.exp(-abs(a - b)))


@njit(cache=True)
def forward(src: Ints, dst: Ints, score: Floats, num_states: int, log: bool) -> Floats:
    """Scores from the start to every state: log Σ over paths (Rabiner 1989, eq. 20), or best."""
    alpha = np.full(num_states, -np.inf)
    alpha[0] = 0.0
    for arc in range(len(src)):
        value = alpha[src[arc]] + score[arc]
        old = alpha[dst[arc]]
        alpha[dst[arc]] = log_add(old, value) if log else max(old, value)
    return alpha


@njit(cache=True)
def best_path(src: Ints, dst: Ints, score: Floats, num_states: int) -> Indices:
    """The arcs of the best path, from the start to the end."""
    alpha = np.full(num_states, -np.inf)
    alpha[0] = 0.0
    back = np.full(num_states, -1, dtype=np.int64)
    for arc in range(len(src)):
        value = alpha[src[arc]] + score[arc]
        if value >= alpha[dst[arc]] and value > -np.inf:
            alpha[dst[arc]] = value
            back[dst[arc]] = arc
    length = 0
    state = num_states - 1
    while state != 0:
        state = src[back[state]]
        length += 1
    path = np.empty(length, dtype=np.int64)
    state = num_states - 1
    while state != 0:
        length -= 1
        path[length] = back[state]
        state = src[back[state]]
    return path


@njit(cache=True)
def backward(src: Ints, dst: Ints, score: Floats, num_states: int, log: bool) -> Floats:
    """Scores from every state to the end: log Σ over paths, or the best of them."""
    beta = np.full(num_states, -np.inf)
    beta[num_states - 1] = 0.0
    for arc in range(len(src) - 1, -1, -1):
        value = score[arc] + beta[dst[arc]]
        old = beta[src[arc]]
        beta[src[arc]] = log_add(old, value) if log else max(old, value)
    return beta


@njit(cache=True)
def best_sequences(
    src: Ints,
    dst: Ints,
    word: Ints,
    score: Floats,
    num_states: int,
    n: int,
    log: bool,
    max_expansions: int,
) -> tuple[list[npt.NDArray[np.int32]], list[float], bool]:
    """The n best different word sequences, by A* over word histories.

    A history is the set of states that it can end in, each with its score: lazy weighted
    determinization (Mohri 1997). A history's rank is the score of all its continuations together
    (``log``) or of the best one (not ``log``), which no single continuation exceeds, so that
    sequences are found in the right order.

    Returns
    -------
    sequences : list of np.ndarray
        int32 word ids.
    scores : list of float
        The sum (``log``) or the best over each sequence's alignments.
    exact : bool
        False if ``max_expansions`` histories were not enough for n sequences.
    """
    first = np.searchsorted(src, np.arange(num_states + 1))
    beta = backward(src, dst, score, num_states, log)
    # Histories as a tree: parent, last word, final states and their scores.
    parents = [-1]
    labels = [0]
    states = [np.zeros(1, dtype=np.int64)]
    scores = [np.zeros(1)]
    heap = [(-beta[0], 0, False)]
    sequences = [np.empty(0, dtype=np.int32) for _ in range(0)]
    sequence_scores = [0.0 for _ in range(0)]
    # Working space of the expansions.
    alpha = np.full(num_states, -np.inf)
    words, targets = np.empty((2, len(src)), dtype=np.int64)
    values = np.empty(len(src))
    expansions = 0
    while len(heap) > 0 and len(sequences) < n and expansions < max_expansions:
        rank, node, complete = heapq.heappop(heap)
        if complete:
            sequences.append(_spell(parents, labels, node))
            sequence_scores.append(-rank)
            continue
        expansions += 1
        final, count = _expand(
            dst, word, score, first, states[node], scores[node], log, alpha, words, targets, values
        )
        if final > -np.inf:
            heapq.heappush(heap, (-final, node, True))
        keys = words[:count] * num_states + targets[:count]
        order = np.argsort(keys, kind="mergesort")
        begin = 0
        while begin < len(order):
            end = begin
            while end < len(order) and words[order[end]] == words[order[begin]]:
                end += 1
            group = order[begin:end]
            child_states, child_scores, total = _merge(targets, values, group, beta, log)
            parents.append(node)
            labels.append(words[order[begin]])
            states.append(child_states)
            scores.append(child_scores)
            heapq.heappush(heap, (-total, len(parents) - 1, False))
            begin = end
    return sequences, sequence_scores, len(sequences) == n or len(heap) == 0


@njit(cache=True)
def _expand(
    dst: Ints,
    word: Ints,
    score: Floats,
    first: Indices,
    states: Indices,
    scores: Floats,
    log: bool,
    alpha: Floats,
    words: Indices,
    targets: Indices,
    values: Floats,
) -> tuple[Any, int]:
    """Follow arcs without words from a history's states to all arcs with words.

    ``alpha`` is ``-inf`` for every state, before and after. Written are the word and the target
    state of each arc with a word, and the score after it.

    Returns
    -------
    final : float
        The score of ending with this history, ``-inf`` if that is impossible.
    count : int
        The number of arcs that were written.
    """
    begin, end = states[0], states[0]
    for index in range(len(states)):
        state = states[index]
        alpha[state] = scores[index]
        begin, end = min(begin, state), max(end, state)
    final, count = -np.inf, 0
    state = begin
    while state <= end:
        path_score = alpha[state]
        if path_score > -np.inf:
            alpha[state] = -np.inf
            if state == len(alpha) - 1:
                final = path_score
            for arc in range(first[state], first[state + 1]):
                value = path_score + score[arc]
                target = dst[arc]
                if word[arc] == 0:
                    old = alpha[target]
                    alpha[target] = log_add(old, value) if log else max(old, value)
                    end = max(end, target)
                else:
                    words[count], targets[count], values[count] = word[arc], target, value
                    count += 1
        state += 1
    return final, count


@njit(cache=True)
def _merge(
    targets: Indices, values: Floats, group: Indices, beta: Floats, log: bool
) -> tuple[Indices, Floats, Any]:
    """The states of a new history with their scores, and its rank.

    ``group`` are the indices of the arcs that end with its last word, sorted by target.
    """
    states, scores = np.empty(len(group), dtype=np.int64), np.empty(len(group))
    count, total = 0, -np.inf
    for index in group:
        target, value = targets[index], values[index]
        ranked = value + beta[target]
        total = log_add(total, ranked) if log else max(total, ranked)
        if count > 0 and states[count - 1] == target:
            old = scores[count - 1]
            scores[count - 1] = log_add(old, value) if log else max(old, value)
        else:
            states[count], scores[count] = target, value
            count += 1
    return states[:count], scores[:count], total


@njit(cache=True)
def _spell(parents: list[int], labels: list[int], node: int) -> npt.NDArray[np.int32]:
    """The words of a history, from the root of the tree."""
    words = [0 for _ in range(0)]
    while parents[node] >= 0:
        words.append(labels[node])
        node = parents[node]
    return np.array(words[::-1], dtype=np.int32)


@njit(cache=True)
def sum_over_alignments(
    src: Ints, dst: Ints, word: Ints, score: Floats, num_states: int, words: Ints
) -> float:
    """Log Σ over the paths of a word sequence."""
    length = len(words)
    alpha = np.full((num_states, length + 1), -np.inf)
    alpha[0, 0] = 0.0
    for arc in range(len(src)):
        for position in range(length + 1):
            value = alpha[src[arc], position] + score[arc]
            target = position if word[arc] == 0 else position + 1
            fits = word[arc] == 0 or (position < length and words[position] == word[arc])
            if value > -np.inf and fits:
                alpha[dst[arc], target] = log_add(alpha[dst[arc], target], value)
    total: float = alpha[num_states - 1, length]
    return total
