"""Dynamic programming over one utterance's lattice, compiled with numba.

Every function takes arcs sorted by source state, states in topological order, state 0 the start
and the last state the only final one. Scores are float64 natural logs.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def best_path_of_words(src, dst, word, score, num_states, words):
    """Viterbi over (state, words said so far): arcs of the best path that spells ``words``."""
    length = len(words)
    best = np.full((num_states, length + 1), -np.inf)
    back = np.full((num_states, length + 1), -1, dtype=np.int32)
    best[0, 0] = 0.0
    for arc in range(len(src)):
        for said in range(length + 1):
            reached = best[src[arc], said]
            if reached == -np.inf:
                continue
            after = said
            if word[arc] > 0:
                if said == length or words[said] != word[arc]:
                    continue
                after = said + 1
            if reached + score[arc] > best[dst[arc], after]:
                best[dst[arc], after] = reached + score[arc]
                back[dst[arc], after] = arc
    if best[num_states - 1, length] == -np.inf:
        return np.empty(0, dtype=np.int64)
    path = np.empty(num_states, dtype=np.int64)
    state, said, count = num_states - 1, length, 0
    while state > 0:
        arc = back[state, said]
        path[count] = arc
        count += 1
        if word[arc] > 0:
            said -= 1
        state = src[arc]
    return path[:count][::-1].copy()


@njit(cache=True)
def topological_order(src, dst, num_states):
    """States such that every arc leads forward (Kahn 1962); arcs here in any order."""
    entering = np.zeros(num_states, dtype=np.int64)
    first = np.zeros(num_states + 1, dtype=np.int64)
    for arc in range(len(src)):
        entering[dst[arc]] += 1
        first[src[arc] + 1] += 1
    first = np.cumsum(first)
    leaving = np.argsort(src, kind="mergesort")
    order = np.empty(num_states, dtype=np.int64)
    found = 0
    for state in range(num_states):
        if entering[state] == 0:
            order[found] = state
            found += 1
    at = 0
    while at < found:
        state = order[at]
        at += 1
        for index in range(first[state], first[state + 1]):
            target = dst[leaving[index]]
            entering[target] -= 1
            if entering[target] == 0:
                order[found] = target
                found += 1
    return order[:found]


@njit(cache=True)
def log_add(a, b):
    """log(exp a + exp b) without overflow."""
    if a == -np.inf:
        return b
    if b == -np.inf:
        return a
    return max(a, b) + np.log1p(np.exp(-abs(a - b)))


@njit(cache=True)
def forward(src, dst, score, num_states):
    """log Σ over paths from the start to every state (Rabiner 1989, eq. 20)."""
    alpha = np.full(num_states, -np.inf)
    alpha[0] = 0.0
    for arc in range(len(src)):
        alpha[dst[arc]] = log_add(alpha[dst[arc]], alpha[src[arc]] + score[arc])
    return alpha


@njit(cache=True)
def slot_posteriors(src, dst, word, score, num_states, reference):
    """Where a lattice's words fall when its paths are aligned with a reference.

    Xu, Povey, Mangu, Zhu 2011, "Minimum Bayes Risk decoding and system combination based on a
    recursion for edit distance", Algorithm 2 and 4, with their small preference against
    insertions, so that ties resolve one way.

    Parameters
    ----------
    reference : np.ndarray
        int32 ``(num_slots,)``: word ids, 0 for an empty slot.

    Returns
    -------
    risk : float
        Expected edit distance between the reference and a path drawn from the lattice.
    stats : np.ndarray
        float64 ``(num_arcs, num_slots + 1)``: probability that a path takes the arc and that its
        word is aligned with slot q - 1; column 0 holds words before every slot.
    """
    insertion = 1.0 + 1e-5
    num_arcs, slots = len(src), len(reference)
    alpha = forward(src, dst, score, num_states)
    distance = np.zeros((num_states, slots + 1))
    for q in range(1, slots + 1):
        distance[0, q] = distance[0, q - 1] + (reference[q - 1] != 0)
    row = np.empty(slots + 1)
    move = np.empty((num_arcs, slots + 1), dtype=np.int8)
    for arc in range(num_arcs):
        share = np.exp(alpha[src[arc]] + score[arc] - alpha[dst[arc]])
        said = word[arc]
        for q in range(slots + 1):
            best = distance[src[arc], q] + (insertion if said != 0 else 0.0)
            move[arc, q] = 1
            if q > 0:
                match = distance[src[arc], q - 1] + (said != reference[q - 1])
                if match <= best:
                    best = match
                    move[arc, q] = 0
                skip = row[q - 1] + (reference[q - 1] != 0)
                if skip < best:
                    best = skip
                    move[arc, q] = 2
            row[q] = best
            distance[dst[arc], q] += share * best
    risk = distance[num_states - 1, slots]
    stats = np.zeros((num_arcs, slots + 1))
    mass = np.zeros((num_states, slots + 1))
    mass[num_states - 1, slots] = 1.0
    for arc in range(num_arcs - 1, -1, -1):
        share = np.exp(alpha[src[arc]] + score[arc] - alpha[dst[arc]])
        carried = 0.0
        for q in range(slots, -1, -1):
            here = share * mass[dst[arc], q] + carried
            carried = 0.0
            if here == 0.0:
                continue
            if move[arc, q] == 0:
                stats[arc, q] += here
                mass[src[arc], q - 1] += here
            elif move[arc, q] == 1:
                mass[src[arc], q] += here
            else:
                carried = here
    return risk, stats
