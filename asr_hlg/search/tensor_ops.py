"""Operations on flat tensors that the search in tensors is made of: select, expand, recombine.

Each exists in two forms. `ExactShapes` gives tensors of just the size that is needed, which the
host has to know: right on the CPU. `FixedShapes` gives tensors of a capacity that is known before,
filled up with dead rows, whose score is ``-inf``: no operation waits for the device, and a frame
could be captured as a CUDA graph. What exceeds the capacity is dropped and counted.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

NEG_INF = float("-inf")

with warnings.catch_warnings():  # torch 1.13 warns once, on the first call
    warnings.simplefilter("ignore")
    torch.zeros(1).scatter_reduce_(0, torch.zeros(1, dtype=torch.int64), torch.zeros(1), "amax")


class Rows(NamedTuple):
    """Indices of selected rows; ``alive`` is None where all of them count."""

    at: Tensor  # int64 (n,)
    alive: Tensor | None  # bool (n,)

    def of_scores(self, scores: Tensor) -> Tensor:
        """Selected scores, ``-inf`` in dead rows."""
        chosen = pick(scores, self.at)
        return chosen if self.alive is None else chosen.masked_fill(~self.alive, NEG_INF)


class Shapes(Protocol):
    """Sizes of the tensors of a frame; a kind of rows has a name, and a capacity by it."""

    def may_hold(self, mask: Tensor) -> bool:
        """False if the host knows that a mask, bool ``(n,)``, is true nowhere."""

    def another_round(self, mask: Tensor, most: int | None, done: int) -> bool:
        """Whether to follow rounds of steps by another, which rows of a mask still need.

        Never more than ``most`` are needed; None if that is not known.
        """

    def select(self, mask: Tensor, kind: str) -> Rows:
        """Indices at which a mask, bool ``(n,)``, is true, in order."""

    def expand(self, counts: Tensor, kind: str) -> tuple[Rows, Tensor]:
        """Row i ``counts[i]`` times, and the number of each copy, 0 to ``counts[i] - 1``.

        ``counts`` and the numbers are int64 ``(n,)`` and ``(counts.sum(),)``.
        """

    def exceeded(self) -> dict[str, int]:
        """Rows that were needed of the kinds whose capacity did not suffice."""


class ExactShapes:
    """Tensors have the size that is needed."""

    def may_hold(self, mask: Tensor) -> bool:
        """Whether a mask is true anywhere."""
        return bool(mask.any())

    def another_round(self, mask: Tensor, most: int | None, done: int) -> bool:
        """Whether a mask is true anywhere."""
        return bool(mask.any())

    def exceeded(self) -> dict[str, int]:
        """None: there are no capacities."""
        return {}

    def select(self, mask: Tensor, kind: str) -> Rows:
        """Indices at which a mask is true, in order."""
        return Rows(mask.nonzero().view(-1), None)

    def expand(self, counts: Tensor, kind: str) -> tuple[Rows, Tensor]:
        """Row i ``counts[i]`` times, and the number of each copy."""
        owner = torch.repeat_interleave(counts)
        before = counts.cumsum(0).sub_(counts)
        copy = torch.arange(len(owner), device=counts.device)
        return Rows(owner, None), copy.sub_(pick(before, owner))


class FixedShapes:
    """Tensors have the size of their capacity; what exceeds it is dropped, and counted.

    Parameters
    ----------
    capacities : dict of str to int
        Rows by kind.
    device : torch.device

    """

    def __init__(self, capacities: dict[str, int], device: torch.device) -> None:
        self._capacities = capacities
        zeros = torch.zeros(len(capacities), 1, dtype=torch.int64, device=device)
        self._most = dict(zip(capacities, zeros, strict=True))

    def may_hold(self, mask: Tensor) -> bool:
        """True: the host does not wait to know."""
        return True

    def another_round(self, mask: Tensor, most: int | None, done: int) -> bool:
        """Whether fewer than the most were done; waits for the device where that is not known."""
        return bool(mask.any()) if most is None else done < most

    def exceeded(self) -> dict[str, int]:
        """Rows that were needed of the kinds whose capacity did not suffice.

        This waits for the device. The numbers are lower bounds, since rows were dropped.
        """
        needed = dict(zip(self._most, torch.cat(list(self._most.values())).tolist(), strict=True))
        return {kind: n for kind, n in needed.items() if n > self._capacities[kind]}

    def select(self, mask: Tensor, kind: str) -> Rows:
        """Indices at which a mask is true, in order, then dead rows."""
        return self._rows(mask.cumsum(0), kind)[0]

    def expand(self, counts: Tensor, kind: str) -> tuple[Rows, Tensor]:
        """Row i ``counts[i]`` times, then dead rows; and the number of each copy."""
        ends = counts.cumsum(0)
        rows, place = self._rows(ends, kind)
        copy = place - pick(ends - counts, rows.at)
        return rows, copy * rows.alive

    def _rows(self, ends: Tensor, kind: str) -> tuple[Rows, Tensor]:
        """For every place below the capacity, the first row that ends after it."""
        capacity, total = self._capacities[kind], ends[-1:]
        torch.maximum(self._most[kind], total, out=self._most[kind])
        place = torch.arange(capacity, device=ends.device)
        index = torch.searchsorted(ends, place, right=True).clamp_(max=len(ends) - 1)
        return Rows(index, place < total), place


def tensor_of(
    array: npt.NDArray[Any], dtype: npt.DTypeLike, device: str = "cpu", padding: int = 0
) -> Tensor:
    """An array of one dimension as a tensor, with so many zeros after it."""
    zeros = np.zeros(padding, dtype)
    return torch.from_numpy(np.concatenate([np.asarray(array, dtype), zeros])).to(device)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """``values[index]``, of one dimension each."""
    return values.gather(0, index)


def largest(into: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """``into[index[i]] = max(into[index[i]], values[i])`` for all i, in place."""
    return into.scatter_reduce_(0, index, values, "amax")


class Recombined(NamedTuple):
    """Candidates grouped by key."""

    representative: Tensor  # int64 (n,): for every candidate, the first position of its group
    is_representative: Tensor  # bool (n,)


def largest_of(num: int, index: Tensor, values: Tensor) -> Tensor:
    """The largest value of each index below ``num``, ``-inf`` where there is none."""
    return largest(values.new_full((num,), NEG_INF), index, values)


def expand_slots(
    shapes: Shapes, slot_arcs: Tensor, slot: Tensor, alive: Tensor | None
) -> tuple[Rows, Tensor]:
    """Arcs of slots: for every arc the row of its slot, and its index.

    Slot s has the arcs ``slot_arcs[s]`` to ``slot_arcs[s + 1] - 1``, side by side.
    """
    first = pick(slot_arcs, slot)
    counts = pick(slot_arcs, slot + 1) - first
    arcs, copy = shapes.expand(counts if alive is None else counts * alive, "arcs")
    return arcs, pick(first, arcs.at) + copy


def recombine(table: Tensor, keys: Tensor, scores: Tensor, num_preferred: int = 0) -> Recombined:
    """Group candidates by key, without sorting.

    Every candidate writes its position to the table, at its key; of those with the same key one
    remains, which represents them. The table needs no clearing, since only entries that were just
    written are read.

    Parameters
    ----------
    table : Tensor
        int32, one entry for every key, and a last one for dead rows.
    keys : Tensor
        int64 ``(n,)``.
    scores : Tensor
        float64 ``(n,)``; dead rows, whose score is ``-inf``, are grouped by themselves.
    num_preferred : int
        The first candidates, whose keys are all different, represent their groups.
    """
    keys = keys.masked_fill(scores == NEG_INF, len(table) - 1)
    position = torch.arange(len(keys), dtype=torch.int32, device=keys.device)
    table.scatter_(0, keys, position)
    if num_preferred:
        table.scatter_(0, keys[:num_preferred], position[:num_preferred])
    representative = table.gather(0, keys)
    return Recombined(representative.long(), representative == position)
