"""Steps of AdamW for a given time, and the exponential average of the weights over them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

_BETAS = (0.9, 0.98)
_Network = TypeVar("_Network", bound=nn.Module)
_Batch = TypeVar("_Batch")


@dataclass(frozen=True)
class Steps:
    """How long to train, and how; the learning rate falls like a cosine.

    Attributes
    ----------
    seconds : float
    rate : float
        The highest learning rate.
    warm_up : int
        Steps in which the learning rate rises.
    decay : float
        Weight decay of matrices; vectors have none.
    largest_norm : float
        Gradients are scaled down to this norm.
    """

    seconds: float
    rate: float
    warm_up: int
    decay: float
    largest_norm: float

    def train(
        self,
        network: _Network,
        batches: Iterable[_Batch],
        loss_of: Callable[[_Batch, float], Tensor],
    ) -> _Network:
        """Train a network; returns the average.

        ``loss_of`` gets a batch and the share of the time that has passed.
        """
        average = copy.deepcopy(network).eval()
        groups = [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": self.decay},
            {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=self.rate, betas=_BETAS)
        start, losses = time.monotonic(), list[float]()
        network.train()
        for step, batch in enumerate(batches, 1):
            progress = (time.monotonic() - start) / self.seconds
            if progress >= 1:
                break
            cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * progress))
            for group in optimiser.param_groups:
                group["lr"] = self.rate * min(1, step / self.warm_up) * cosine
            optimiser.zero_grad()
            loss = loss_of(batch, progress)
            loss.backward()
            if torch.isfinite(nn.utils.clip_grad_norm_(network.parameters(), self.largest_norm)):
                optimiser.step()
            mix(average, network, 1 - min(0.998, step / (20 + step)))
            losses.append(float(loss))
            if step % 50 == 0:
                print(f"{progress:4.0%}  step {step}  loss {np.mean(losses[-50:]):.4f}", flush=True)
        return average


@torch.no_grad()
def mix(network: nn.Module, other: nn.Module, share: float) -> None:
    """Replace a share of a network's weights by another's."""
    for weight, new in zip(network.parameters(), other.parameters(), strict=True):
        weight.lerp_(new, share)
