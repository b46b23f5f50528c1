"""Options of the training loop, of its rounds, and of decision trees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from asr_hlg.errors import OptionError
from asr_hlg.settings import Bounded, Count, NonNegative, RelativeToFile, Size

NamedPath = Annotated[Path, RelativeToFile()]


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
    precision : {"auto", "float32", "bfloat16", "float16"}
        What the network computes in; losses are computed in float32. "auto" is bfloat16 on a GPU
        that has it (compute capability 8.0 and later), else float32. With float16 the loss is
        scaled.
    """

    epochs: Size = 20
    seed: Count = 0
    patience: Count = 0
    average: Size = 3
    checkpoint_seconds: NonNegative = 60.0
    keep_checkpoints: Size = 2
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


@dataclass(frozen=True)
class HybridSection:
    """Rounds of alignment and training by cross-entropy; see :mod:`asr_hlg.train.hybrid`.

    Attributes
    ----------
    rounds : list of int
        The epochs of each.
    start : {"uniform", "full_sum"}
        What the first round trains on: recordings divided evenly among their states, or the sum
        over all alignments (:class:`asr_hlg.losses.HmmFullSum`).
    """

    rounds: list[int]
    start: Literal["uniform", "full_sum"] = "uniform"

    def __post_init__(self) -> None:
        if not self.rounds or min(self.rounds) < 1:
            raise OptionError(f"rounds are numbers of epochs, at least 1, not {self.rounds}")


@dataclass(frozen=True)
class TreeOptions:
    """Limits of a tree's growth.

    Attributes
    ----------
    context : int
        2: questions about the phone on the left; 3: on the left and right.
    max_leaves : int
        Number of pdfs, at most, of all states together; joining leaves makes it smaller.
    min_frames : float
        Frames that each leaf has, at least.
    min_gain : float
        Least increase of the log-likelihood for which a leaf is divided, and greatest decrease for
        which two leaves are joined.
    """

    context: int = 3
    max_leaves: int = 1000
    min_frames: float = 100.0
    min_gain: float = 100.0


@dataclass(frozen=True)
class TreeSection(TreeOptions):
    """Growing a decision tree in a hybrid training; see :mod:`asr_hlg.train.tree`.

    Attributes
    ----------
    round : int
        The first round with pdfs in context, from 2: the tree is grown from its alignments.
    questions : Path, optional
        Sets of phones that questions ask about, besides single phones.
    """

    round: int = 2
    questions: NamedPath | None = None

    def __post_init__(self) -> None:
        if self.round < 2:
            raise OptionError(f"round is at least 2, not {self.round}: a tree needs alignments")
        if self.context not in (2, 3):
            raise OptionError(f"context is 2 or 3, not {self.context}")
