"""Training targets of a transducer: token sequences with their lengths and the lattice type."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asr_hlg.errors import ModelError

LATTICES = ("modified", "regular")
"""Types of alignment lattice; see :mod:`asr_hlg.transducer.loss`."""

BLANK = 0
"""Id of ∅."""


@dataclass(frozen=True)
class Targets:
    """Transcripts of a padded batch as tokens, with the lengths of transcripts and utterances.

    Attributes
    ----------
    tokens : Tensor
        int64 ``(B, U)``, padded with any token id.
    num_tokens, num_frames : Tensor
        int64 ``(B,)``.
    lattice : str
        ``modified`` or ``regular``.
    """

    tokens: Tensor
    num_tokens: Tensor
    num_frames: Tensor
    lattice: str = "modified"

    def __post_init__(self) -> None:
        if self.lattice not in LATTICES:
            raise ModelError(f"lattice is one of {LATTICES}, not {self.lattice!r}")
        if self.tokens.ndim != 2:
            raise ModelError(f"tokens have shape {tuple(self.tokens.shape)}, expected (B, U)")
        batch, max_tokens = self.shape
        for name in ("tokens", "num_tokens", "num_frames"):
            if getattr(self, name).dtype != torch.int64:
                raise ModelError(f"{name} are {getattr(self, name).dtype}, expected torch.int64")
        for name in ("num_tokens", "num_frames"):
            check_shape(name, getattr(self, name), (batch,))
        if bool(((self.num_tokens < 0) | self.num_tokens.gt(max_tokens)).any()):
            raise ModelError(
                f"num_tokens are {self.num_tokens.tolist()}, not from 0 to U = {max_tokens}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Batch size and padded number of tokens, (B, U)."""
        batch, max_tokens = self.tokens.shape
        return batch, max_tokens

    def alignable(self) -> Tensor:
        """Mask of the utterances that have an alignment, bool ``(B,)``."""
        mask: Tensor
        if self.lattice == "modified":
            mask = self.num_tokens.le(self.num_frames)
        else:
            mask = self.num_frames.gt(0) | self.num_tokens.eq(0)
        return mask

    def boundary(self) -> Tensor:
        """``boundary`` argument of k2, int64 ``(B, 4)``; all zeros without an alignment."""
        zeros = torch.zeros_like(self.num_tokens)
        limits = torch.stack([zeros, zeros, self.num_tokens, self.num_frames], 1)
        boundary: Tensor = limits * self.alignable()[:, None]
        return boundary

    def check(self, frames: int, num_classes: int) -> None:
        """Check that scores with this many frames and classes fit; `ModelError` if not."""
        if self.num_frames.numel() and not int(self.num_frames.min()) >= 0:
            raise ModelError(f"num_frames are {self.num_frames.tolist()}, some below 0")
        if self.num_frames.numel() and int(self.num_frames.max()) > frames:
            raise ModelError(
                f"num_frames are {self.num_frames.tolist()}, but there are {frames} frames"
            )
        inside = torch.arange(self.shape[1], device=self.tokens.device) < self.num_tokens[:, None]
        wrong = inside & (self.tokens.le(BLANK) | self.tokens.ge(num_classes))
        if bool(wrong.any()):
            token = int(self.tokens[wrong][0])
            raise ModelError(f"token {token} is not from 1 to {num_classes - 1} (0 is ∅)")


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise a `ModelError` that names the tensor if it has another shape."""
    if tuple(tensor.shape) != shape:
        raise ModelError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
