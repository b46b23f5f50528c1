"""Forward, backward and Viterbi recursions over a `FrameGraph` and one utterance's frames.

Compiled with numba. Every function takes the arrays of a `FrameGraph`: arcs sorted by their
destination state, each consuming one frame, and ``first`` (int64 ``(num_states + 1,)``), so that
the arcs entering state s are ``first[s]:first[s + 1]``. Scores are float64 natural logs. The
functions release Python's global lock.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@njit(nogil=True, cache=True)
def forward(src: Ints, label: Ints, score: Floats, first: Ints, log_probs: Floats) -> Floats:
    """Forward scores α_t(s) = log Σ over paths of t arcs from state 0 to s.

    Rabiner 1989, "A tutorial on hidden Markov models", equation 20.

    Returns
    -------
    np.ndarray
        ``(num_frames + 1, num_states)``.
    """
    num_frames, num_states = len(log_probs), len(first) - 1
    alpha = np.full((num_frames + 1, num_states), -np.inf)
    alpha[0, 0] = 0.0
    values = np.empty(max(1, np.max(first[1:] - first[:-1])))
    for t in range(num_frames):
        for state in range(num_states):
            begin, end = first[state], first[state + 1]
            top = -np.inf
            for arc in range(begin, end):
                value = alpha[t, src[arc]] + score[arc] + log_probs[t, label[arc]]
                values[arc - begin] = value
                top = max(top, value)
            if top > -np.inf:
                total = 0.0
                for position in range(end - begin):
                    total += np.exp(values[position] - top)
                alpha[t + 1, state] = top + np.log(total)
    return alpha


@njit(nogil=True, cache=True)
def occupancies(
    src: Ints,
    label: Ints,
    score: Floats,
    first: Ints,
    final: Floats,
    log_probs: Floats,
    alpha: Floats,
    total: float,
) -> Floats:
    """Occupancies γ_t(k) = ∂ total / ∂ log_probs[t, k]: posterior of label k in frame t.

    A backward pass that distributes the posterior of each state over its entering arcs in
    proportion to their forward scores. So it needs no backward scores β, and rounding cannot
    raise an occupancy above 1.
    """
    num_frames, num_states = len(log_probs), len(first) - 1
    gamma = np.zeros(log_probs.shape)
    posterior = np.exp(alpha[num_frames] + final - total)
    for t in range(num_frames - 1, -1, -1):
        previous = np.zeros(num_states)
        for state in range(num_states):
            if posterior[state] == 0.0:
                continue
            for arc in range(first[state], first[state + 1]):
                value = alpha[t, src[arc]] + score[arc] + log_probs[t, label[arc]]
                share = posterior[state] * np.exp(value - alpha[t + 1, state])
                previous[src[arc]] += share
                gamma[t, label[arc]] += share
        posterior = previous
    return gamma


@njit(nogil=True, cache=True)
def viterbi(
    src: Ints, label: Ints, score: Floats, first: Ints, final: Floats, log_probs: Floats
) -> tuple[npt.NDArray[np.int64], float]:
    """Labels of the best path, one a frame, and its score; none and ``-inf`` without a path."""
    num_frames, num_states = len(log_probs), len(first) - 1
    best = np.full(num_states, -np.inf)
    best[0] = 0.0
    back = np.full((num_frames, num_states), -1, dtype=np.int32)
    for t in range(num_frames):
        following = np.full(num_states, -np.inf)
        for state in range(num_states):
            for arc in range(first[state], first[state + 1]):
                value = best[src[arc]] + score[arc] + log_probs[t, label[arc]]
                if value > following[state]:
                    following[state] = value
                    back[t, state] = arc
        best = following
    state = int(np.argmax(best + final))
    total = best[state] + final[state]
    if total == -np.inf:
        return np.empty(0, dtype=np.int64), total
    labels = np.empty(num_frames, dtype=np.int64)
    for t in range(num_frames - 1, -1, -1):
        labels[t] = label[back[t, state]]
        state = src[back[t, state]]
    return labels, total
