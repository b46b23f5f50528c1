"""A bidirectional LSTM between feed-forward layers.

The network of Hannun et al., "Deep Speech: Scaling up end-to-end speech recognition" (2014): three
feed-forward layers with clipped ReLUs, of which the first sees some frames on either side, one
layer that reads the utterance in both directions, and one more feed-forward layer.  Their recurrent
layer has no gates; here it is an LSTM, which learns sooner, and layers are normalised.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from asr_hlg.acoustic.config import FbankConfig, check
from asr_hlg.acoustic.nets.layers import Recurrent, TimeConvolution
from asr_hlg.acoustic.network import FbankNetwork


@dataclass(frozen=True)
class BlstmConfig(FbankConfig):
    """The shape of a :class:`Blstm`; see also :class:`~asr_hlg.acoustic.config.FbankConfig`.

    Attributes
    ----------
    context : int
        Frames on either side that the first layer sees.
    hidden, num_feed_forward : int
        Width of the feed-forward layers, and how many stand before the LSTM, at least one.
    dim, num_layers : int
        Width of the LSTMs, and how many follow each other.  One feed-forward layer and two or
        more LSTMs make the plain stacked BLSTM.
    """

    context: int = 5
    hidden: int = 512
    num_feed_forward: int = 3
    dim: int = 256
    num_layers: int = 1

    def __post_init__(self):
        super().__post_init__()
        sizes = (self.hidden, self.num_feed_forward, self.dim, self.num_layers)
        check(min(sizes) > 0, "widths and numbers of layers are positive")
        check(self.context >= 0, f"context is a number of frames, not {self.context}")
        check(2 * self.context + 1 >= self.subsampling, "subsampling would skip frames unseen")


class Blstm(FbankNetwork):
    """Deep Speech 1: feed-forward layers, a bidirectional LSTM, a feed-forward layer."""

    kind = "blstm"
    config_class = BlstmConfig

    def __init__(self, config: BlstmConfig):
        super().__init__(config, config.hidden)
        filters, hidden, dropout = config.fbank.num_filters, config.hidden, config.dropout
        kernels = [2 * config.context + 1] + [1] * (config.num_feed_forward - 1)
        self.feed_forward = nn.ModuleList(
            TimeConvolution(
                hidden if k else filters,
                hidden,
                kernel,
                stride=1 if k else config.subsampling,
                dropout=dropout,
            )
            for k, kernel in enumerate(kernels)
        )
        widths = [hidden] + [config.dim] * (config.num_layers - 1)
        self.layers = nn.ModuleList(Recurrent(width, config.dim, True, dropout) for width in widths)
        self.last = TimeConvolution(config.dim, hidden, 1, dropout=dropout)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        x = features
        for feed_forward in self.feed_forward:
            x, lengths = feed_forward(x, lengths)
        for layer in self.layers:
            x = layer(x, lengths)
        return self.last(x, lengths)[0]
