"""Dynamic programming over one utterance's lattice, compiled with numba.

Every function takes arcs sorted by source state, states in topological order, state 0 the start
and the last state the only final one. Scores are float64 natural logs.
"""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

_EDIT = 1e9
"""Cost of one word that differs: more than any score can make up for."""

_TAKE, _MATCH, _REPLACE, _INSERT, _DELETE = range(5)


@njit(cache=True)
def closest_path(src, dst, word, score, num_states, words):
    """The path whose words differ least from ``words``, the best-scoring one among equals.

    Viterbi over (state, how many of ``words`` are behind), where arcs may replace or insert a
    word and words may be skipped, at a cost that outweighs every score.

    Returns
    -------
    path : np.ndarray
        int64 arcs, first to last.
    carrier : np.ndarray
        int64 ``(len(words),)``: for every word the position in ``path`` of the arc that says it
        or stands in its place; -1 for a word that the path lacks.
    edits : int
        How many words differ.
    """
    length = len(words)
    best = np.full((num_states, length + 1), -np.inf)
    back = np.full((num_states, length + 1), -1, dtype=np.int32)
    move = np.zeros((num_states, length + 1), dtype=np.int8)
    best[0, 0] = 0.0
    arc = 0
    for state in range(num_states):
        for said in range(length):
            if best[state, said] - _EDIT > best[state, said + 1]:
                best[state, said + 1] = best[state, said] - _EDIT
                move[state, said + 1] = _DELETE
        while arc < len(src) and src[arc] == state:
            target = dst[arc]
            for said in range(length + 1):
                here = best[state, said] + score[arc]
                if here == -np.inf:
                    continue
                if word[arc] == 0:
                    if here > best[target, said]:
                        best[target, said] = here
                        back[target, said] = arc
                        move[target, said] = _TAKE
                    continue
                if here - _EDIT > best[target, said]:
                    best[target, said] = here - _EDIT
                    back[target, said] = arc
                    move[target, said] = _INSERT
                if said < length:
                    same = words[said] == word[arc]
                    value = here if same else here - _EDIT
                    if value > best[target, said + 1]:
                        best[target, said + 1] = value
                        back[target, said + 1] = arc
                        move[target, said + 1] = _MATCH if same else _REPLACE
            arc += 1
    path = np.empty(num_states, dtype=np.int64)
    carrier = np.full(length, -1, dtype=np.int64)
    state, said, count, edits = num_states - 1, length, 0, 0
    while state > 0 or said > 0:
        step = move[state, said]
        if step in (_REPLACE, _INSERT, _DELETE):
            edits += 1
        if step in (_MATCH, _REPLACE):
            carrier[said - 1] = count
        if step == _DELETE:
            said -= 1
            continue
        taken = back[state, said]
        path[count] = taken
        count += 1
        if step in (_MATCH, _REPLACE):
            said -= 1
        state = src[taken]
    carrier = np.where(carrier < 0, -1, count - 1 - carrier)
    return path[:count][::-1].copy(), carrier, edits


@njit(cache=True)
def log_add(a, b):
    """log(exp a + exp b) without overflow."""
    if a == -np.inf:
        return b
    if b == -np.inf:
        return a
    return max(a, b) + np.log1p(np.exp(-abs(a - b)))


@njit(cache=True)
def forward(src, dst, score, num_states, log):
    """From the start to every state: log Σ over paths (Rabiner 1989, eq. 20), or the best."""
    alpha = np.full(num_states, -np.inf)
    alpha[0] = 0.0
    for arc in range(len(src)):
        value = alpha[src[arc]] + score[arc]
        old = alpha[dst[arc]]
        alpha[dst[arc]] = log_add(old, value) if log else max(old, value)
    return alpha


@njit(cache=True)
def best_path(src, dst, score, num_states):
    """The arcs of the best path, from the start to the end."""
    alpha = np.full(num_states, -np.inf)
    alpha[0] = 0.0
    into = np.full(num_states, -1, dtype=np.int64)
    for arc in range(len(src)):
        value = alpha[src[arc]] + score[arc]
        if value >= alpha[dst[arc]] and value > -np.inf:
            alpha[dst[arc]] = value
            into[dst[arc]] = arc
    length = 0
    state = num_states - 1
    while state != 0:
        state = src[into[state]]
        length += 1
    path = np.empty(length, dtype=np.int64)
    state = num_states - 1
    while state != 0:
        length -= 1
        path[length] = into[state]
        state = src[into[state]]
    return path


@njit(cache=True)
def backward(src, dst, score, num_states, log):
    """From every state to the end: log Σ over paths, or the best of them."""
    beta = np.full(num_states, -np.inf)
    beta[num_states - 1] = 0.0
    for arc in range(len(src) - 1, -1, -1):
        value = score[arc] + beta[dst[arc]]
        old = beta[src[arc]]
        beta[src[arc]] = log_add(old, value) if log else max(old, value)
    return beta


@njit(cache=True)
def best_sequences(src, dst, word, score, num_states, n, log, max_expansions):
    """The n best different word sequences, by A* over word histories.

    A history is the set of states that it can end in, each with its score: lazy weighted
    determinization (Mohri 1997). A history's rank is what all its continuations reach together
    (``log``) or at best (not ``log``), which no single continuation exceeds, so sequences come
    out in the right order.

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
    last = num_states - 1
    parents = [-1]
    labels = [0]
    states = [np.zeros(1, dtype=np.int64)]
    scores = [np.zeros(1)]
    heap = [(-beta[0], 0, False)]
    found = [np.empty(0, dtype=np.int32) for _ in range(0)]
    found_scores = [0.0 for _ in range(0)]
    alpha = np.full(num_states, -np.inf)
    expansions = 0
    while len(heap) > 0 and len(found) < n and expansions < max_expansions:
        rank, node, complete = heapq.heappop(heap)
        if complete:
            found.append(_spell(parents, labels, node))
            found_scores.append(-rank)
            continue
        expansions += 1
        begin, end = states[node][0], states[node][0]
        for index in range(len(states[node])):
            state = states[node][index]
            alpha[state] = scores[node][index]
            begin, end = min(begin, state), max(end, state)
        words = [np.int64(0) for _ in range(0)]
        targets = [np.int64(0) for _ in range(0)]
        values = [0.0 for _ in range(0)]
        state = begin
        while state <= end:
            here = alpha[state]
            if here > -np.inf:
                alpha[state] = -np.inf
                if state == last:
                    heapq.heappush(heap, (-here, node, True))
                for arc in range(first[state], first[state + 1]):
                    value = here + score[arc]
                    target = dst[arc]
                    if word[arc] == 0:
                        old = alpha[target]
                        alpha[target] = log_add(old, value) if log else max(old, value)
                        end = max(end, target)
                    else:
                        words.append(np.int64(word[arc]))
                        targets.append(np.int64(target))
                        values.append(value)
            state += 1
        order = np.argsort(np.array(words) * num_states + np.array(targets), kind="mergesort")
        at = 0
        while at < len(order):
            label = words[order[at]]
            child_states = [0 for _ in range(0)]
            child_scores = [0.0 for _ in range(0)]
            total = -np.inf
            while at < len(order) and words[order[at]] == label:
                target, value = targets[order[at]], values[order[at]]
                ranked = value + beta[target]
                total = log_add(total, ranked) if log else max(total, ranked)
                if len(child_states) > 0 and child_states[-1] == target:
                    old = child_scores[-1]
                    child_scores[-1] = log_add(old, value) if log else max(old, value)
                else:
                    child_states.append(target)
                    child_scores.append(value)
                at += 1
            parents.append(node)
            labels.append(label)
            states.append(np.array(child_states))
            scores.append(np.array(child_scores))
            heapq.heappush(heap, (-total, len(parents) - 1, False))
    return found, found_scores, len(found) == n or len(heap) == 0


@njit(cache=True)
def _spell(parents, labels, node):
    """The words from the root to a history."""
    words = [0 for _ in range(0)]
    while parents[node] >= 0:
        words.append(labels[node])
        node = parents[node]
    return np.array(words[::-1], dtype=np.int32)


@njit(cache=True)
def sum_over_alignments(src, dst, word, score, num_states, words):
    """Log Σ over the paths that spell a word sequence."""
    length = len(words)
    alpha = np.full((num_states, length + 1), -np.inf)
    alpha[0, 0] = 0.0
    for arc in range(len(src)):
        for said in range(length + 1):
            here = alpha[src[arc], said] + score[arc]
            if here == -np.inf:
                continue
            if word[arc] == 0:
                alpha[dst[arc], said] = log_add(alpha[dst[arc], said], here)
            elif said < length and words[said] == word[arc]:
                alpha[dst[arc], said + 1] = log_add(alpha[dst[arc], said + 1], here)
    return alpha[num_states - 1, length]


@njit(cache=True)
def slot_posteriors(src, dst, word, score, num_states, reference, num_words):
    """Where a lattice's words fall when its paths are aligned with a reference.

    Xu, Povey, Mangu, Zhu 2011, "Minimum Bayes Risk decoding and system combination based on a
    recursion for edit distance", Algorithm 2 and 4, with their small preference against
    insertions, so that ties resolve one way.

    Parameters
    ----------
    word : np.ndarray
        int ``(num_arcs,)``: word ids from 1, below ``num_words``; 0 for none.
    reference : np.ndarray
        int32 ``(num_slots,)``: word ids, 0 for an empty slot.

    Returns
    -------
    risk : float
        Expected edit distance between the reference and a path drawn from the lattice.
    stats : np.ndarray
        float64 ``(num_words, num_slots)``, where ``num_words`` exceeds the largest word id:
        probability that a path says the word and that it is aligned with the slot.
    """
    insertion = 1.0 + 1e-5
    num_arcs, slots = len(src), len(reference)
    alpha = forward(src, dst, score, num_states, True)
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
    stats = np.zeros((num_words, slots))
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
                if word[arc] != 0:
                    stats[word[arc], q - 1] += here
                mass[src[arc], q - 1] += here
            elif move[arc, q] == 1:
                mass[src[arc], q] += here
            else:
                carried = here
    return risk, stats
