"""Frame cross-entropy on alignments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import nn

from asr_hlg.errors import DataError, OptionError

UNALIGNED = -1
"""The label of a frame that has none; it does not count."""

_SLACK = 2
"""Frames by which an alignment and a network's output may differ: roundings of two frame shifts
at an utterance's end."""


class CrossEntropy(nn.Module):
    """−Σ_t log p(s_t|y_t) for given states s_t: what a hybrid HMM's network is trained on.

    Bourlard & Morgan 1994, "Connectionist Speech Recognition", chapter 6. The states are those of
    `asr_hlg.align.realign`, the same that decoding reads.

    >>> loss = CrossEntropy()
    >>> loss(log_probs, lengths, alignments).sum() / lengths.sum()    # nats a frame
    """

    targets: Literal["alignments"] = "alignments"

    def check(
        self, ids: Iterable[str], alignments: Iterable[torch.Tensor], num_frames: Iterable[int]
    ) -> None:
        """Find alignments that do not fit their utterances, before training.

        Raises
        ------
        DataError
            Naming the first utterance whose alignment is longer or shorter than the network's
            output by more than two frames.
        """
        for id, alignment, frames in zip(ids, alignments, num_frames, strict=True):
            if abs(len(alignment) - frames) > _SLACK:
                raise DataError(
                    f"{id}: the alignment has {len(alignment)} frames, the network gives {frames}",
                    remedy="align again with a model of the same frame shift",
                )

    def forward(
        self, log_probs: torch.Tensor, lengths: torch.Tensor, alignments: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Nats of every utterance.

        Parameters
        ----------
        log_probs : torch.Tensor
            Floating ``(B, T, V)``, normalised.
        lengths : torch.Tensor
            int ``(B,)``.
        alignments : sequence of torch.Tensor
            int64 ``(frames,)`` each: the column of every frame, `UNALIGNED` where it has none.
            An alignment may be a frame or two longer or shorter than the utterance; what only one
            of them has does not count.

        Returns
        -------
        torch.Tensor
            ``(B,)`` in the dtype of ``log_probs``; 0 for an utterance without frames.

        Raises
        ------
        OptionError
            If an alignment does not fit its utterance or has a label that is no column.
        """
        num_columns = log_probs.shape[2]
        labels = torch.full(log_probs.shape[:2], UNALIGNED)
        for index, (length, alignment) in enumerate(zip(lengths.tolist(), alignments, strict=True)):
            if abs(len(alignment) - length) > _SLACK:
                raise OptionError(
                    f"utterance {index} of the batch has {length} frames, "
                    f"its alignment {len(alignment)}"
                )
            common = min(length, len(alignment))
            labels[index, :common] = alignment[:common]
        if labels.numel() and not UNALIGNED <= int(labels.min()) <= int(labels.max()) < num_columns:
            raise OptionError(
                f"labels from {int(labels.min())} to {int(labels.max())} in the alignments, "
                f"the network has columns 0 to {num_columns - 1}",
                remedy="align with the topology that the network was made for",
            )
        counts = (labels != UNALIGNED).to(log_probs.device)
        picked = log_probs.gather(2, labels.clamp(min=0).to(log_probs.device)[:, :, None])[:, :, 0]
        return -torch.where(counts, picked, 0.0).sum(dim=1)
