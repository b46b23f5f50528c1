"""Lattices of two searches as sets of arcs, which can be compared whatever their order is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_hlg.lattice import FrameArcs

Array = npt.NDArray[np.float64]


def forward(arcs: FrameArcs, score: Array) -> Array:
    """Score of the best path to every state."""
    alpha = np.full(arcs.num_states, -np.inf)
    alpha[0] = 0.0
    for src, dst, added in zip(arcs.src, arcs.dst, score, strict=True):
        alpha[dst] = max(alpha[dst], alpha[src] + added)
    return alpha


def within(arcs: FrameArcs, log_probs: Array, cutoffs: Array, output_beam: float) -> Array:
    """Rows of arcs that read a label not below their frame's cutoff, or read a blank.

    Of these, only those on paths within the output beam. Each row is frame, label, phone, words,
    score, graph score, and the scores of the best paths to the arc and from it.

    Parameters
    ----------
    arcs : FrameArcs
    log_probs : np.ndarray
        ``(num_frames, num_columns)``: the scores that were searched.
    cutoffs : np.ndarray
        ``(num_frames,)``: relative to a path of blanks.
    output_beam : float
    """
    blanks = np.append(0.0, np.cumsum(log_probs[:, 0].astype(np.float64)))
    score = arcs.score.copy()
    best_before = forward(arcs, score)[arcs.src]
    emits = arcs.label > 0
    frame = np.minimum(arcs.frame, len(cutoffs) - 1)
    relative = best_before + score - blanks[np.minimum(arcs.frame + 1, len(cutoffs))]
    score[emits & (relative < cutoffs[frame] - 1e-9)] = -np.inf
    alpha, beta = forward(arcs, score), np.full(arcs.num_states, -np.inf)
    beta[-1] = 0.0
    for i in range(arcs.num_arcs - 1, -1, -1):
        beta[arcs.src[i]] = max(beta[arcs.src[i]], score[i] + beta[arcs.dst[i]])
    through = alpha[arcs.src] + score + beta[arcs.dst]
    cutoff = through.max() - output_beam + 1e-6
    kept = np.flatnonzero((through >= cutoff) & (through > -np.inf))
    words = [
        sum((k + 1) * word for k, word in enumerate(arcs.words[begin:end].tolist()))
        for begin, end in zip(arcs.word_splits[:-1], arcs.word_splits[1:], strict=True)
    ]
    columns = [arcs.frame, arcs.label, arcs.phone, words, arcs.score, arcs.graph_score]
    rows = np.stack([*columns, alpha[arcs.src], beta[arcs.dst]], axis=1)[kept]
    return rows[np.lexsort(np.round(rows, 5).T)]
