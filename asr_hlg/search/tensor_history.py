"""Links between tokens that a search in tensors records, and their backward pruning on the device.

:func:`prune` drops, from the last frame to the first and for all utterances together, the links on
no path within the output beam of the best one. What is left, about a tenth, is copied to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.search.tensor_ops import NEG_INF, Shapes, largest, largest_of, pick

Array = npt.NDArray[Any]

_SLACK = 1e-3
"""Added to the output beam, against rounding: the lattices' own pruning is exact."""


class Links(NamedTuple):
    """Links from a token to its successor, over an ε-arc, an arc that reads a label, or both."""

    utterance: Tensor  # int64 (n,)
    src: Tensor  # ids of tokens
    dst: Tensor
    eps: Tensor  # ε-arc or -1
    arc: Tensor  # arc, or a negative number
    score: Tensor  # float64: of the best path that ends with the link
    before: Tensor  # float64: of the token that it starts from


class Ends(NamedTuple):
    """Tokens after the last frame of their utterance, with the scores of final states."""

    utterance: Tensor  # int64 (n,)
    id: Tensor
    score: Tensor  # float64: of the token
    final: Tensor  # float64: from the token to the end, -inf for none


class KeptLinks(NamedTuple):
    """Links on paths within the output beam, as arrays, sorted by utterance, then by frame."""

    splits: Array  # int64 (utterances + 1,)
    frame: Array
    src: Array
    dst: Array
    eps: Array
    arc: Array
    score: Array


class History:
    """Links and cutoffs of a search, in the order of frames.

    Attributes
    ----------
    cutoffs : list of Tensor
        float64 ``(utterances,)`` for every frame: the score below which links were dropped.
    num_ids : int
        Ids of tokens that are taken; token i is the start of utterance i.
    """

    def __init__(self, num_utterances: int):
        self.cutoffs: list[Tensor] = []
        self.num_ids = self._num_utterances = num_utterances
        self._links: list[Links] = []
        self._frames: list[int] = []
        self._most_rounds: list[int | None] = []

    def take_ids(self, count: int) -> int:
        """Take as many ids of tokens; returns the first."""
        self.num_ids += count
        return self.num_ids - count

    def add(self, links: Links, most_rounds: int | None = 1) -> None:
        """Add links that leave tokens of the frame whose cutoff comes next.

        A path may take up to ``most_rounds`` of them, None if the number is not known.
        """
        self._links.append(links)
        self._frames.append(len(self.cutoffs))
        self._most_rounds.append(most_rounds)

    def prune(
        self, ends: Sequence[Ends], shapes: Shapes, output_beam: float, anywhere: bool = False
    ) -> KeptLinks:
        """Links on paths within the output beam of each utterance's best path.

        Parameters
        ----------
        ends : sequence of Ends
            All utterances have ended.
        shapes : Shapes
        output_beam : float
        anywhere : bool
            Whether an utterance without a token in a final state ends in every state.
        """
        last = Ends(*map(torch.cat, zip(*ends, strict=True)))
        best = largest_of(self._num_utterances, last.utterance, last.score + last.final)
        if anywhere:
            none = pick(best, last.utterance) == NEG_INF
            last = last._replace(final=last.final.masked_fill(none & (last.score > NEG_INF), 0.0))
            best = largest_of(self._num_utterances, last.utterance, last.score + last.final)
        beta = best.new_full((self.num_ids,), NEG_INF)
        largest(beta, last.id, last.final.masked_fill(last.score == NEG_INF, NEG_INF))
        links = Links(*map(torch.cat, zip(*self._links, strict=True)))
        scores = links.score + self._backward(links, shapes, beta)
        # Without a final state, no path is kept.
        lost = torch.full_like(best, -NEG_INF)
        cutoff = torch.where(best > NEG_INF, best - output_beam - _SLACK, lost)
        kept = (scores >= pick(cutoff, links.utterance)).nonzero().view(-1)
        utterance, src, dst, eps, arc, score = (
            pick(part, kept).cpu().numpy() for part in links[:6]
        )
        group = np.searchsorted(np.cumsum(self._sizes), kept.cpu().numpy(), side="right")
        frame = np.array(self._frames)[group]
        columns = utterance, frame, src, dst, eps, arc, score
        return sorted_by_utterance(*columns, num_utterances=self._num_utterances)

    @property
    def _sizes(self) -> list[int]:
        return [len(part.src) for part in self._links]

    def _backward(self, links: Links, shapes: Shapes, beta: Tensor) -> Tensor:
        """Backward scores of the destinations of links; sets those of all tokens in place."""
        weight = (links.score - links.before).masked_fill_(links.score == NEG_INF, NEG_INF)
        columns = (part.split(self._sizes) for part in (links.src, links.dst, weight))
        steps = zip(*columns, self._most_rounds, strict=True)
        through = []  # from the last frame to the first
        for src, dst, added, most in reversed(list(steps)):
            behind = pick(beta, dst)
            largest(beta, src, added + behind)
            if most != 1:
                done = 1
                while shapes.another_round((after := pick(beta, dst)) > behind, most, done):
                    behind, done = after, done + 1
                    largest(beta, src, added + behind)
                behind = after
            through.append(behind)
        return torch.cat(through[::-1])


def sorted_by_utterance(
    utterance: Array,
    frame: Array,
    src: Array,
    dst: Array,
    eps: Array,
    arc: Array,
    score: Array,
    num_utterances: int,
) -> KeptLinks:
    """Sort links, which are in the order of frames, by utterance."""
    order = np.argsort(utterance.astype(np.int32), kind="stable")
    splits = np.append(0, np.cumsum(np.bincount(utterance, minlength=num_utterances)))
    return KeptLinks(splits, *(part[order] for part in (frame, src, dst, eps, arc, score)))
