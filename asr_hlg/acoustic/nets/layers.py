"""The layers that the networks are built from; none lets padding reach an utterance.

All take and return ``(B, frames, width)`` and the utterances' lengths in frames.  What lies past
an utterance's end counts as the zeros that lie outside the tensor, so a batch gives the same as
its utterances one by one.  Normalisation is over the width of each frame (Ba et al. 2016, "Layer
Normalization") for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def clipped_relu(x: Tensor) -> Tensor:
    """Deep Speech's min(max(x, 0), 20)."""
    return F.hardtanh(x, 0.0, 20.0)


def padding(lengths: Tensor, frames: int) -> Tensor:
    """Bool ``(B, frames, 1)``: true past an utterance's end."""
    position = torch.arange(frames, device=lengths.device)
    return (position >= lengths[:, None])[..., None]


class TimeConvolution(nn.Module):
    """Convolution over time, clipped ReLU, normalisation, dropout.

    Parameters
    ----------
    width, width_out : int
        Before and after.
    kernel, dilation, stride : int
        Frames that it combines (an odd number), from one of them to the next, and from one
        frame of its output to the next.
    causal : bool
        Output frame ``t`` sees frames up to ``t * stride`` only, rather than as many after as
        before.
    dropout : float
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
    ):
        super().__init__()
        self.stride = stride
        self.right_context = 0 if causal else (kernel // 2) * dilation
        self.left_context = (kernel - 1) * dilation - self.right_context
        self.convolution = nn.Conv1d(width, width_out, kernel, stride, dilation=dilation)
        self.norm = nn.LayerNorm(width_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = x.masked_fill(padding(lengths, x.shape[1]), 0.0).transpose(1, 2)
        x = self.convolution(F.pad(x, (self.left_context, self.right_context))).transpose(1, 2)
        x = self.dropout(self.norm(clipped_relu(x)))
        return x, strided(lengths, self.stride)


class PlaneConvolution(nn.Module):
    """Convolution over time and frequency, and clipped ReLU; every second band is kept.

    Takes and returns ``(B, channels, frames, bands)``.

    Parameters
    ----------
    channels, channels_out : int
    kernel_frames, kernel_bands : int
        Frames and bands that it combines, odd numbers.
    stride : int
        Frames from one output frame to the next.
    causal : bool
        As for :class:`TimeConvolution`.
    """

    def __init__(
        self,
        channels: int,
        channels_out: int,
        kernel_frames: int,
        kernel_bands: int,
        stride: int = 1,
        causal: bool = False,
    ):
        super().__init__()
        self.stride = stride
        self.right_context = 0 if causal else kernel_frames // 2
        self.left_context = kernel_frames - 1 - self.right_context
        self.bands = kernel_bands // 2
        self.convolution = nn.Conv2d(
            channels, channels_out, (kernel_frames, kernel_bands), (stride, 2)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = x.masked_fill(padding(lengths, x.shape[2])[:, None], 0.0)
        edges = (self.bands, self.bands, self.left_context, self.right_context)
        return clipped_relu(self.convolution(F.pad(x, edges))), strided(lengths, self.stride)


class Front(nn.Module):
    """The two layers over time and frequency with which Deep Speech 2 begins, and normalisation.

    Parameters
    ----------
    bands : int
        Filters of the filter bank.
    channels, kernel_frames, kernel_bands : int
        Of both layers; the second sees half as many bands.
    stride : int
        Of the first layer.
    causal : bool
    dropout : float
    """

    def __init__(
        self,
        bands: int,
        channels: int,
        kernel_frames: int,
        kernel_bands: int,
        stride: int,
        causal: bool,
        dropout: float,
    ):
        super().__init__()
        half = kernel_bands // 2 // 2 * 2 + 1
        self.first = PlaneConvolution(1, channels, kernel_frames, kernel_bands, stride, causal)
        self.second = PlaneConvolution(channels, channels, kernel_frames, half, 1, causal)
        self.width = channels * -(-bands // 4)
        self.norm = nn.LayerNorm(self.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x, lengths = self.first(x[:, None], lengths)
        x, lengths = self.second(x, lengths)
        return self.dropout(self.norm(x.transpose(1, 2).flatten(2))), lengths


class Recurrent(nn.Module):
    """An LSTM in one direction, or the sum of two in both, then normalisation and dropout.

    Packed sequences would not export to ONNX.  Instead, each utterance is turned round by itself
    for the second LSTM, which so starts at its last frame.
    """

    def __init__(self, width: int, width_out: int, bidirectional: bool, dropout: float):
        super().__init__()
        self.forwards = _lstm(width, width_out)
        self.backwards = _lstm(width, width_out) if bidirectional else None
        self.norm = nn.LayerNorm(width_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y, _ = self.forwards(x)
        if self.backwards is not None:
            order = _reversal(lengths, x.shape[1])
            z, _ = self.backwards(x.gather(1, order.expand(-1, -1, x.shape[2])))
            y = y + z.gather(1, order.expand(-1, -1, z.shape[2]))
        return self.dropout(self.norm(y))


def strided(lengths: Tensor, stride: int) -> Tensor:
    """Frames that are left when every ``stride``-th is kept, beginning with the first."""
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")


def context(layers: Iterable[TimeConvolution | PlaneConvolution]) -> tuple[int, int]:
    """Input frames before and after the middle that an output frame of these layers depends on."""
    left, right, step = 0, 0, 1
    for layer in layers:
        left += layer.left_context * step
        right += layer.right_context * step
        step *= layer.stride
    return left, right


def _lstm(width: int, width_out: int) -> nn.LSTM:
    lstm = nn.LSTM(width, width_out, batch_first=True)
    with torch.no_grad():
        # A cell that remembers from the start learns long spans sooner (Jozefowicz et al. 2015).
        lstm.get_parameter("bias_ih_l0")[width_out : 2 * width_out].fill_(1.0)
    return lstm


def _reversal(lengths: Tensor, frames: int) -> Tensor:
    """int64 ``(B, frames, 1)``: each utterance's frames from last to first, padding in place."""
    position = torch.arange(frames, device=lengths.device)
    turned = lengths[:, None] - 1 - position
    return torch.where(turned >= 0, turned, position)[..., None]
