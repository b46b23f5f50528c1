"""Convolutions over time and frequency, then convolutions over time, or LSTMs.

The second is the network of Amodei et al., "Deep Speech 2" (2016): convolutions over the
spectrogram, recurrent layers, a linear one.  The first keeps their beginning and goes on with
convolutions alone, which train faster and can be computed as sound arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from asr_hlg.acoustic.config import FbankConfig, check
from asr_hlg.acoustic.nets.layers import Front, Recurrent, TimeConvolution, context
from asr_hlg.acoustic.network import FbankNetwork


@dataclass(frozen=True)
class FrontConfig(FbankConfig):
    """What both networks say of their first two layers, those over time and frequency.

    Attributes
    ----------
    channels : int
        Of both layers.
    kernel_frames, kernel_bands : int
        Frames and bands that a kernel of the first layer combines, odd numbers; of the second
        layer, which sees every other band, half the bands.
    """

    channels: int = 32
    kernel_frames: int = 11
    kernel_bands: int = 21

    def __post_init__(self):
        super().__post_init__()
        sizes = (self.channels, self.kernel_frames, self.kernel_bands)
        check(min(sizes) > 0, "sizes of layers and kernels are positive")
        odd = self.kernel_frames % 2 == self.kernel_bands % 2 == 1
        check(odd, "kernels are odd numbers")
        check(self.kernel_frames >= self.subsampling, "subsampling would skip frames unseen")


@dataclass(frozen=True)
class CnnConfig(FrontConfig):
    """The shape of a :class:`Cnn`; see also :class:`FrontConfig`.

    Attributes
    ----------
    dim, num_layers, kernel : int
        Width of the layers over time, how many there are, and frames that each combines (odd).
    causal : bool
        No layer sees later frames than its own: for recognition while somebody speaks.
    """

    kernel_frames: int = 5
    kernel_bands: int = 9
    dim: int = 256
    num_layers: int = 6
    kernel: int = 7
    causal: bool = False

    def __post_init__(self):
        super().__post_init__()
        check(self.dim > 0 and self.num_layers > 0, "sizes of layers are positive")
        check(self.kernel > 0 and self.kernel % 2 == 1, "kernels are odd numbers")


class Cnn(FbankNetwork):
    """Two convolutions over time and frequency, then residual ones over time."""

    kind = "cnn"
    config_class = CnnConfig

    def __init__(self, config: CnnConfig):
        super().__init__(config, config.dim)
        self.front = _front(config, config.causal)
        self.bottleneck = nn.Linear(self.front.width, config.dim)
        self.layers = nn.ModuleList(
            TimeConvolution(
                config.dim,
                config.dim,
                config.kernel,
                causal=config.causal,
                dropout=config.dropout,
            )
            for _ in range(config.num_layers)
        )
        order = [self.front.first, self.front.second, *self.layers]
        self.left_context, self.right_context = context(order)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        x, lengths = self.front(features, lengths)
        x = self.bottleneck(x)
        for layer in self.layers:
            y, lengths = layer(x, lengths)
            x = x + y
        return x


@dataclass(frozen=True)
class CnnLstmConfig(FrontConfig):
    """The shape of a :class:`CnnLstm`; see also :class:`FrontConfig`.

    Attributes
    ----------
    dim, num_layers : int
        Width of the LSTMs, and how many follow each other.
    bidirectional : bool
        Whether each layer also reads the utterance from its end.  Without, a frame depends on
        ``right_context`` later frames only.
    """

    dim: int = 256
    num_layers: int = 3
    bidirectional: bool = True

    def __post_init__(self):
        super().__post_init__()
        check(self.dim > 0 and self.num_layers > 0, "sizes of layers are positive")


class CnnLstm(FbankNetwork):
    """Deep Speech 2: two convolutions over time and frequency, then LSTMs."""

    kind = "cnn_lstm"
    config_class = CnnLstmConfig

    def __init__(self, config: CnnLstmConfig):
        super().__init__(config, config.dim)
        self.front = _front(config, causal=False)
        widths = [self.front.width] + [config.dim] * config.num_layers
        self.layers = nn.ModuleList(
            Recurrent(width, config.dim, config.bidirectional, config.dropout)
            for width in widths[:-1]
        )
        if not config.bidirectional:
            _, self.right_context = context([self.front.first, self.front.second])

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        x, lengths = self.front(features, lengths)
        for layer in self.layers:
            x = layer(x, lengths)
        return x


def _front(config: FrontConfig, causal: bool) -> Front:
    return Front(
        config.fbank.num_filters,
        config.channels,
        config.kernel_frames,
        config.kernel_bands,
        config.subsampling,
        causal,
        config.dropout,
    )
