"""A time-delay neural network: dilated convolutions over time.

Peddinti et al., "A time delay neural network architecture for efficient modeling of long temporal
contexts" (2015): each layer combines a few frames of the layer below, further apart the higher it
stands, so that few multiplications see a long context.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from asr_hlg.acoustic.config import FbankConfig, check
from asr_hlg.acoustic.nets.layers import TimeConvolution, context
from asr_hlg.acoustic.network import FbankNetwork


@dataclass(frozen=True)
class TdnnConfig(FbankConfig):
    """The shape of a :class:`Tdnn`; see also :class:`~asr_hlg.acoustic.config.FbankConfig`.

    Attributes
    ----------
    dim : int
        Width of all layers.
    first_kernel, kernel : int
        Frames that the first layer combines, and each of the others; odd.
    dilations : tuple of int
        One number for each layer after the first: output frames from one combined frame to the
        next.
    causal_layers : int
        So many layers, counted from the last, see no later frames than their own: fewer
        ``right_context`` frames to wait for, at some loss of accuracy.
    """

    subsampling: int = 3
    dim: int = 384
    first_kernel: int = 5
    kernel: int = 3
    dilations: tuple[int, ...] = (1, 1, 2, 2, 4)
    causal_layers: int = 0

    def __post_init__(self):
        super().__post_init__()
        check(self.dim > 0 and all(d > 0 for d in self.dilations), "dim and dilations are positive")
        check(max(self.dilations, default=1) <= 10_000, "dilations are at most 10,000 frames")
        check(min(self.kernel, self.first_kernel) > 0, "kernels are positive")
        check(self.first_kernel % 2 == 1 and self.kernel % 2 == 1, "kernels are odd numbers")
        check(self.first_kernel >= self.subsampling, "subsampling would skip frames unseen")
        layers = len(self.dilations) + 1
        check(0 <= self.causal_layers <= layers, f"causal_layers is from 0 to {layers}")


class Tdnn(FbankNetwork):
    """Convolutions over time, ever further apart, each with clipped ReLU and normalisation."""

    kind = "tdnn"
    config_class = TdnnConfig

    def __init__(self, config: TdnnConfig):
        super().__init__(config, config.dim)
        first_causal = len(config.dilations) + 1 - config.causal_layers
        self.layers = nn.ModuleList(
            TimeConvolution(
                config.dim if k else config.fbank.num_filters,
                config.dim,
                config.kernel if k else config.first_kernel,
                dilation,
                stride=1 if k else config.subsampling,
                causal=k >= first_causal,
                dropout=config.dropout,
            )
            for k, dilation in enumerate((1, *config.dilations))
        )
        self.left_context, self.right_context = context(self.layers)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        x = features
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        return x
