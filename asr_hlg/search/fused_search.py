"""Batched token passing by a few kernels a frame; the host grows arrays where they are too small.

:class:`FusedSearch` has the interface of :class:`asr_hlg.search.tensor_frames.TensorSearch`, and
the same results, which are those of the plain torch operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr_hlg.search import fused_records as records
from asr_hlg.search.fused_launch import CpuKernels
from asr_hlg.search.fused_records import Array, Backward, Emissions, Now, Work
from asr_hlg.search.records import GraphArrays, Limits
from asr_hlg.search.tensor_lattices import KeptLinks, sorted_by_utterance

_MOST_FRAMES = 1 << 12
"""Frames of a call of the kernels."""

_MOST_STAMPS = (1 << 15) - 1
"""Keys of the table have a stamp of 15 bits."""

_ENDLESS = 2**31 - 1
"""Frames of an utterance whose end is not known."""

_ARRAYS: dict[str, dict[str, np.dtype[Any]]] = {
    "tokens": {"tokens": records.TOKEN, "token_score": np.dtype("f8")},
    "links": {"links": records.LINK, "link_score": np.dtype("f8")},
    "blank_links": {"blank_links": records.BLANK_LINK},
    "ends": {"ends": records.END, "end_score": np.dtype("f8")},
    "sources": {"sources": records.SOURCE, "source_score": np.dtype("f8")},
    "candidates": {"candidates": records.CANDIDATE, "candidate_score": np.dtype("f8")},
    "blanks": {
        "blanks": records.BLANK_TOKEN,
        "blank_score": np.dtype("f8"),
        "blank_entry": np.dtype("f8"),
        "blank_direct": np.dtype("i4"),
    },
    "table": {"table": np.dtype("i8")},
}
"""Arrays of :class:`Work` that grow, by kind; those of a kind have the same length."""

_HISTORY = "tokens", "links", "blank_links", "ends"
"""Kinds that are kept for all frames; they are the first counts of ``Work.counts``, in this order.
"""

_ROOM = {"tokens": 64, "links": 96, "blank_links": 64, "ends": 8}
"""Room at first for an utterance in a frame."""

_SCRATCH = {"sources": 128, "candidates": 192, "blanks": 128}
"""Room at first for an utterance; the first counts of ``Work.most``, in this order."""

_LEAST = 256
"""Room at first for all utterances, besides."""


class Room:
    """Memory of a search, which is used again by the next one.

    Parameters
    ----------
    kernels : CpuKernels
    device : torch.device
    """

    def __init__(self, kernels: CpuKernels, device: torch.device):
        self.kernels, self.device = kernels, device
        self.tensors: dict[str, Tensor] = {}
        self._stamp = 1
        self.capacity = dict.fromkeys(_ARRAYS, 0)

    def grow(self, kind: str, capacity: int, used: int = 0) -> None:
        """Make room for at least so many of a kind; the first ``used`` are kept."""
        if capacity <= self.capacity[kind]:
            return
        self.capacity[kind] = capacity
        lists = 2 if kind == "blanks" else 1  # tokens: one more, in place of those without room
        for name, dtype in _ARRAYS[kind].items():
            size = (lists * capacity + (kind == "tokens")) * dtype.itemsize
            tensor = torch.empty(size, dtype=torch.uint8, device=self.device)
            if used:
                tensor[: used * dtype.itemsize] = self.tensors[name][: used * dtype.itemsize]
            if kind == "table":
                tensor.zero_()
            self.tensors[name] = tensor

    def grow_scratch(self, sizes: dict[str, int]) -> None:
        """Make room for so many of each kind that is counted anew in every frame."""
        for kind, size in sizes.items():
            self.grow(kind, size)
        needed = self.capacity["candidates"] + 2 * self.capacity["blanks"]
        self.grow("table", 2 << (needed - 1).bit_length())

    def stamp(self, num_frames: int) -> int:
        """The first of so many stamps for the table that no earlier frame has."""
        if self._stamp + num_frames > _MOST_STAMPS:
            self.tensors["table"].zero_()
            self._stamp = 1
        self._stamp += num_frames
        return self._stamp - num_frames

    def views(self) -> dict[str, Array]:
        """The arrays by their names in :class:`Work`."""
        dtypes = {name: dtype for arrays in _ARRAYS.values() for name, dtype in arrays.items()}
        return {name: self.kernels.view(self.tensors[name], dtypes[name]) for name in dtypes}


class FusedSearch:
    """State of the search of a batch of utterances, to which frames are given in chunks.

    Parameters
    ----------
    graph : GraphArrays
        Where the kernels read it.
    final : array
        float32 ``(num_states,)``: final scores, likewise.
    num_utterances : int
    limits : tuple of float
        See :attr:`asr_hlg.search.SearchOptions.limits`.
    room : Room
        One search uses it at a time.
    """

    def __init__(
        self,
        graph: GraphArrays,
        final: Array,
        num_utterances: int,
        limits: Limits,
        room: Room,
    ):
        self._graph, self._final, self._limits = graph, final, limits
        self._kernels, self._room, self.num_utterances = room.kernels, room, num_utterances
        self._device, self._now = room.device, Now(0, 0, 0, 0)
        self._ends: set[int] = set()
        self._relative: list[Tensor] = []
        self._cutoffs: list[Tensor] = []
        self._state = self._initial_state(num_utterances)
        room.grow_scratch({kind: n * num_utterances + _LEAST for kind, n in _SCRATCH.items()})
        for kind in _HISTORY:
            room.grow(kind, num_utterances)
        tokens = np.zeros(num_utterances, records.TOKEN)
        tokens["utterance"] = np.arange(num_utterances)
        start = torch.from_numpy(tokens.view(np.uint8)).to(self._device)
        room.tensors["tokens"][: len(start)] = start
        room.tensors["token_score"][: 8 * num_utterances] = 0

    def _initial_state(self, num_utterances: int) -> dict[str, Tensor]:
        """Arrays of :class:`Work` that do not grow with the tokens."""

        def full(value: float, dtype: torch.dtype = torch.float64, size: int = 0) -> Tensor:
            return torch.full((size or num_utterances,), value, dtype=dtype, device=self._device)

        counts = full(0, torch.int32, records.NUM_COUNTS)
        counts[records.TOKENS] = num_utterances
        bounds = torch.zeros((2, 3), dtype=torch.int32, device=self._device)
        bounds[1, 0] = num_utterances
        return {
            "counts": counts,
            "most": full(0, torch.int32, len(_SCRATCH)),
            "bounds": bounds,
            "length": full(_ENDLESS, torch.int32),
            "beam": full(self._limits[0]),
            "cutoff": full(-np.inf),
            "best": full(-np.inf),
            "best_next": full(-np.inf),
            "active": full(0, torch.int32),
        }

    @property
    def cutoffs(self) -> Tensor:
        """float64 ``(num_utterances, num_frames)``: the score below which links were dropped."""
        return torch.cat(self._cutoffs, dim=1)

    def search(self, log_probs: Tensor, lengths: Sequence[int]) -> None:
        """Search all frames of utterances whose lengths are known; they all end."""
        self._state["length"].copy_(torch.tensor(lengths))
        self._ends = set(lengths)
        self.accept(log_probs[:, : max(lengths)])
        self.finish(torch.tensor([n == max(lengths) for n in lengths], device=self._device))

    def accept(self, log_probs: Tensor) -> None:
        """Search more frames, float32 ``(utterances, frames, labels)``, scaled."""
        for frames in log_probs.split(_MOST_FRAMES, dim=1):
            self._search(frames)

    def finish(self, ended: Tensor) -> None:
        """Record the tokens of the utterances that end here, and search them no more.

        ``ended`` is bool ``(utterances,)``.
        """
        self._state["length"].masked_fill_(ended, self._now.t)
        self._repeated(lambda work: self._kernels.end(work, self._now))

    def _search(self, log_probs: Tensor) -> None:
        """Search frames, again with more room as often as it did not suffice."""
        relative = log_probs - log_probs[:, :, :1]
        best = relative[:, :, 1:].amax(dim=2)
        shape, num_frames = relative.shape[:2], relative.shape[1]
        cutoffs = torch.empty(shape, dtype=torch.float64, device=self._device)
        view = self._kernels.view
        emissions = Emissions(
            view(relative, np.dtype("f4")),
            view(best, np.dtype("f4")),
            view(cutoffs, np.dtype("f8")),
            np.array([self._now.t + frame in self._ends for frame in range(num_frames)]),
        )
        more = torch.zeros((num_frames, 3), dtype=torch.int32, device=self._device)
        self._state["bounds"] = torch.cat([self._state["bounds"], more])
        used = self._state["counts"].tolist()
        for index, kind in enumerate(_HISTORY):
            room = used[index] + _ROOM[kind] * num_frames * self.num_utterances
            self._room.grow(kind, room, used[index])

        def launch(work: Work) -> None:
            now = self._now._replace(stamp=self._room.stamp(num_frames))
            self._kernels.search(self._graph, work, emissions, self._limits, now)

        self._repeated(launch)
        side = (self._now.side + num_frames) % 2
        self._now = Now(self._now.t + num_frames, 0, side, 0)
        self._relative.append(relative)
        self._cutoffs.append(cutoffs)

    def _repeated(self, launch: Callable[[Work], None]) -> None:
        """Launch kernels; where room did not suffice, make more, go back and launch them again."""
        room, state, side = self._room, self._state, self._now.side
        blanks = list(_ARRAYS["blanks"].items())
        capacity = room.capacity["blanks"]
        saved_state = {name: tensor.clone() for name, tensor in state.items()}
        saved_blanks = {
            name: room.tensors[name].view(2, capacity * dtype.itemsize)[side].clone()
            for name, dtype in blanks
        }
        used = saved_state["counts"].tolist()
        while True:
            dtypes = {name: _NUMPY[tensor.dtype] for name, tensor in state.items()}
            views = {name: self._kernels.view(state[name], dtypes[name]) for name in dtypes}
            launch(Work(**views, **room.views()))
            counts, most = state["counts"].tolist(), state["most"].tolist()
            last = counts[records.SOURCES], counts[records.CANDIDATES], max(counts[-2:])
            scratch = [max(pair) for pair in zip(most, last, strict=True)]
            needed = dict(zip([*_HISTORY, *_SCRATCH], [*counts[:4], *scratch], strict=True))
            exceeded = {kind: n for kind, n in needed.items() if n > room.capacity[kind]}
            if not exceeded:
                return
            for name, tensor in saved_state.items():
                state[name].copy_(tensor)
            for index, kind in enumerate(_HISTORY):
                if kind in exceeded:
                    room.grow(kind, max(2 * room.capacity[kind], needed[kind]), used[index])
            room.grow_scratch({kind: 2 * exceeded[kind] for kind in _SCRATCH if kind in exceeded})
            for name, dtype in blanks:
                lists = room.tensors[name].view(2, room.capacity["blanks"] * dtype.itemsize)
                lists[side, : len(saved_blanks[name])] = saved_blanks[name]

    def prune(self, output_beam: float) -> tuple[KeptLinks, Any, int]:
        """Links on paths within the output beam of each utterance's best path.

        Returns
        -------
        links : KeptLinks
        last_blanks : np.ndarray
            Ids of blank tokens that were active after the last frame of their utterance.
        num_ids : int
            Ids that tokens may have.
        """
        room, state, device = self._room, self._state, self._device
        counts = state["counts"].tolist()
        num_tokens, num_links = counts[records.TOKENS], counts[records.LINKS]
        num_blanks = counts[records.BLANK_IDS]

        def lowest(size: int) -> Tensor:
            return torch.full((size,), -np.inf, dtype=torch.float64, device=device)

        most_kept = num_links + counts[records.BLANK_LINKS]
        size = most_kept * records.KEPT.itemsize
        kept = torch.empty(size, dtype=torch.uint8, device=device)
        count = torch.zeros(1, dtype=torch.int32, device=device)
        scores = [lowest(n) for n in (self.num_utterances, num_tokens, num_blanks)]
        view = self._kernels.view
        best, label_beta, blank_beta = (view(part, np.dtype("f8")) for part in scores)
        kept_links = view(kept, records.KEPT)
        backward = Backward(view(count, np.dtype("i4")), best, label_beta, blank_beta, kept_links)
        views = {name: view(tensor, _NUMPY[tensor.dtype]) for name, tensor in state.items()}
        work = Work(**views, **room.views())
        relative = torch.cat(self._relative, dim=1)
        emissions = view(relative, np.dtype("f4"))
        self._kernels.prune(self._graph, self._final, work, backward, emissions, output_beam)
        used = int(count) * records.KEPT.itemsize
        ends = counts[records.ENDS] * records.END.itemsize
        last = room.tensors["ends"][:ends].cpu().numpy().view(records.END)["token"]
        last_blanks = num_tokens - 1 - last[last < 0].astype(np.int64)
        links = kept[:used].cpu().numpy().view(records.KEPT)[::-1]
        utterance, frame, src, dst, eps, arc = (
            links[name].astype(np.int64)
            for name in ("utterance", "frame", "src", "dst", "eps", "arc")
        )
        sorted_links = sorted_by_utterance(
            utterance, frame, src, dst, eps, arc, links["score"], self.num_utterances
        )
        return sorted_links, last_blanks, num_tokens + num_blanks


_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.int32: np.dtype("i4"),
    torch.float64: np.dtype("f8"),
}
