"""AdamW and its learning rate schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from asr_hlg.errors import OptionError, TrainingError
from asr_hlg.settings import Bounded, Bounds, Fraction, NonNegative

_FINITE = Bounds("above 0 and finite", lambda value: 0 < value < math.inf)


@dataclass(frozen=True)
class OptimiserOptions(Bounded):
    """Options of AdamW (Loshchilov and Hutter, 2019) and of its learning rate schedule.

    Attributes
    ----------
    learning_rate : float
        Peak learning rate, reached at the end of the warm-up. 1e-3 suits small networks from
        scratch, 1e-4 the fine-tuning of a trained one.
    warm_up : float
        Share of all steps in which the rate rises from zero, in [0, 1).
    weight_decay : float
        Weight decay of matrices and kernels; biases and norms have none.
    betas : tuple of float
        Decay of the running averages of gradients and of their squares.
    clip : float
        Maximum norm of a step's gradient; larger gradients are scaled down to it.
    """

    learning_rate: Annotated[float, _FINITE] = 1e-3
    warm_up: Fraction = 0.1
    weight_decay: NonNegative = 0.01
    betas: tuple[float, ...] = (0.9, 0.98)
    clip: Annotated[float, _FINITE] = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise OptionError(f"betas must be two numbers in [0, 1), not {self.betas}")

    def rate(self, step: int, planned: int) -> float:
        """Learning rate of a step, counted from 0, of ``planned`` steps.

        It rises linearly from 0 to ``learning_rate``, then falls to 0 along half a cosine
        (Loshchilov and Hutter, "SGDR", 2017, without restarts).
        """
        warm_up = round(self.warm_up * planned)
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        share = min(1.0, (step - warm_up) / max(1, planned - warm_up))
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def adamw(objective: nn.Module, options: OptimiserOptions) -> torch.optim.AdamW:
    """Make the optimiser of an objective's trainable weights."""
    parameters = [p for p in objective.parameters() if p.requires_grad]
    if not parameters:
        raise TrainingError("the network has no weights to train")
    decayed = {
        "params": [p for p in parameters if p.ndim > 1],
        "weight_decay": options.weight_decay,
    }
    plain = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    groups = [group for group in (decayed, plain) if group["params"]]
    return torch.optim.AdamW(
        groups, lr=options.learning_rate, betas=(options.betas[0], options.betas[1])
    )
