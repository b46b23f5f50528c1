"""Frame posteriors: what an acoustic model hands to search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from asr_hlg.errors import ModelError


@dataclass(frozen=True)
class Posteriors:
    """Log-probabilities of tokens for a batch of utterances.

    Attributes
    ----------
    log_probs : torch.Tensor
        float32, shape ``(num_utterances, num_frames, num_tokens)``, natural log.
        Frames past an utterance's length are undefined.
    lengths : torch.Tensor
        int32 on the CPU, shape ``(num_utterances,)``: frames of each utterance.
    frame_shift : float
        Seconds from one frame to the next.
    tokens : tuple of str
        The name of every column; column 0 is ``<blk>`` for CTC.
    priors : torch.Tensor, optional
        float32 ``(num_tokens,)``: p(φ) of every column, for models that are decoded as hybrids;
        ``None`` for all others.
    """

    log_probs: torch.Tensor
    lengths: torch.Tensor
    frame_shift: float
    tokens: tuple[str, ...]
    priors: torch.Tensor | None = None

    def __post_init__(self):
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

    def to(self, device: str | torch.device) -> Posteriors:
        """The same posteriors with ``log_probs`` on another device."""
        return replace(self, log_probs=self.log_probs.to(device))
