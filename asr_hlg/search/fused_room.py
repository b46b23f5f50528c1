"""Memory of the search by kernels: arrays that grow, and that the next search uses again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.search import fused_records as records
from asr_hlg.search.fused_launch import Kernels
from asr_hlg.search.fused_records import Work

_MOST_STAMPS = (1 << 15) - 1
"""Keys of the table have a stamp of 15 bits."""

_SCORE, _INT = np.dtype("f8"), np.dtype("i4")

_ARRAYS: dict[str, dict[str, np.dtype[Any]]] = {
    "tokens": {"tokens": records.TOKEN, "token_score": _SCORE, "label_beta": _SCORE},
    "links": {"links": records.LINK, "link_score": _SCORE},
    "blank_links": {"blank_links": records.BLANK_LINK},
    "ends": {"ends": records.END, "end_score": _SCORE},
    "sources": {"sources": records.SOURCE, "source_score": _SCORE},
    "candidates": {"candidates": records.CANDIDATE, "candidate_score": _SCORE},
    "blanks": {
        "blanks": records.BLANK_TOKEN,
        "blank_score": _SCORE,
        "blank_entry": _SCORE,
        "blank_direct": _INT,
    },
    "blank_ids": {"blank_beta": _SCORE},
    "table": {"table": np.dtype("i8")},
    "kept": {"kept": records.KEPT},
    "utterances": {
        "length": _INT,
        "beam": _SCORE,
        "cutoff": _SCORE,
        "best": _SCORE,
        "best_next": _SCORE,
        "best_path": _SCORE,
        "active": _INT,
    },
    "frames": {
        "bounds": _INT,
        "relative": np.dtype("f4"),
        "best_label": np.dtype("f4"),
        "cutoffs": _SCORE,
    },
}
"""Arrays of :class:`Work` that grow, by kind; those of a kind have the same length."""

_RECORDS = {
    name: dtype for arrays in _ARRAYS.values() for name, dtype in arrays.items() if dtype.names
}

HISTORY = "tokens", "links", "blank_links", "ends"
"""Kinds that are kept for all frames; they are the first counts of ``Work.counts``, in this order.
"""

SCRATCH = {"sources": 128, "candidates": 192, "blanks": 128}
"""Room at first for an utterance; the first counts of ``Work.most``, in this order."""

_ROOM = {"tokens": 64, "links": 96, "blank_links": 64, "ends": 8}
"""Room at first for an utterance in a frame."""

_LEAST = 256
"""Room at first for all utterances, besides."""


class Room:
    """Memory of a search, which is used again by the next one.

    Parameters
    ----------
    kernels : Kernels
    device : torch.device
    num_labels : int
        Columns of the posteriors.

    Attributes
    ----------
    tensors : dict of str to Tensor
        By their names in :class:`Work`; those of records are uint8 ``(capacity, itemsize)``.
    capacity : dict of str to int
        By kind.
    """

    def __init__(self, kernels: Kernels, device: torch.device, num_labels: int):
        self.kernels, self.device, self._num_labels = kernels, device, num_labels
        self.tensors: dict[str, Tensor] = {
            "counts": torch.zeros(records.NUM_COUNTS, dtype=torch.int32, device=device),
            "most": torch.zeros(len(SCRATCH), dtype=torch.int32, device=device),
            "now": torch.zeros(3, dtype=torch.int64, device=device),
        }
        self.capacity = dict.fromkeys(_ARRAYS, 0)
        self._stamp = 1
        self._work: Work | None = None

    def reserve(self, num_utterances: int) -> None:
        """Make room for the start of a search of so many utterances."""
        if num_utterances > self.capacity["utterances"]:
            self.capacity["frames"] = 0  # their width is the number of utterances
        self.grow("utterances", num_utterances)
        self.grow("frames", 2)
        self.grow_scratch({kind: n * num_utterances + _LEAST for kind, n in SCRATCH.items()})
        for kind in HISTORY:
            self.grow(kind, num_utterances)
        for kind in ("blank_ids", "kept"):
            self.grow(kind, 1)

    def grow(self, kind: str, capacity: int, used: int = 0) -> None:
        """Make room for at least so many of a kind; the first ``used`` are kept."""
        if capacity <= self.capacity[kind]:
            return
        if kind != "utterances":  # a little more than asked for, so that it happens seldom
            capacity = max(capacity, self.capacity[kind] * 5 // 4)
        self.capacity[kind] = capacity
        self._work = None
        # Two lists of blanks; of tokens one more, in place of those without room.
        rows = 2 * capacity if kind == "blanks" else capacity + (kind == "tokens")
        for name, dtype in _ARRAYS[kind].items():
            tensor = torch.empty(
                (rows, *self._width(name, dtype)), dtype=_torch_dtype(dtype), device=self.device
            )
            if used:
                tensor[:used] = self.tensors[name][:used]
            if kind == "table":
                tensor.zero_()
            self.tensors[name] = tensor

    def _width(self, name: str, dtype: np.dtype[Any]) -> tuple[int, ...]:
        """Shape of an item of an array."""
        num_utterances = self.capacity["utterances"]
        if dtype.names:
            return (dtype.itemsize,)
        return {
            "bounds": (3,),
            "relative": (num_utterances, self._num_labels),
            "best_label": (num_utterances,),
            "cutoffs": (num_utterances,),
        }.get(name, ())

    def grow_scratch(self, sizes: dict[str, int]) -> None:
        """Make room for so many of each kind that is counted anew in every frame."""
        for kind, size in sizes.items():
            self.grow(kind, size)
        needed = self.capacity["candidates"] + 2 * self.capacity["blanks"]
        if 2 << (needed - 1).bit_length() > self.capacity["table"]:
            self.capacity["table"] = 0  # its length is a power of two
            self.grow("table", 2 << (needed - 1).bit_length())

    def grow_history(self, used: dict[str, int], num_frames: int) -> None:
        """Make room for the tokens and links of so many frames of an utterance."""
        for kind, number in used.items():
            self.grow(kind, number + _ROOM[kind] * num_frames, number)

    def stamp(self, num_frames: int) -> int:
        """The first of so many stamps for the table that no earlier frame has."""
        if self._stamp + num_frames > _MOST_STAMPS:
            self.tensors["table"].zero_()
            self._stamp = 1
        self._stamp += num_frames
        return self._stamp - num_frames

    def blanks(self, side: int) -> dict[str, Tensor]:
        """A copy of one list of blank tokens."""
        return {
            name: self.tensors[name][side * self.capacity["blanks"] :][
                : self.capacity["blanks"]
            ].clone()
            for name in _ARRAYS["blanks"]
        }

    def set_blanks(self, side: int, saved: dict[str, Tensor]) -> None:
        """Put a copy of a list of blank tokens back."""
        for name, tensor in saved.items():
            self.tensors[name][side * self.capacity["blanks"] :][: len(tensor)] = tensor

    def work(self) -> Work:
        """The arrays as the kernels see them: the same tuple until one of them grows."""
        if self._work is None:
            view = self.kernels.view
            self._work = Work(**{k: view(v, _RECORDS.get(k)) for k, v in self.tensors.items()})
        return self._work

    def read(self, name: str, number: int) -> npt.NDArray[np.void]:
        """The first records of an array, on the host."""
        array: npt.NDArray[np.void] = self.tensors[name][:number].cpu().numpy()
        return array.reshape(-1).view(_RECORDS[name])


_TORCH = {
    np.dtype("i4"): torch.int32,
    np.dtype("i8"): torch.int64,
    np.dtype("f4"): torch.float32,
    np.dtype("f8"): torch.float64,
}


def _torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.uint8 if dtype.names else _TORCH[dtype]
