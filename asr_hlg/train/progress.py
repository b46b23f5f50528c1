"""Where a training is, and how much time it took to get there."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from asr_hlg.output.scoring import Errors


@dataclass
class Progress:
    """Where a training is; all of it goes into checkpoints.

    Attributes
    ----------
    step : int
        Batches seen, skipped ones included.
    epoch, batch : int
        Epochs finished, and batches seen of the present one.
    skipped : int
        Batches in a row that had no finite loss.
    loss_sum, frames : float
        Of the present epoch, for its mean loss.
    planned_steps : int
        What the learning rate's schedule was laid out for.
    wall_seconds, cpu_seconds : float
        Spent so far, interruptions left out.
    epochs : list of dict
        One a finished epoch: ``loss``, ``dev`` errors and ``wer`` where there is a dev set.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    skipped: int = 0
    loss_sum: float = 0.0
    frames: float = 0.0
    planned_steps: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def best(self, number: int) -> list[int]:
        """The best epochs, in their order; the last ones where no dev set tells."""
        order = range(len(self.epochs))
        if self.epochs and "wer" in self.epochs[0]:
            chosen = sorted(order, key=lambda epoch: (self.epochs[epoch]["wer"], epoch))[:number]
        else:
            chosen = list(order)[-number:]
        return sorted(chosen)

    def stalled(self, patience: int) -> bool:
        """Whether the dev error has not fallen for so many epochs."""
        if not patience or not self.epochs or "wer" not in self.epochs[0]:
            return False
        return len(self.epochs) - 1 - self.best(1)[0] >= patience


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Attributes
    ----------
    progress : Progress
    averaged : tuple of int
        The epochs, counted from 1, whose weights were averaged.
    dev : Errors or None
        Of the averaged weights.
    """

    progress: Progress
    averaged: tuple[int, ...]
    dev: Errors | None


class Clock:
    """Adds the wall and CPU time of a block to the progress."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def __enter__(self) -> None:
        self._start = time.monotonic(), _cpu_seconds()

    def __exit__(self, *_: object) -> None:
        self._progress.wall_seconds += time.monotonic() - self._start[0]
        self._progress.cpu_seconds += _cpu_seconds() - self._start[1]


def _cpu_seconds() -> float:
    """User and system time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])
