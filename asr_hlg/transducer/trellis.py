"""Lattices from the steps of a beam search.

In every frame a hypothesis arises from one of the previous frame by ∅, or by a token, or, if two
of those now have the same tokens, by both. Each such step is an arc of the lattice, so the sum
over all lattice paths to a hypothesis is its score in the search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.lattice import FrameArcs

Columns = tuple[npt.NDArray[Any], ...]
"""Arcs as arrays ``(num_arcs,)``: frame, source slot, destination slot, label, score."""

NO_ORIGIN = -1
"""In place of the slot of an origin: the hypothesis did not arise by this kind of step."""


@dataclass(frozen=True)
class Step:
    """Origins and scores of all hypotheses in one frame; shape ``(B, K)``, K slots an utterance.

    Attributes
    ----------
    blank_origin, token_origin : Tensor
        int64: slot in the previous frame from which a hypothesis arose by ∅, and by a token.
    token : Tensor
        int64: the last token of the hypothesis.
    blank_score, token_score : Tensor
        Log-probabilities of the two steps.
    """

    blank_origin: Tensor
    token_origin: Tensor
    token: Tensor
    blank_score: Tensor
    token_score: Tensor


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
    # (B, T, K) each
    blank_origin, token_origin, token, blank_score, token_score = (
        torch.stack([getattr(step, name) for step in steps], 1).cpu().numpy()
        for name in ("blank_origin", "token_origin", "token", "blank_score", "token_score")
    )
    arcs: list[FrameArcs | None] = []
    for row, length in enumerate(lengths):
        if not length:
            arcs.append(None)
            continue
        with_blank = _arcs(blank_origin[row, :length], blank_score[row], 0 * token[row])
        with_token = _arcs(token_origin[row, :length], token_score[row], token[row])
        columns = tuple(np.concatenate(pair) for pair in zip(with_blank, with_token, strict=True))
        arcs.append(_connect(columns, length, token.shape[2], words))
    return arcs


def _arcs(
    origin: npt.NDArray[np.int64], score: npt.NDArray[np.float32], token: npt.NDArray[np.int64]
) -> Columns:
    """Arcs of the steps of one kind; arguments are ``(T, K)``."""
    frame, slot = np.nonzero(origin != NO_ORIGIN)
    return frame, origin[frame, slot], slot, token[frame, slot], score[frame, slot]


def _connect(columns: Columns, length: int, size: int, words: npt.NDArray[np.int32]) -> FrameArcs:
    """Number the states, keep the arcs on complete paths, and add arcs to the final state."""
    frame, origin, slot, label, score = columns
    alive = np.zeros((length + 1, size), dtype=bool)
    alive[length, slot[frame == length - 1]] = True
    keep = np.zeros(len(frame), dtype=bool)
    by_frame = np.argsort(frame, kind="stable")
    splits = np.searchsorted(frame[by_frame], np.arange(length + 1))
    for t in range(length - 1, -1, -1):
        arcs = by_frame[splits[t] : splits[t + 1]]
        arcs = arcs[alive[t + 1, slot[arcs]]]
        keep[arcs] = True
        alive[t, origin[arcs]] = True
    number = np.cumsum(alive.ravel()).reshape(alive.shape) - 1
    frame, origin, slot, label, score = (column[keep] for column in columns)
    ending = number[length, alive[length]]
    final = int(number[-1, -1]) + 1
    src = np.concatenate([number[frame, origin], ending])
    dst = np.concatenate([number[frame + 1, slot], np.full(len(ending), final)])
    order = np.argsort(src, kind="stable")
    zeros = np.zeros(len(ending), dtype=np.int64)
    label, score, frame = (
        np.concatenate([column, values])[order]
        for column, values in ((label, zeros - 1), (score, zeros), (frame, zeros + length))
    )
    token = np.maximum(label, 0)
    has_word = token > 0
    return FrameArcs(
        final + 1,
        src[order].astype(np.int32),
        dst[order].astype(np.int32),
        label.astype(np.int32),
        token.astype(np.int32),
        frame.astype(np.int32),
        score.astype(np.float64),
        np.zeros(len(src)),
        words[token[has_word]],
        np.concatenate([[0], np.cumsum(has_word)]),
    )
