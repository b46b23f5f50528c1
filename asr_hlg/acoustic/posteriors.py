"""Frame posteriors, the output of an acoustic model and input of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.errors import ModelError


@dataclass(frozen=True)
class Posteriors:
    """Log-probabilities of tokens for a batch of utterances.

    Attributes
    ----------
    log_probs : torch.Tensor
        float32, shape ``(num_utterances, num_frames, num_tokens)``, natural log.
        Frames after an utterance's end are undefined.
    lengths : torch.Tensor
        int32 on the CPU, shape ``(num_utterances,)``: frames of each utterance.
    frame_shift : float
        Seconds from one frame to the next.
    tokens : tuple of str
        The name of every column; column 0 is ``<blk>`` for CTC.
    priors : torch.Tensor, optional
        float32 ``(num_tokens,)``: p(φ) of every column, for hybrid decoding; ``None`` for other
        models.
    features : torch.Tensor, optional
        float32 ``(num_utterances, num_frames, encoder_dim)``: encoder output of a transducer, from
        which its search computes scores; ``log_probs`` are then those before the first token.
        ``None`` for other models.
    """

    log_probs: torch.Tensor
    lengths: torch.Tensor
    frame_shift: float
    tokens: tuple[str, ...]
    priors: torch.Tensor | None = None
    features: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.log_probs.ndim != 3 or self.log_probs.shape[2] != len(self.tokens):
            raise ModelError(
                f"log-probabilities have shape {tuple(self.log_probs.shape)}, "
                f"expected (utterances, frames, {len(self.tokens)} tokens)"
            )
        if tuple(self.lengths.shape) != (self.log_probs.shape[0],):
            raise ModelError(
                f"{self.log_probs.shape[0]} utterances, but lengths of shape "
                f"{tuple(self.lengths.shape)}"
            )
        if self.lengths.numel() and int(self.lengths.max()) > self.log_probs.shape[1]:
            raise ModelError("an utterance is longer than the posteriors' frames")
        if self.priors is not None and (
            tuple(self.priors.shape) != (len(self.tokens),) or not bool((self.priors > 0).all())
        ):
            raise ModelError(f"priors must be {len(self.tokens)} positive numbers")

    def frames(self, begin: int, end: int | None) -> Posteriors:
        """Frames [begin, end) of a batch of one utterance; ``None`` for its end."""
        part = slice(begin, int(self.lengths[0]) if end is None else end)
        features = None if self.features is None else self.features[:, part]
        return self._with_frames(self.log_probs[:, part], features)

    def followed_by(self, other: Posteriors) -> Posteriors:
        """Concatenation of the frames of two batches of one utterance each."""
        features = None
        if self.features is not None and other.features is not None:
            features = torch.cat([self.features, other.features], dim=1)
        return self._with_frames(torch.cat([self.log_probs, other.log_probs], dim=1), features)

    def utterance(self, index: int) -> Posteriors:
        """Batch of one utterance, without its padding."""
        rows = slice(index, index + 1)
        features = None if self.features is None else self.features[rows]
        single = replace(
            self, log_probs=self.log_probs[rows], lengths=self.lengths[rows], features=features
        )
        return single.frames(0, None)

    @staticmethod
    def collate(utterances: Sequence[Posteriors]) -> Posteriors:
        """Padded batch from batches of one utterance each, all of the same model."""
        rows = [utterance.frames(0, None) for utterance in utterances]
        features = [row.features[0] for row in rows if row.features is not None]
        return replace(
            rows[0],
            log_probs=pad_sequence([row.log_probs[0] for row in rows], batch_first=True),
            lengths=torch.cat([row.lengths for row in rows]),
            features=pad_sequence(features, batch_first=True) if features else None,
        )

    def _with_frames(self, log_probs: torch.Tensor, features: torch.Tensor | None) -> Posteriors:
        lengths = torch.tensor([log_probs.shape[1]], dtype=torch.int32)
        return replace(self, log_probs=log_probs, lengths=lengths, features=features)

    def to(self, device: str | torch.device) -> Posteriors:
        """Copy with ``log_probs`` on another device."""
        return replace(self, log_probs=self.log_probs.to(device))
