"""The search of a batch of utterances in tensor operations, whatever the graph is.

All utterances advance together, a frame at a time; the tokens of all are rows of flat tensors.
There is no loop over utterances, tokens or arcs. What a frame does depends on the graph:
:mod:`asr_hlg.search.tensor_frames` reads L∘G, :mod:`asr_hlg.search.tensor_fst_frames` H∘L∘G.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr_hlg.search.tensor_history import Array, Ends, History, KeptLinks
from asr_hlg.search.tensor_ops import Shapes

LOWEST = -1e30
"""In place of ``-inf`` for utterances without tokens, so that no difference is a NaN."""


class BatchSearch(ABC):
    """State of the search of a batch of utterances, to which frames are given in chunks.

    >>> search.accept(log_probs[:, :100])
    >>> search.accept(log_probs[:, 100:])
    >>> search.finish(torch.tensor([True, True]))
    >>> search.prune(output_beam=8.0)

    Parameters
    ----------
    num_utterances : int
    shapes : Shapes

    Attributes
    ----------
    ends_anywhere : bool
        Whether an utterance without a token in a final state may end in every state.
    """

    ends_anywhere = False

    def __init__(self, num_utterances: int, shapes: Shapes):
        self.num_utterances, self.shapes = num_utterances, shapes
        self.history = History(num_utterances)

    def accept(self, log_probs: Tensor) -> None:
        """Search more frames, float32 ``(utterances, frames, labels)``, scaled."""
        emissions = self._emissions(log_probs)
        for t in range(log_probs.shape[1]):
            self._frame(type(emissions)(*(part[t] for part in emissions)))

    def exceeded(self) -> dict[str, int]:
        """Rows that were needed of the kinds whose capacity did not suffice."""
        return self.shapes.exceeded()

    @property
    def cutoffs(self) -> Tensor:
        """float64 ``(num_utterances, num_frames)``: the score below which links were dropped."""
        return torch.stack(self.history.cutoffs, dim=1)

    def prune(self, output_beam: float) -> tuple[KeptLinks, Array, int]:
        """Links on paths within the output beam of each utterance's best path.

        Returns
        -------
        links : KeptLinks
        last : np.ndarray
            Ids of tokens that were active after the last frame of their utterance, where the
            lattice depends on them.
        num_ids : int
            Ids that tokens may have.
        """
        links = self.history.prune(self._ends(), self.shapes, output_beam, self.ends_anywhere)
        return links, self._last(), self.history.num_ids

    @abstractmethod
    def finish(self, ended: Tensor) -> None:
        """Record the tokens of the utterances that end here, and search them no more.

        ``ended`` is bool ``(utterances,)``.
        """

    @abstractmethod
    def _emissions(self, log_probs: Tensor) -> Any:
        """A named tuple of tensors, which have a row for every frame."""

    @abstractmethod
    def _frame(self, emissions: Any) -> None:
        """Read one frame: its row of the emissions."""

    def _last(self) -> Array:
        """Ids of last tokens on which lattices depend."""
        return np.zeros(0, np.int64)

    @abstractmethod
    def _ends(self) -> list[Ends]:
        """The tokens of utterances that have ended, with scores of final states."""
