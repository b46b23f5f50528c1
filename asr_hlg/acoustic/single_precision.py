"""What a network computes in float32 in mixed precision, too: layer norms and log-probabilities.

On CUDA ``torch.autocast`` does so by itself for most of these operations. On the CPU it does not,
and in older versions layer norms fail there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def at_least_single(x: Tensor) -> Tensor:
    """The numbers in float32 where they are in half precision, as autocast leaves them."""
    is_half = x.dtype == torch.float16 or x.dtype == torch.bfloat16
    return x.float() if is_half else x


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised over the last axis."""
        x = at_least_single(x)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
