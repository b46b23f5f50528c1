"""Progress of a training: counters, epochs and time, which checkpoints keep."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from asr_hlg.output.scoring import Errors


@dataclass
class Progress:
    """State of the training loop, without weights; checkpoints contain all of it.

    Attributes
    ----------
    step : int
        Number of batches so far, skipped ones included.
    epoch, batch : int
        Number of finished epochs, and of batches in the current one.
    skipped : int
        Number of consecutive batches without a finite loss or gradient.
    loss_sum, frames : float
        Sums over the current epoch, for its mean loss.
    loss_scale : float
        Factor of the loss in float16.
    steps_at_scale : int
        Number of steps since the factor has changed.
    planned_steps : int
        Number of steps for which the learning rate schedule was made.
    wall_seconds, cpu_seconds : float
        Time spent so far, without interruptions.
    epochs : list of dict
        For each finished epoch ``loss``, and with a dev set ``dev`` (errors) and ``wer``.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    skipped: int = 0
    loss_sum: float = 0.0
    frames: float = 0.0
    loss_scale: float = 65536.0
    steps_at_scale: int = 0
    planned_steps: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def best(self, number: int) -> list[int]:
        """Numbers of the best epochs on the dev set, or of the last ones without one; ascending."""
        order = range(len(self.epochs))
        if self.epochs and "wer" in self.epochs[0]:
            chosen = sorted(order, key=lambda epoch: (self.epochs[epoch]["wer"], epoch))[:number]
        else:
            chosen = list(order)[-number:]
        return sorted(chosen)

    def stalled(self, patience: int) -> bool:
        """Whether the dev errors have not improved for ``patience`` epochs; False if that is 0."""
        if not patience or not self.epochs or "wer" not in self.epochs[0]:
            return False
        return len(self.epochs) - 1 - self.best(1)[0] >= patience


@dataclass(frozen=True)
class Outcome:
    """Outcome of a finished training.

    Attributes
    ----------
    progress : Progress
    averaged : tuple of int
        Epochs whose weights were averaged, counted from 1.
    dev : Errors or None
        Errors of the averaged weights on the dev set.
    """

    progress: Progress
    averaged: tuple[int, ...]
    dev: Errors | None


class Clock:
    """Context manager that adds the wall and CPU time of its block to the progress."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def __enter__(self) -> None:
        self._start = time.monotonic(), _cpu_seconds()

    def __exit__(self, *_: object) -> None:
        self._progress.wall_seconds += time.monotonic() - self._start[0]
        self._progress.cpu_seconds += _cpu_seconds() - self._start[1]


def _cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    return sum(os.times()[:4])
