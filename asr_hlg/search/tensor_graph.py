"""L∘G as tensors, on any device, for the search in tensor operations.

    tensors = TensorGraph.of(graph.packed, num_labels=len(graph.columns), device="cuda")
    slot = tensors.state_slot[s]                                # the first one of state s
    tensors.arc_pair[tensors.slot_arcs[slot] : tensors.slot_arcs[slot + 1]]

The arcs of a state that read a label stand in *slots*, side by side. A state of few arcs has one
slot. A state of many has a slot for every label, so that the arcs of the frame's probable labels
are found without a look at the others. In a slot, the arcs come in order of their scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from asr_hlg.graph.packed import PackedLg
from asr_hlg.search.tensor_ops import tensor_of

_LISTED = 8
"""A state with at most so many arcs has one slot."""


@dataclass(frozen=True)
class TensorGraph:
    """Tensors of L∘G; state 0 is the start.

    Attributes
    ----------
    num_states : int
    num_labels : int
        Columns of the posteriors; label 0 is the blank.
    state_slot : Tensor
        int64 ``(num_states,)``: the state's first slot.
    state_by_label : Tensor
        int64 ``(num_states,)``: 1 for a state with a slot for every label, 0 for one with one slot.
    state_reach : Tensor
        float32 ``(num_states,)``: the largest score of its arcs.
    slot_arcs : Tensor
        int64 ``(num_slots + 1,)``: the slot's first arc.
    slot_score, slot_label : Tensor
        float32, int64 ``(num_slots,)``: score and label of the first arc; ``-inf`` without any.
    arc_score, arc_label, arc_pair, arc_index : Tensor
        float32, uint8 or int64, int32, int32 ``(num_arcs + 1,)``: score; label; index of the
        pair of destination and label; index in the packed view. Only dead rows read the last.
    pair_state, pair_label : Tensor
        int64 ``(num_pairs,)``: every pair of a state and a label by which it is reached; the last
        one is the start and label 0.
    eps_splits : Tensor
        int64 ``(num_states + 1,)``: where each state's ε-arcs begin.
    eps_state, eps_score : Tensor
        int64, float32 ``(num_eps + 1,)``: destinations and scores of ε-arcs, likewise.
    final : Tensor
        float32 ``(num_states,)``: final scores.
    """

    num_states: int
    num_labels: int
    state_slot: Tensor
    state_by_label: Tensor
    state_reach: Tensor
    slot_arcs: Tensor
    slot_score: Tensor
    slot_label: Tensor
    arc_score: Tensor
    arc_label: Tensor
    arc_pair: Tensor
    arc_index: Tensor
    pair_state: Tensor
    pair_label: Tensor
    eps_splits: Tensor
    eps_state: Tensor
    eps_score: Tensor
    final: Tensor

    @property
    def num_pairs(self) -> int:
        """Number of pairs of a state and a label, the start's included."""
        return len(self.pair_state)

    @property
    def num_bytes(self) -> int:
        """Size of all tensors."""
        tensors = [value for value in vars(self).values() if isinstance(value, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.final.device

    @staticmethod
    def of(packed: PackedLg, num_labels: int, device: str = "cpu") -> TensorGraph:
        """Make the tensors from the packed view of L∘G."""
        first = packed.states["first"].astype(np.int64)
        degree = np.diff(first)
        by_label = degree > _LISTED
        label, score = packed.arcs["label"].astype(np.int64), packed.arcs["score"]
        num_slots = np.where(by_label, num_labels, 1)
        state_slot = np.cumsum(num_slots) - num_slots
        slot = np.repeat(state_slot, degree) + np.where(np.repeat(by_label, degree), label, 0)
        order = np.argsort(slot, kind="stable")
        slot_arcs = np.append(0, np.cumsum(np.bincount(slot, minlength=int(num_slots.sum()))))
        filled = np.flatnonzero(np.diff(slot_arcs))
        slot_score = np.full(len(slot_arcs) - 1, -np.inf, np.float32)
        slot_score[filled] = score[order][slot_arcs[filled]]
        slot_label = np.zeros(len(slot_arcs) - 1, np.int64)
        slot_label[filled] = label[order][slot_arcs[filled]]
        pairs, pair = np.unique(
            packed.arcs["dst"].astype(np.int64) * num_labels + label, return_inverse=True
        )
        narrow = np.uint8 if num_labels <= 256 else np.int64

        tensor = partial(tensor_of, device=device)
        padded = partial(tensor, padding=1)
        return TensorGraph(
            packed.num_states,
            num_labels,
            tensor(state_slot, np.int64),
            tensor(by_label, np.int64),
            tensor(packed.states["reach"][:-1], np.float32),
            tensor(slot_arcs, np.int64),
            tensor(slot_score, np.float32),
            tensor(slot_label, np.int64),
            padded(score[order], np.float32),
            padded(label[order], narrow),
            padded(pair.reshape(-1)[order], np.int32),
            padded(order, np.int32),
            tensor(np.append(pairs // num_labels, 0), np.int64),
            tensor(np.append(pairs % num_labels, 0), np.int64),
            tensor(packed.states["eps_first"], np.int64),
            padded(packed.eps_arcs["dst"], np.int64),
            padded(packed.eps_arcs["score"], np.float32),
            tensor(packed.final, np.float32),
        )
