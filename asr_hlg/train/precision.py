"""Mixed precision: the number format that a network computes in, and the scale of the loss.

Weights, losses and gradients of weights stay in float32.
"""

from __future__ import annotations

import torch

from asr_hlg.errors import OptionError
from asr_hlg.train.progress import Progress

_GROWTH_STEPS = 2000  # without an overflow, after which the scale is doubled, as in torch


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Format for ``torch.autocast`` of an option's value; None for float32 throughout.

    Raises
    ------
    OptionError
        For float16 on the CPU, where torch has it in newer versions only.
    """
    if precision == "auto":
        # torch.cuda.is_bf16_supported() of newer versions is true where bfloat16 is emulated.
        fits = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if fits else None
    if precision == "float16" and device.type == "cpu":
        raise OptionError("float16 is for GPUs", remedy="use bfloat16 or float32 on the CPU")
    formats = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return formats[precision]


class LossScale:
    """Factor of the loss in float16, without which small gradients would underflow to zero.

    It is halved when a gradient overflows, and doubled after 2,000 steps without an overflow:
    Micikevicius et al., "Mixed precision training", 2018. ``torch.cuda.amp.GradScaler`` does the
    same, on CUDA only in older versions. Progress has the factor, so checkpoints contain it.

    Parameters
    ----------
    progress : Progress
    enabled : bool
        False: the factor is 1, as it should be for bfloat16, whose range is that of float32.
    """

    def __init__(self, progress: Progress, enabled: bool):
        self._progress, self._enabled = progress, enabled

    @property
    def factor(self) -> float:
        """By which the loss is multiplied; a power of two, so that nothing is rounded."""
        return self._progress.loss_scale if self._enabled else 1.0

    def unscale(self, weights: list[torch.nn.Parameter]) -> None:
        """Divide the gradients of weights by the factor."""
        if self._enabled:
            for weight in weights:
                if weight.grad is not None:
                    weight.grad /= self.factor

    def lowered(self) -> bool:
        """Halve the factor after an overflow; False if it is not above 1, and so not the reason."""
        if self.factor <= 1:
            return False
        self._progress.loss_scale /= 2
        self._progress.steps_at_scale = 0
        return True

    def count_step(self) -> None:
        """Note a step without an overflow."""
        if not self._enabled:
            return
        self._progress.steps_at_scale += 1
        if self._progress.steps_at_scale >= _GROWTH_STEPS:
            self._progress.loss_scale *= 2
            self._progress.steps_at_scale = 0
