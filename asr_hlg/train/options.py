"""Options of the training loop."""

from __future__ import annotations

from dataclasses import dataclass

from asr_hlg.settings import Bounded, Count, NonNegative, Size


@dataclass(frozen=True)
class TrainingOptions(Bounded):
    """Length of a training, its seed, checkpoints and averaging.

    Attributes
    ----------
    epochs : int
        Maximum number of passes over the data.
    seed : int
        Seed of all random numbers. The same seed gives the same model, on one CPU thread to the
        bit.
    patience : int
        Stop after so many epochs without a better dev error rate; 0 never stops early.
    average : int
        The final weights are the mean of those after this many epochs: the best on the dev set,
        or the last where there is no dev set. If the best epoch alone has fewer errors, its
        weights are taken.
    checkpoint_seconds : float
        Time between checkpoints; 0 writes one after every step.
    keep_checkpoints : int
        Number of checkpoints to keep. More than one is safer, since the newest may be damaged.
    mixed_precision : bool
        Compute in bfloat16 on CUDA devices that support it.
    """

    epochs: Size = 20
    seed: Count = 0
    patience: Count = 0
    average: Size = 3
    checkpoint_seconds: NonNegative = 60.0
    keep_checkpoints: Size = 2
    mixed_precision: bool = True
