"""What greedy and beam search did, frame by frame, and the lattice that it makes.

In every frame a hypothesis comes from one of the frame before by ∅, or by a token, or, where two
of them now have the same tokens, by both. These steps are the arcs of a lattice; its sum over all
paths to a hypothesis is the score that the search gave it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asr_hlg.lattice import FrameArcs

NOWHERE = -1
"""In place of the hypothesis that another comes from: there is none."""


@dataclass(frozen=True)
class Steps:
    """One frame of a batch; all of shape ``(B, K)``, K hypotheses an utterance.

    Attributes
    ----------
    silent, said : Tensor
        int64: the hypothesis of the frame before from which this one comes by ∅, and by a token.
    token : Tensor
        int64: the last token of the hypothesis.
    silent_score, said_score : Tensor
        Log-probability of the one step and of the other.
    """

    silent: Tensor
    said: Tensor
    token: Tensor
    silent_score: Tensor
    said_score: Tensor


def lattices(steps: list[Steps], lengths: list[int], words: np.ndarray) -> list[FrameArcs | None]:
    """The lattice of every utterance, None for one without frames.

    Parameters
    ----------
    steps : list of Steps
        One a frame, as many as the longest utterance has.
    lengths : list of int
        Frames of each utterance.
    words : np.ndarray
        int32 ``(num_tokens,)``: the word that stands for each token.
    """
    if not steps:
        return [None] * len(lengths)
    # (B, T, K) each
    silent, said, token, silent_score, said_score = (
        torch.stack([getattr(frame, name) for frame in steps], 1).cpu().numpy()
        for name in ("silent", "said", "token", "silent_score", "said_score")
    )
    found: list[FrameArcs | None] = []
    for row, length in enumerate(lengths):
        if not length:
            found.append(None)
            continue
        by_silence = _arcs(silent[row, :length], silent_score[row], 0 * token[row])
        by_token = _arcs(said[row, :length], said_score[row], token[row])
        columns = [np.concatenate(pair) for pair in zip(by_silence, by_token, strict=True)]
        found.append(_connected(columns, length, token.shape[2], words))
    return found


def _arcs(origin: np.ndarray, score: np.ndarray, token: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arcs ``(frame, from, to, label, score)`` of the steps that have an origin."""
    frame, slot = np.nonzero(origin != NOWHERE)
    return frame, origin[frame, slot], slot, token[frame, slot], score[frame, slot]


def _connected(columns: list[np.ndarray], length: int, size: int, words: np.ndarray) -> FrameArcs:
    """Arcs on paths from the first to the last frame, and the arcs that end there."""
    frame, origin, slot, label, score = columns
    alive = np.zeros((length + 1, size), dtype=bool)
    alive[length, slot[frame == length - 1]] = True
    keep = np.zeros(len(frame), dtype=bool)
    by_frame = np.argsort(frame, kind="stable")
    splits = np.searchsorted(frame[by_frame], np.arange(length + 1))
    for t in range(length - 1, -1, -1):
        here = by_frame[splits[t] : splits[t + 1]]
        here = here[alive[t + 1, slot[here]]]
        keep[here] = True
        alive[t, origin[here]] = True
    number = np.cumsum(alive.ravel()).reshape(alive.shape) - 1
    frame, origin, slot, label, score = (c[keep] for c in (frame, origin, slot, label, score))
    ends = number[length, alive[length]]
    final = int(number[-1, -1]) + 1
    src = np.concatenate([number[frame, origin], ends])
    dst = np.concatenate([number[frame + 1, slot], np.full(len(ends), final)])
    order = np.argsort(src, kind="stable")
    nothing = np.zeros(len(ends), dtype=np.int64)
    label, score, frame = (
        np.concatenate([column, end])[order]
        for column, end in ((label, nothing - 1), (score, nothing), (frame, nothing + length))
    )
    phone = np.maximum(label, 0)
    has = phone > 0
    return FrameArcs(
        final + 1,
        src[order].astype(np.int32),
        dst[order].astype(np.int32),
        label.astype(np.int32),
        phone.astype(np.int32),
        frame.astype(np.int32),
        score.astype(np.float64),
        np.zeros(len(src)),
        words[phone[has]],
        np.concatenate([[0], np.cumsum(has)]),
    )
