"""Cross-entropy of frames against their aligned states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from asr_hlg.errors import OptionError

UNALIGNED = -1
"""Label of a frame without an alignment; such a frame adds nothing to the loss."""

_TOLERANCE = 2
"""Frames by which an alignment and a network's output may differ in length: both round the end of
an utterance to their frame shift."""


class CrossEntropy(nn.Module):
    """Frame cross-entropy −Σ_t log p(s_t|y_t) for aligned states s_t, as for hybrid HMMs.

    Bourlard & Morgan 1994, "Connectionist Speech Recognition", chapter 6. The states are those of
    `asr_hlg.align.labels`, that is, the posterior columns that decoding reads.

    >>> loss = CrossEntropy()
    >>> loss(log_probs, lengths, alignments).sum() / lengths.sum()    # nats a frame
    """

    targets: Literal["alignments"] = "alignments"

    def forward(
        self, log_probs: torch.Tensor, lengths: torch.Tensor, alignments: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Loss of every utterance, in nats.

        Parameters
        ----------
        log_probs : torch.Tensor
            Floating ``(B, T, V)``, normalised.
        lengths : torch.Tensor
            int ``(B,)``.
        alignments : sequence of torch.Tensor
            int64 ``(frames,)`` each: the column of every frame, or `UNALIGNED`. An alignment may
            be up to two frames longer or shorter than the utterance; only the frames that both
            have count.

        Returns
        -------
        torch.Tensor
            ``(B,)`` in the dtype of ``log_probs``; 0 for an utterance without frames.

        Raises
        ------
        OptionError
            If an alignment is too long or too short, or one of its labels is not a column.
        """
        num_columns = log_probs.shape[2]
        labels = torch.full(log_probs.shape[:2], UNALIGNED)
        for index, (length, alignment) in enumerate(zip(lengths.tolist(), alignments, strict=True)):
            if abs(len(alignment) - length) > _TOLERANCE:
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
                remedy="align with the topology that the network was trained for",
            )
        labels = labels.to(log_probs.device)
        aligned = log_probs.gather(2, labels.clamp(min=0)[:, :, None])[:, :, 0]
        losses: torch.Tensor = -torch.where(labels.ne(UNALIGNED), aligned, 0.0).sum(dim=1)
        return losses
