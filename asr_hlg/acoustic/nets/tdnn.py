"""Time-delay neural network: dilated convolutions over time.

Peddinti et al., "A time delay neural network architecture for efficient modeling of long temporal
contexts" (2015): each layer combines a few frames of the layer below it, with a spacing that grows
from layer to layer, so that few multiplications cover a long context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from asr_hlg.acoustic.config import FbankConfig, check
from asr_hlg.acoustic.nets.layers import TimeConvolution, receptive_field
from asr_hlg.acoustic.network import FbankNetwork
from asr_hlg.settings import OddSize, Size


@dataclass(frozen=True)
class TdnnConfig(FbankConfig):
    """Configuration of a :class:`Tdnn`; see also :class:`~asr_hlg.acoustic.config.FbankConfig`.

    Attributes
    ----------
    dim : int
        Width of all layers.
    first_kernel, kernel : int
        Frames that the first layer combines, and each of the others.
    dilations : tuple of int
        One number for each layer after the first: output frames from one combined frame to the
        next.
    causal_layers : int
        Number of layers, counted from the last, that use no later frames than the current one:
        ``right_context`` becomes smaller, at some loss of accuracy.
    edges : {"zero", "repeat"}
        What the layers see before and after an utterance: zeros, or its first and last frame again
        and again, as in Kaldi. A network for Kaldi needs ``repeat``, see
        :mod:`asr_hlg.acoustic.kaldi.export`.
    """

    subsampling: Size = 3
    dim: Size = 384
    first_kernel: OddSize = 5
    kernel: OddSize = 3
    dilations: tuple[int, ...] = (1, 1, 2, 2, 4)
    causal_layers: int = 0
    edges: Literal["zero", "repeat"] = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range = all(0 < dilation <= 10_000 for dilation in self.dilations)
        check(in_range, "dilations must be positive and at most 10,000 frames")
        num_layers = len(self.dilations) + 1
        check(0 <= self.causal_layers <= num_layers, f"causal_layers is from 0 to {num_layers}")

    @property
    def first_kernel_frames(self) -> int:
        """Number of frames that the first layer combines."""
        return self.first_kernel


class Tdnn(FbankNetwork):
    """Time-delay neural network; each layer has a clipped ReLU and normalisation."""

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
                padded=config.edges == "zero",
            )
            for k, dilation in enumerate((1, *config.dilations))
        )
        before, after = receptive_field(self.layers)
        self.left_context, self.right_context = before, after
        repeated = config.edges == "repeat"
        self.repeats_before, self.repeats_after = (before, after) if repeated else (0, 0)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalised filter banks to hidden features ``(B, frames, dim)``."""
        x: Tensor = features
        if self.repeats_before + self.repeats_after > 0:
            place = torch.arange(x.shape[1] + self.repeats_before + self.repeats_after)
            place = (place.to(x.device) - self.repeats_before).clamp(min=0)
            index = torch.minimum(place[None], (lengths - 1).clamp(min=0)[:, None])
            x = x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        return x
