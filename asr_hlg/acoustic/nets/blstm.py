"""Bidirectional LSTM between feed-forward layers: Deep Speech.

The network of Hannun et al., "Deep Speech: Scaling up end-to-end speech recognition" (2014): three
feed-forward layers with clipped ReLUs, of which the first combines several frames, a bidirectional
recurrent layer, and one more feed-forward layer.  The paper's recurrent layer has no gates; here it
is an LSTM, which needs fewer training steps, and layers are normalised.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from asr_hlg.acoustic.config import FbankConfig
from asr_hlg.acoustic.nets.layers import LstmLayer, TimeConvolution
from asr_hlg.acoustic.network import FbankNetwork
from asr_hlg.settings import Count, Size


@dataclass(frozen=True)
class BlstmConfig(FbankConfig):
    """Configuration of a :class:`Blstm`; see also :class:`~asr_hlg.acoustic.config.FbankConfig`.

    Attributes
    ----------
    context : int
        Frames before and after the current one that the first layer combines with it.
    hidden, num_feed_forward : int
        Width of the feed-forward layers, and how many precede the LSTM.
    dim, num_layers : int
        Width of the LSTMs, and their number.  One feed-forward layer and two or more LSTMs make
        the usual stacked BLSTM.
    """

    context: Count = 5
    hidden: Size = 512
    num_feed_forward: Size = 3
    dim: Size = 256
    num_layers: Size = 1

    @property
    def first_kernel_frames(self) -> int:
        """Number of frames that the first layer combines."""
        return 2 * self.context + 1


class Blstm(FbankNetwork):
    """Deep Speech: feed-forward layers, a bidirectional LSTM, a feed-forward layer."""

    kind = "blstm"
    config_class = BlstmConfig

    def __init__(self, config: BlstmConfig):
        super().__init__(config, config.hidden)
        hidden, dropout = config.hidden, config.dropout
        first = TimeConvolution(
            config.fbank.num_filters,
            hidden,
            config.first_kernel_frames,
            stride=config.subsampling,
            dropout=dropout,
        )
        others = (
            TimeConvolution(hidden, hidden, 1, dropout=dropout)
            for _ in range(config.num_feed_forward - 1)
        )
        self.feed_forward = nn.ModuleList([first, *others])
        widths = [hidden] + [config.dim] * (config.num_layers - 1)
        self.layers = nn.ModuleList(LstmLayer(width, config.dim, True, dropout) for width in widths)
        self.last = TimeConvolution(config.dim, hidden, 1, dropout=dropout)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalised filter banks to hidden features ``(B, frames, hidden)``."""
        x: Tensor = features
        for feed_forward in self.feed_forward:
            x, lengths = feed_forward(x, lengths)
        for layer in self.layers:
            x = layer(x, lengths)
        x, lengths = self.last(x, lengths)
        return x
