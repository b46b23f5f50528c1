"""Lattices from the steps of a beam search.

In every frame a hypothesis arises from one of the previous frame by ∅, or by a token, or, if two
of those now have the same tokens, by both. Each such step is an arc of the lattice, so the sum
over all lattice paths to a hypothesis is its score in the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.lattice import FrameArcs

NO_ORIGIN = -1
"""In place of the slot of an origin: the hypothesis did not arise by this kind of step."""


@dataclass(frozen=True)
class Step:
    """Origins and scores of the K hypotheses of every utterance in one frame.

    Attributes
    ----------
    origin : Tensor
        int64 ``(B, 2, K)``: slot in the previous frame from which a hypothesis arose by ∅, and the
        slot from which it arose by a token.
    score : Tensor
        ``(B, 2, K)``: log-probabilities of these two steps.
    token : Tensor
        int64 ``(B, K)``: the last token of the hypothesis.
    """

    origin: Tensor
    score: Tensor
    token: Tensor


def lattices(
    steps: list[Step], lengths: list[int], words: npt.NDArray[np.int32]
) -> list[FrameArcs | None]:
    """Build the lattice of every utterance, None for one without frames.

    Parameters
    ----------
    steps : list of Step
        One for each frame of the longest utterance.
    lengths : list of int
        Number of frames of each utterance.
    words : np.ndarray
        int32 ``(num_tokens,)``: word id of every token.
    """
    if not steps:
        return [None] * len(lengths)
    origin, score, token = (
        torch.stack([getattr(step, name) for step in steps], 1).cpu().numpy()
        for name in ("origin", "score", "token")
    )
    return [
        _lattice(origin[row, :length], score[row], token[row], words) if length else None
        for row, length in enumerate(lengths)
    ]


def _lattice(
    origin: npt.NDArray[np.int64],
    score: npt.NDArray[np.float32],
    token: npt.NDArray[np.int64],
    words: npt.NDArray[np.int32],
) -> FrameArcs:
    """Lattice of one utterance from ``(T, 2, K)``, ``(T, 2, K)`` and ``(T, K)``, connected."""
    length, _, size = origin.shape
    keep = origin != NO_ORIGIN
    active = np.zeros((length + 1, size), dtype=bool)
    active[length] = keep[-1].any(axis=0)
    for t in range(length - 1, -1, -1):
        keep[t] &= active[t + 1]
        active[t, origin[t][keep[t]]] = True
    state = np.cumsum(active.ravel()).reshape(active.shape) - 1
    frame, kind, slot = np.nonzero(keep)
    src = state[frame, origin[keep]]
    order = np.argsort(src, kind="stable")
    frame, kind, slot = frame[order], kind[order], slot[order]
    label = np.where(kind == 1, token[frame, slot], 0)
    # Arcs from the last frame to the final state are added at the end.
    ending = state[length, active[length]]
    final, zeros = int(state[-1, -1]) + 1, 0 * ending
    phone = np.append(label, zeros)
    return FrameArcs(
        final + 1,
        np.append(src[order], ending).astype(np.int32),
        np.append(state[frame + 1, slot], zeros + final).astype(np.int32),
        np.append(label, zeros - 1).astype(np.int32),
        phone.astype(np.int32),
        np.append(frame, zeros + length).astype(np.int32),
        np.append(score[frame, kind, slot], zeros).astype(np.float64),
        np.zeros(len(phone)),
        words[label[label > 0]],
        np.append(0, np.cumsum(phone > 0)),
    )
