"""Convolutions over time and frequency, followed by convolutions over time or by LSTMs.

With LSTMs this is the network of Amodei et al., "Deep Speech 2" (2016): convolutions over the
spectrogram, recurrent layers, a linear layer.  With convolutions only, training is faster, and a
streaming recogniser can compute the network as sound arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_hlg.acoustic.config import FbankConfig
from asr_hlg.acoustic.nets.layers import (
    LstmLayer,
    TimeConvolution,
    clipped_relu,
    padding_mask,
    receptive_field,
    strided_lengths,
)
from asr_hlg.acoustic.nets.recurrence import LstmRecurrence
from asr_hlg.acoustic.network import FbankNetwork
from asr_hlg.acoustic.single_precision import LayerNorm
from asr_hlg.settings import OddSize, Size


@dataclass(frozen=True)
class FrontEndConfig(FbankConfig):
    """Configuration of the two layers over time and frequency, with which both networks begin.

    Attributes
    ----------
    channels : int
        Channels of both layers.
    kernel_frames, kernel_bands : int
        Frames and bands that a kernel of the first layer combines.  A kernel of the second layer,
        whose input has half as many bands, combines half as many.
    """

    channels: Size = 32
    kernel_frames: OddSize = 11
    kernel_bands: OddSize = 21

    @property
    def first_kernel_frames(self) -> int:
        """Number of frames that the first layer combines."""
        return self.kernel_frames


class TimeFrequencyConvolution(nn.Module):
    """Convolution over time and frequency, and clipped ReLU; every second band is kept.

    Parameters
    ----------
    channels, channels_out : int
        Channels of input and output.
    kernel : tuple of int
        Frames and bands that it combines, both odd.
    stride : int
        Frames from one output frame to the next.
    causal : bool
        As for :class:`~asr_hlg.acoustic.nets.layers.TimeConvolution`.
    """

    def __init__(
        self, channels: int, channels_out: int, kernel: tuple[int, int], stride: int, causal: bool
    ):
        super().__init__()
        frames, bands = kernel
        self.stride = stride
        self.right_context = 0 if causal else frames // 2
        self.left_context = frames - 1 - self.right_context
        self.bands = bands // 2
        self.convolution = nn.Conv2d(channels, channels_out, kernel, (stride, 2))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Input and output: ``(B, channels, frames, bands)``, and frames ``(B,)``."""
        x = x.masked_fill(padding_mask(lengths, x.shape[2])[:, None], 0.0)
        edges = (self.bands, self.bands, self.left_context, self.right_context)
        x = clipped_relu(self.convolution(F.pad(x, edges)))
        return x, strided_lengths(lengths, self.stride)


class FrontEnd(nn.Module):
    """First part of Deep Speech 2: two layers over time and frequency, and normalisation."""

    def __init__(self, config: FrontEndConfig, causal: bool = False):
        super().__init__()
        channels, frames, bands = config.channels, config.kernel_frames, config.kernel_bands
        half = bands // 2 // 2 * 2 + 1
        stride = config.subsampling
        self.first = TimeFrequencyConvolution(1, channels, (frames, bands), stride, causal)
        self.second = TimeFrequencyConvolution(channels, channels, (frames, half), 1, causal)
        self.width = channels * -(-config.fbank.num_filters // 4)
        self.norm = LayerNorm(self.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, frames, bands)`` to ``(B, frames / subsampling, width)``, and frames ``(B,)``."""
        x, lengths = self.first(x[:, None], lengths)
        x, lengths = self.second(x, lengths)
        return self.dropout(self.norm(x.transpose(1, 2).flatten(2))), lengths


@dataclass(frozen=True)
class CnnConfig(FrontEndConfig):
    """Configuration of a :class:`Cnn`; see also :class:`FrontEndConfig`.

    Attributes
    ----------
    dim, num_layers, kernel : int
        Width of the layers over time, their number, and the frames that each combines.
    causal : bool
        No layer uses later frames than the current one, as streaming recognition requires.
    """

    kernel_frames: OddSize = 5
    kernel_bands: OddSize = 9
    dim: Size = 256
    num_layers: Size = 6
    kernel: OddSize = 7
    causal: bool = False


class Cnn(FbankNetwork):
    """Two convolutions over time and frequency, then residual convolutions over time."""

    kind = "cnn"
    config_class = CnnConfig

    def __init__(self, config: CnnConfig):
        super().__init__(config, config.dim)
        dim, causal = config.dim, config.causal
        self.front = FrontEnd(config, causal)
        self.bottleneck = nn.Linear(self.front.width, dim)
        self.layers = nn.ModuleList(
            TimeConvolution(dim, dim, config.kernel, causal=causal, dropout=config.dropout)
            for _ in range(config.num_layers)
        )
        self.left_context, self.right_context = receptive_field(
            [self.front.first, self.front.second, *self.layers]
        )

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalised filter banks to hidden features ``(B, frames, dim)``."""
        x: Tensor = features
        x, lengths = self.front(x, lengths)
        x = self.bottleneck(x)
        for layer in self.layers:
            y, lengths = layer(x, lengths)
            x = x + y
        return x


@dataclass(frozen=True)
class CnnLstmConfig(FrontEndConfig):
    """Configuration of a :class:`CnnLstm`; see also :class:`FrontEndConfig`.

    Attributes
    ----------
    dim, num_layers : int
        Width of the LSTMs, and their number.
    bidirectional : bool
        Whether each layer also runs from the utterance's end to its beginning.  Without this, a
        frame depends on ``right_context`` later frames only.
    """

    dim: Size = 256
    num_layers: Size = 3
    bidirectional: bool = True


class CnnLstm(FbankNetwork):
    """Deep Speech 2: two convolutions over time and frequency, then LSTMs."""

    kind = "cnn_lstm"
    config_class = CnnLstmConfig

    def __init__(self, config: CnnLstmConfig):
        super().__init__(config, config.dim)
        self.front = FrontEnd(config)
        widths = [self.front.width] + [config.dim] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            LstmLayer(width, config.dim, config.bidirectional, config.dropout) for width in widths
        )
        if not config.bidirectional:
            _, self.right_context = receptive_field([self.front.first, self.front.second])

    @torch.jit.unused  # type: ignore[untyped-decorator]
    def recurrence(self) -> LstmRecurrence | None:
        """Evaluation while input comes; None where a frame depends on the whole utterance."""
        if self.config.bidirectional or self.utterance_mean:
            return None
        return LstmRecurrence(self)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalised filter banks to hidden features ``(B, frames, dim)``."""
        x: Tensor = features
        x, lengths = self.front(x, lengths)
        for layer in self.layers:
            x = layer(x, lengths)
        return x
