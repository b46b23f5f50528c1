"""Dynamic programming over an automaton and one utterance's frames, compiled with numba.

Every function takes the arrays of a `FrameGraph`: arcs sorted by the state that they enter,
``first`` (int64, one more than states) saying where each state's arcs begin, one arc a frame.
All in float64 natural logs, and without Python's lock.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def forward(src, label, score, first, log_probs):
    """α_t(s) = log Σ over paths of t arcs from state 0 to s; Rabiner 1989, equation 20.

    Returns
    -------
    np.ndarray
        ``(num_frames + 1, num_states)``.
    """
    num_frames, num_states = len(log_probs), len(first) - 1
    alpha = np.full((num_frames + 1, num_states), -np.inf)
    alpha[0, 0] = 0.0
    value = np.empty(max(1, np.max(first[1:] - first[:-1])))
    for t in range(num_frames):
        for state in range(num_states):
            begin, end = first[state], first[state + 1]
            top = -np.inf
            for arc in range(begin, end):
                here = alpha[t, src[arc]] + score[arc] + log_probs[t, label[arc]]
                value[arc - begin] = here
                top = max(top, here)
            if top > -np.inf:
                total = 0.0
                for way in range(end - begin):
                    total += np.exp(value[way] - top)
                alpha[t + 1, state] = top + np.log(total)
    return alpha


@njit(nogil=True, cache=True)
def occupancies(src, label, score, first, final, log_probs, alpha, total):
    """γ_t(k): the share of all paths that read label k in frame t, which is ∂ total / ∂ log_probs.

    Walks back from the end. What passes through a state is shared among the arcs that enter it
    in proportion to what each brings, so no second table of sums (β) is needed and no share can
    exceed 1.
    """
    num_frames, num_states = len(log_probs), len(first) - 1
    gamma = np.zeros(log_probs.shape)
    here = np.exp(alpha[num_frames] + final - total)
    for t in range(num_frames - 1, -1, -1):
        before = np.zeros(num_states)
        for state in range(num_states):
            if here[state] == 0.0:
                continue
            for arc in range(first[state], first[state + 1]):
                brings = alpha[t, src[arc]] + score[arc] + log_probs[t, label[arc]]
                share = here[state] * np.exp(brings - alpha[t + 1, state])
                before[src[arc]] += share
                gamma[t, label[arc]] += share
        here = before
    return gamma


@njit(nogil=True, cache=True)
def viterbi(src, label, score, first, final, log_probs):
    """The best path's label in every frame and its score; no labels and ``-inf`` without a path."""
    num_frames, num_states = len(log_probs), len(first) - 1
    best = np.full(num_states, -np.inf)
    best[0] = 0.0
    back = np.full((num_frames, num_states), -1, dtype=np.int32)
    for t in range(num_frames):
        after = np.full(num_states, -np.inf)
        for state in range(num_states):
            for arc in range(first[state], first[state + 1]):
                here = best[src[arc]] + score[arc] + log_probs[t, label[arc]]
                if here > after[state]:
                    after[state] = here
                    back[t, state] = arc
        best = after
    state = int(np.argmax(best + final))
    total = best[state] + final[state]
    if total == -np.inf:
        return np.empty(0, dtype=np.int64), total
    labels = np.empty(num_frames, dtype=np.int64)
    for t in range(num_frames - 1, -1, -1):
        labels[t] = label[back[t, state]]
        state = src[back[t, state]]
    return labels, total
