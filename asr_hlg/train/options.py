"""What a training may be told: how long, how careful."""

from __future__ import annotations

from dataclasses import dataclass

from asr_hlg.errors import OptionError


@dataclass(frozen=True)
class TrainingOptions:
    """The course of a training.

    Attributes
    ----------
    epochs : int
        Passes over the data, at most.
    seed : int
        Of everything random: the same seed gives the same model, on one CPU thread to the bit.
    patience : int
        Stop after so many epochs without a better dev error rate; 0 never stops early.
    average : int
        The final weights are the mean of those after this many epochs: the best on the dev set,
        or the last where there is none. If the best alone has fewer errors, it is taken.
    checkpoint_seconds : float
        Time between checkpoints, and so the most that a kill can cost; 0 writes one after every
        step.
    keep_checkpoints : int
        How many to keep: more than one, for the newest may have been damaged.
    mixed_precision : bool
        Compute in bfloat16 where a CUDA device can; elsewhere this changes nothing.
    """

    epochs: int = 20
    seed: int = 0
    patience: int = 0
    average: int = 3
    checkpoint_seconds: float = 60.0
    keep_checkpoints: int = 2
    mixed_precision: bool = True

    def __post_init__(self):
        for name, least in (("epochs", 1), ("average", 1), ("keep_checkpoints", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("patience", "checkpoint_seconds", "seed"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} must not be negative, it is {getattr(self, name)}")
