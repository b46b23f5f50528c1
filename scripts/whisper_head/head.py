"""The head in torch, for training; :mod:`asr_hlg.acoustic.whisper_onnx` has the same for use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_TOKENS = 41
CONFORMER_DIM = 144
LOWEST = -12.0
SCALE = 5.0


class Block(nn.Module):
    """A gated depthwise convolution and a feed-forward layer, with residuals."""

    def __init__(self, dim: int, kernel: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.pointwise1 = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.pointwise2 = nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, pairs, dim)`` to the same; ``mask`` ``(B, pairs, 1)`` is 0 at padding."""
        y = F.glu(self.pointwise1(self.norm1(x)), -1) * mask
        y = self.depthwise(y.transpose(1, 2)).transpose(1, 2)
        x = x + self.dropout(self.pointwise2(F.silu(y)))
        return x + self.dropout(self.fc2(F.silu(self.fc1(self.norm2(x)))))


class Head(nn.Module):
    """Corrections of the Conformer's log-probabilities, from the features of both encoders.

    A second output, from Whisper's features alone, is trained beside it and not saved: with it the
    lower blocks learn what the Conformer would do.
    """

    def __init__(self, width: int = 384, dim: int = 256, kernel: int = 11, dropout: float = 0.12):
        super().__init__()
        self.sizes = [width, width, CONFORMER_DIM, NUM_TOKENS]
        self.middle, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.conformer = nn.LayerNorm(CONFORMER_DIM)
        self.whisper_in = nn.Linear(4 * width, dim)
        self.conformer_in = nn.Linear(2 * (CONFORMER_DIM + NUM_TOKENS), dim)
        self.join = nn.Linear(dim, dim)
        self.whisper = nn.ModuleList(Block(dim, kernel, dropout) for _ in range(3))
        self.joint = nn.ModuleList(Block(dim, kernel, dropout) for _ in range(2))
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, 2 * NUM_TOKENS)
        self.alone_norm, self.alone_out = nn.LayerNorm(dim), nn.Linear(dim, 2 * NUM_TOKENS)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.out.weight)  # the untrained head corrects nothing
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, frames, num_tokens)`` of both outputs.

        Parameters
        ----------
        features : Tensor
            ``(B, frames, n)``, as of :func:`asr_hlg.acoustic.whisper_onnx.feature_bytes`; zeros at
            padding.
        lengths : Tensor
            ``(B,)``: frames of each utterance.
        """
        frames = features.shape[1]
        if frames % 2:
            features = F.pad(features, (0, 0, 0, 1))
        begins = 2 * torch.arange(features.shape[1] // 2)
        mask = (begins < lengths[:, None])[..., None].float()
        middle, last, hidden, log_probs = features.split(self.sizes, -1)
        log_probs = log_probs.clamp(min=LOWEST)
        x = _paired(torch.cat([self.middle(middle), self.last(last)], -1))
        x = self.dropout(self.whisper_in(x))
        for block in self.whisper:
            x = block(x, mask)
        alone = self.alone_out(self.alone_norm(x)).view(*log_probs.shape)
        conformer = _paired(torch.cat([self.conformer(hidden), log_probs / SCALE], -1))
        x = self.join(x) + self.dropout(self.conformer_in(conformer))
        for block in self.joint:
            x = block(x, mask)
        corrected = log_probs + self.out(self.norm(x)).view(*log_probs.shape)
        return corrected[:, :frames], alone[:, :frames]

    def save(self, path: Path) -> None:
        """Write the weights of the first output in half precision."""
        arrays = {
            name: tensor.numpy().astype(np.float16)
            for name, tensor in self.state_dict().items()
            if not name.startswith("alone_")
        }
        np.savez_compressed(path, **arrays)


def _paired(x: Tensor) -> Tensor:
    """Frames side by side in pairs."""
    batch, frames, dim = x.shape
    return x.reshape(batch, frames // 2, 2 * dim)
