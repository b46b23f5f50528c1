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
from asr_hlg.search.fused_records import Array, Work
from asr_hlg.search.fused_room import HISTORY, SCRATCH, Room
from asr_hlg.search.records import GraphArrays, Limits
from asr_hlg.search.tensor_history import KeptLinks, sorted_by_utterance

_MOST_FRAMES = 1 << 12
"""Frames of a call of the kernels."""

_ENDLESS = 2**31 - 1
"""Frames of an utterance whose end is not known."""

_STATE = "counts", "most", "now", "beam", "cutoff", "best", "best_next", "active"
"""Arrays that a frame changes, besides those that grow; what it reads of ``bounds`` stays."""


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
        self._t = 0
        room.reserve(num_utterances)
        tensors = room.tensors
        for name, value in {
            "counts": 0,
            "most": 0,
            "now": 0,
            "beam": limits[0],
            "cutoff": -np.inf,
            "best": -np.inf,
            "active": 0,
            "length": 0,
        }.items():
            tensors[name].fill_(value)
        tensors["counts"][records.TOKENS] = num_utterances
        tensors["bounds"][:2] = 0
        tensors["bounds"][1, 0] = num_utterances
        tensors["length"][:num_utterances] = _ENDLESS
        tokens = np.zeros(num_utterances, records.TOKEN)
        tokens["utterance"] = np.arange(num_utterances)
        start = torch.from_numpy(tokens.view(np.uint8).reshape(num_utterances, -1))
        tensors["tokens"][:num_utterances] = start.to(room.device)
        tensors["token_score"][:num_utterances] = 0

    @property
    def cutoffs(self) -> Tensor:
        """float64 ``(num_utterances, num_frames)``: the score below which links were dropped."""
        return self._room.tensors["cutoffs"][: self._t, : self.num_utterances].t().clone()

    def search(self, log_probs: Tensor, lengths: Sequence[int]) -> None:
        """Search all frames of utterances whose lengths are known; they all end."""
        length = torch.tensor(lengths, dtype=torch.int32)
        self._room.tensors["length"][: self.num_utterances] = length.to(self._room.device)
        self.accept(log_probs[:, : max(lengths)])

    def accept(self, log_probs: Tensor) -> None:
        """Search more frames, float32 ``(utterances, frames, labels)``, scaled."""
        for frames in log_probs.split(_MOST_FRAMES, dim=1):
            if frames.shape[1]:
                self._search(frames.transpose(0, 1))

    def exceeded(self) -> dict[str, int]:
        """None: room is made while searching."""
        return {}

    def finish(self, ended: Tensor) -> None:
        """Search no more of the utterances that end here; ``ended`` is bool ``(utterances,)``."""
        self._room.tensors["length"][: self.num_utterances].masked_fill_(ended, self._t)

    def _search(self, log_probs: Tensor) -> None:
        """Search frames, again with more room as often as it did not suffice."""
        room, n = self._room, self.num_utterances
        num_frames = len(log_probs)
        used = room.tensors["counts"].tolist()
        room.grow_history(dict(zip(HISTORY, used, strict=False)), num_frames * n)
        room.grow("frames", self._t + num_frames + 2, self._t + 2)
        rows = slice(self._t, self._t + num_frames)
        relative = room.tensors["relative"][rows, :n]
        torch.sub(log_probs, log_probs[:, :, :1], out=relative)
        room.tensors["best_label"][rows, :n] = relative[:, :, 1:].amax(dim=2)

        def launch(work: Work) -> None:
            room.tensors["now"][records.STAMP] = room.stamp(num_frames) - self._t
            self._kernels.search(self._graph, work, self._limits, num_frames)

        self._repeated(launch)
        self._t += num_frames

    def _repeated(self, launch: Callable[[Work], None]) -> None:
        """Launch kernels; where room did not suffice, make more, go back and launch them again."""
        room, side = self._room, self._t % 2
        saved = {name: room.tensors[name].clone() for name in _STATE}
        saved_blanks = room.blanks(side)
        used = saved["counts"].tolist()
        while True:
            launch(room.work())
            counts, most = room.tensors["counts"].tolist(), room.tensors["most"].tolist()
            last = counts[records.SOURCES], counts[records.CANDIDATES], max(counts[-2:])
            scratch = [max(pair) for pair in zip(most, last, strict=True)]
            needed = dict(zip([*HISTORY, *SCRATCH], [*counts[:4], *scratch], strict=True))
            exceeded = {kind: n for kind, n in needed.items() if n > room.capacity[kind]}
            if not exceeded:
                return
            for name, tensor in saved.items():
                room.tensors[name].copy_(tensor)
            for index, kind in enumerate(HISTORY):
                if kind in exceeded:
                    room.grow(kind, max(2 * room.capacity[kind], needed[kind]), used[index])
            room.grow_scratch({kind: 2 * exceeded[kind] for kind in SCRATCH if kind in exceeded})
            room.set_blanks(side, saved_blanks)

    def prune(self, output_beam: float) -> tuple[KeptLinks, Any, int]:
        """Links on paths within the output beam of each utterance's best path; ends the search.

        Returns
        -------
        links : KeptLinks
        last_blanks : np.ndarray
            Ids of blank tokens that were active after the last frame of their utterance.
        num_ids : int
            Ids that tokens may have.
        """
        room, tensors = self._room, self._room.tensors
        self._repeated(self._kernels.end)
        counts = tensors["counts"].tolist()
        num_tokens, num_blanks = counts[records.TOKENS], counts[records.BLANK_IDS]
        room.grow("kept", counts[records.LINKS] + counts[records.BLANK_LINKS])
        room.grow("blank_ids", num_blanks)
        tensors["label_beta"][:num_tokens] = -np.inf
        tensors["blank_beta"][:num_blanks] = -np.inf
        tensors["best_path"].fill_(-np.inf)
        tensors["now"][records.FIRST] = self._t - 1
        self._kernels.prune(self._graph, self._final, room.work(), output_beam, self._t)
        ends = room.read("ends", counts[records.ENDS])["token"]
        last_blanks = num_tokens - 1 - ends[ends < 0].astype(np.int64)
        # Where one thread wrote them, from the last frame to the first, this is nearly the order.
        links = room.read("kept", int(tensors["counts"][records.KEPT_LINKS]))[::-1]
        utterance, frame, src, dst, eps, arc = (
            links[name].astype(np.int64)
            for name in ("utterance", "frame", "src", "dst", "eps", "arc")
        )
        sorted_links = sorted_by_utterance(
            utterance, frame, src, dst, eps, arc, links["score"], self.num_utterances
        )
        return sorted_links, last_blanks, num_tokens + num_blanks
