"""Automaton without epsilons, and its forward, backward and Viterbi recursions over frames.

The recursions are compiled with numba and release Python's global lock. Scores are float64 natural
logs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.errors import OptionError
from asr_hlg.fst.arcs import Arcs

Floats = npt.NDArray[np.float64]


class FramePath(NamedTuple):
    """Best path through some frames.

    Attributes
    ----------
    labels : np.ndarray
        int64 ``(num_frames,)``: the posterior column that each frame reads.
    tokens : np.ndarray
        int32 ``(num_frames,)``: the token of the lexicon that begins in a frame, 0 for none.
    score : float
    """

    labels: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]
    score: float


class FrameGraph(NamedTuple):
    """Weighted automaton in which every arc consumes one frame; state 0 is the start.

    Attributes
    ----------
    src, label : np.ndarray
        int32 ``(num_arcs,)``: source state and posterior column of every arc. Arcs are sorted by
        their destination state.
    token : np.ndarray
        int32 ``(num_arcs,)``: the token that begins on the arc, 0 for none.
    score : np.ndarray
        float64 ``(num_arcs,)``, natural logs.
    first : np.ndarray
        int64 ``(num_states + 1,)``: the arcs entering state s are ``first[s]:first[s + 1]``.
    final : np.ndarray
        float64 ``(num_states,)``: final log score, ``-inf`` where the state is not final.
    """

    src: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    token: npt.NDArray[np.int32]
    score: Floats
    first: npt.NDArray[np.int64]
    final: Floats

    @classmethod
    def from_arcs(cls, arcs: Arcs) -> FrameGraph:
        """Convert an automaton without input epsilons that writes tokens."""
        order = np.argsort(arcs.dst, kind="stable")
        counts = np.bincount(arcs.dst, minlength=arcs.num_states)
        return cls(
            arcs.src[order],
            arcs.ilabel[order],
            np.maximum(arcs.olabel[order], 0),
            arcs.score[order].astype(np.float64),
            np.concatenate([[0], np.cumsum(counts)]),
            arcs.final.astype(np.float64),
        )

    @property
    def min_frames(self) -> int:
        """Number of frames of the shortest path."""
        dst = np.repeat(np.arange(len(self.final)), np.diff(self.first))
        active = np.arange(len(self.final)) == 0
        for frames in range(len(self.final) + 1):
            if np.isfinite(self.final[active]).any():
                return frames
            following = np.zeros_like(active)
            following[dst[active[self.src]]] = True
            active = following
        raise OptionError("the graph has no path to a final state")

    def path_sum(self, log_probs: Floats, gradient: bool) -> tuple[float, Floats | None]:
        """Total score log Σ over paths of exp(score), with its gradient on request.

        Parameters
        ----------
        log_probs : np.ndarray
            float64 ``(num_frames, num_columns)``.
        gradient : bool

        Returns
        -------
        total : float
            ``-inf`` if no path has that many frames; nan if a log-probability is nan.
        occupancies : np.ndarray or None
            float64, shape of ``log_probs``; zeros if ``total`` is not finite.
        """
        alpha = _forward(self, log_probs)
        ending = alpha[-1] + self.final
        total = float(np.nan if np.isnan(log_probs).any() else np.logaddexp.reduce(ending))
        if not gradient:
            return total, None
        if not np.isfinite(total):
            return total, np.zeros_like(log_probs)
        return total, _occupancies(self, log_probs, alpha, total)

    def best_path(self, log_probs: Floats) -> FramePath:
        """Best path; without one there are no labels and the score is ``-inf``."""
        arcs, score = _viterbi(self, log_probs)
        return FramePath(self.label[arcs].astype(np.int64), self.token[arcs], score)


@njit(nogil=True, cache=True)
def _forward(graph: FrameGraph, log_probs: Floats) -> Floats:
    """Forward scores α_t(s) = log Σ over paths of t arcs from state 0 to s.

    Rabiner 1989, "A tutorial on hidden Markov models", equation 20. The result is
    ``(num_frames + 1, num_states)``.
    """
    num_frames, num_states = len(log_probs), len(graph.final)
    first = graph.first
    alpha = np.full((num_frames + 1, num_states), -np.inf)
    alpha[0, 0] = 0.0
    values = np.empty(max(1, np.max(first[1:] - first[:-1])))
    for t in range(num_frames):
        for state in range(num_states):
            begin, end = first[state], first[state + 1]
            top = -np.inf
            for arc in range(begin, end):
                value = alpha[t, graph.src[arc]] + graph.score[arc] + log_probs[t, graph.label[arc]]
                values[arc - begin] = value
                top = max(top, value)
            if top > -np.inf:
                total = 0.0
                for position in range(end - begin):
                    total += np.exp(values[position] - top)
                alpha[t + 1, state] = top + np.log(total)
    return alpha


@njit(nogil=True, cache=True)
def _occupancies(graph: FrameGraph, log_probs: Floats, alpha: Floats, total: float) -> Floats:
    """Occupancies γ_t(k) = ∂ total / ∂ log_probs[t, k]: posterior of label k in frame t.

    A backward pass that distributes the posterior of each state over its entering arcs in
    proportion to their forward scores. So it needs no backward scores β, and rounding cannot
    raise an occupancy above 1.
    """
    num_frames, num_states = len(log_probs), len(graph.final)
    gamma = np.zeros(log_probs.shape)
    posterior = np.exp(alpha[num_frames] + graph.final - total)
    for t in range(num_frames - 1, -1, -1):
        previous = np.zeros(num_states)
        for state in range(num_states):
            if posterior[state] == 0.0:
                continue
            for arc in range(graph.first[state], graph.first[state + 1]):
                src, label = graph.src[arc], graph.label[arc]
                value = alpha[t, src] + graph.score[arc] + log_probs[t, label]
                share = posterior[state] * np.exp(value - alpha[t + 1, state])
                previous[src] += share
                gamma[t, label] += share
        posterior = previous
    return gamma


@njit(nogil=True, cache=True)
def _viterbi(graph: FrameGraph, log_probs: Floats) -> tuple[npt.NDArray[np.int64], float]:
    """Arcs of the best path and its score; see `FrameGraph.best_path`."""
    num_frames, num_states = len(log_probs), len(graph.final)
    best = np.full(num_states, -np.inf)
    best[0] = 0.0
    back = np.full((num_frames, num_states), -1, dtype=np.int32)
    for t in range(num_frames):
        following = np.full(num_states, -np.inf)
        for state in range(num_states):
            for arc in range(graph.first[state], graph.first[state + 1]):
                value = best[graph.src[arc]] + graph.score[arc] + log_probs[t, graph.label[arc]]
                if value > following[state]:
                    following[state] = value
                    back[t, state] = arc
        best = following
    state = int(np.argmax(best + graph.final))
    total = best[state] + graph.final[state]
    if total == -np.inf:
        return np.empty(0, dtype=np.int64), total
    arcs = np.empty(num_frames, dtype=np.int64)
    for t in range(num_frames - 1, -1, -1):
        arcs[t] = back[t, state]
        state = graph.src[back[t, state]]
    return arcs, total
