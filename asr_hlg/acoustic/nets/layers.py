"""Layers of the networks; padding never changes an utterance's result.

All take and return ``(B, frames, width)`` and the utterances' lengths in frames.  Frames after an
utterance's end count as zeros, like those outside the tensor, so a batch gives the same results as
its utterances one by one.  For the same reason, normalisation is over the width of each frame (Ba
et al. 2016, "Layer Normalization").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_hlg.acoustic.single_precision import LayerNorm


def clipped_relu(x: Tensor) -> Tensor:
    """Deep Speech's activation function min(max(x, 0), 20)."""
    return x.clamp(0.0, 20.0)


def padding_mask(lengths: Tensor, frames: int) -> Tensor:
    """Mask of padding frames: bool ``(B, frames, 1)``, true after an utterance's end."""
    position = torch.arange(frames, device=lengths.device)
    mask: Tensor = position >= lengths[:, None]
    return mask[..., None]


def strided_lengths(lengths: Tensor, stride: int) -> Tensor:
    """Lengths after every ``stride``-th frame is kept, beginning with the first."""
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")


class TimeConvolution(nn.Module):
    """Convolution over time, clipped ReLU, normalisation, dropout.

    Parameters
    ----------
    width, width_out : int
        Width of input and output.
    kernel, dilation, stride : int
        Number of frames that it combines (odd), frames from one of them to the next, and frames
        from one frame of its output to the next.
    causal : bool
        Output frame ``t`` depends on input frames up to ``t * stride`` only, rather than on as
        many after it as before it.
    dropout : float
        Probability of dropping an activation in training.
    padded : bool
        Whether there are zeros around an utterance. Without, the output is shorter than the input
        by the contexts.
    """

    def __init__(
        self,
        width: int,
        width_out: int,
        kernel: int,
        dilation: int = 1,
        stride: int = 1,
        causal: bool = False,
        dropout: float = 0.0,
        padded: bool = True,
    ):
        super().__init__()
        self.stride = stride
        self.padded = padded
        self.right_context = 0 if causal else (kernel // 2) * dilation
        self.left_context = (kernel - 1) * dilation - self.right_context
        self.convolution = nn.Conv1d(width, width_out, kernel, stride, dilation=dilation)
        self.norm = LayerNorm(width_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Input and output: ``(B, frames, width)``, and frames ``(B,)``."""
        if self.padded:
            x = x.masked_fill(padding_mask(lengths, x.shape[1]), 0.0).transpose(1, 2)
            x = F.pad(x, (self.left_context, self.right_context))
        else:
            x = x.transpose(1, 2)
        x = self.convolution(x).transpose(1, 2)
        x = self.dropout(self.norm(clipped_relu(x)))
        return x, strided_lengths(lengths, self.stride)


class LstmLayer(nn.Module):
    """LSTM in one direction, or the sum of two in both, then normalisation and dropout.

    Packed sequences cannot be exported to ONNX.  The second LSTM gets each utterance with its
    frames reversed instead, so that it starts at the utterance's last frame.
    """

    def __init__(self, width: int, width_out: int, bidirectional: bool, dropout: float):
        super().__init__()
        self.forwards = _lstm(width, width_out)
        self.backwards = _lstm(width, width_out) if bidirectional else None
        self.norm = LayerNorm(width_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, frames, width)`` to ``(B, frames, width_out)``."""
        y: Tensor = x
        y, _ = self.forwards(x)
        if self.backwards is not None:
            order = _reversed_frames(lengths, x.shape[1])
            z, _ = self.backwards(x.gather(1, order.expand(-1, -1, x.shape[2])))
            y = y + z.gather(1, order.expand(-1, -1, z.shape[2]))
        y = self.dropout(self.norm(y))
        return y


def receptive_field(layers: Iterable[Any]) -> tuple[int, int]:
    """Input frames before and after the current one on which an output frame depends.

    Parameters
    ----------
    layers : iterable of TimeConvolution or TimeFrequencyConvolution
        In their order.
    """
    left, right, step = 0, 0, 1
    for layer in layers:
        left += layer.left_context * step
        right += layer.right_context * step
        step *= layer.stride
    return left, right


def _lstm(width: int, width_out: int) -> nn.LSTM:
    lstm = nn.LSTM(width, width_out, batch_first=True)
    with torch.no_grad():
        # Forget gates that are open at first make long spans easier to learn
        # (Jozefowicz et al. 2015).
        lstm.get_parameter("bias_ih_l0")[width_out : 2 * width_out].fill_(1.0)
    return lstm


def _reversed_frames(lengths: Tensor, frames: int) -> Tensor:
    """Indexes that reverse each utterance and keep its padding in place, ``(B, frames, 1)``."""
    position = torch.arange(frames, device=lengths.device)
    mirrored = lengths[:, None] - 1 - position
    return torch.where(mirrored >= 0, mirrored, position)[..., None]
