"""H∘L∘G as tensors, on any device, for the search in tensor operations.

    tensors = TensorFst.of(graph.packed_fst, num_labels=len(graph.columns), device="cuda")
    slot = tensors.state_slots[s]                               # the first one of state s
    tensors.arc_state[tensors.slot_arcs[slot] : tensors.slot_arcs[slot + 1]]

The arcs of a state stand in *slots* of a few, in order of their scores, so that those of slots
whose first arc is too low are not looked at. Arcs that read column 0, which may be the blank, have
slots of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.fst.indexing import expand_ranges
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.search.tensor_ops import tensor_of

_SLOT = 16
"""Most arcs of a slot."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorFst:
    """Tensors of H∘L∘G; state 0 is the start.

    Attributes
    ----------
    num_states, num_labels : int
        ``num_labels`` are the columns of the posteriors.
    most_rounds : int or None
        ε-arcs of the longest path of ε-arcs alone; None where these have cycles.
    state_slots : Tensor
        int32 ``(num_states + 1,)``: where the slots of each state begin.
    slot_arcs : Tensor
        int64 ``(num_slots + 2,)``: where the arcs of each slot begin. Only dead rows read the last
        element of this tensor and those below.
    slot_score, slot_label : Tensor
        float32, int32 ``(num_slots + 1,)``: score and label of the first arc, which is the best.
    slot_bound : Tensor
        int32, likewise: the label of all its arcs; ``num_labels`` where there are several.
    arc_score, arc_label, arc_state : Tensor
        float32, int32, int32 ``(num_arcs + 1,)``: score, label and destination, in the order of
        the packed view.
    eps_splits : Tensor
        int32 ``(num_states + 1,)``: where each state's ε-arcs begin.
    eps_state, eps_score : Tensor
        int32, float32 ``(num_eps + 1,)``: destinations and scores of ε-arcs, likewise.
    final : Tensor
        float32 ``(num_states,)``: final scores.
    """

    num_states: int
    num_labels: int
    most_rounds: int | None
    state_slots: Tensor
    slot_arcs: Tensor
    slot_score: Tensor
    slot_label: Tensor
    slot_bound: Tensor
    arc_score: Tensor
    arc_label: Tensor
    arc_state: Tensor
    eps_splits: Tensor
    eps_state: Tensor
    eps_score: Tensor
    final: Tensor

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.final.device

    @staticmethod
    def of(packed: PackedFst, num_labels: int, device: str = "cpu") -> TensorFst:
        """Make the tensors from the packed view of H∘L∘G."""
        label = packed.arcs["label"].astype(np.int64)
        begins, state_slots = _slots(packed.states["first"].astype(np.int64), label)
        slot_arcs = np.append(begins, [len(label)] * 2)
        several = np.zeros(len(begins), np.int64)
        if len(begins):
            several = np.maximum.reduceat(label, begins) - np.minimum.reduceat(label, begins)
        slot_label = label[begins]

        tensor = partial(tensor_of, device=device)
        padded = partial(tensor, padding=1)
        return TensorFst(
            packed.num_states,
            num_labels,
            longest_path(packed.states["eps_first"], packed.eps_arcs["dst"]),
            tensor(state_slots, np.int32),
            tensor(slot_arcs, np.int64),
            padded(packed.arcs["score"][begins], np.float32),
            padded(slot_label, np.int32),
            padded(np.where(several > 0, num_labels, slot_label), np.int32),
            padded(packed.arcs["score"], np.float32),
            padded(label, np.int32),
            padded(packed.arcs["dst"], np.int32),
            tensor(packed.states["eps_first"], np.int32),
            padded(packed.eps_arcs["dst"], np.int32),
            padded(packed.eps_arcs["score"], np.float32),
            tensor(packed.final, np.float32),
        )


def _slots(first: Array, label: Array) -> tuple[Array, Array]:
    """Where slots begin among the arcs, and where those of each state begin among the slots.

    ``first`` is int64 ``(num_states + 1,)``; in a state, arcs of label 0 come first.
    """
    state = np.repeat(np.arange(len(first) - 1), np.diff(first))
    is_new = np.ones(len(label), bool)
    is_new[1:] = (state[1:] != state[:-1]) | ((label[1:] > 0) != (label[:-1] > 0))
    groups = np.flatnonzero(is_new)
    place = np.arange(len(label)) - np.repeat(groups, np.diff(np.append(groups, len(label))))
    begins = np.flatnonzero(place % _SLOT == 0)
    return begins, np.searchsorted(begins, first)


def longest_path(splits: Array, dst: Array) -> int | None:
    """Number of arcs of the longest path, None if there is a cycle.

    The arcs of state s lead to ``dst[splits[s]:splits[s + 1]]``.
    """
    splits, dst = splits.astype(np.int64), dst.astype(np.int64)
    entering = np.bincount(dst, minlength=len(splits) - 1)
    left, length = len(dst), 0
    states = np.flatnonzero((entering == 0) & (np.diff(splits) > 0))
    while len(states):
        arcs, _ = expand_ranges(splits[states], splits[states + 1])
        reached, counts = np.unique(dst[arcs], return_counts=True)
        entering[reached] -= counts
        states = reached[(entering[reached] == 0)]
        left -= len(arcs)
        length += 1
        states = states[splits[states] < splits[states + 1]]
    return None if left else length
