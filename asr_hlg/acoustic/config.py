"""Base classes of network configurations, and the bounds of their fields.

A field's annotation states which values it takes, and every configuration checks its fields when
it is made:

>>> @dataclass(frozen=True)
... class Config(NetworkConfig):
...     kernel: OddSize = 3
>>> Config(tokens=("a",), kernel=4)
Traceback (most recent call last):
asr_hlg.errors.ModelError: kernel must be positive and odd, not 4
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.errors import ModelError


@dataclass(frozen=True)
class Bounds:
    """Values that a numeric field takes: a test for them, and the words for an error message."""

    low: float
    high: float
    description: str
    odd: bool = False

    def check(self, name: str, value: float) -> None:
        """Raise a ModelError for a value outside ``[low, high)``, or for a wrongly even one."""
        if not self.low <= value < self.high or (self.odd and value % 2 == 0):
            raise ModelError(f"{name} must be {self.description}, not {value}")


Size = Annotated[int, Bounds(1, float("inf"), "positive")]
Count = Annotated[int, Bounds(0, float("inf"), "0 or more")]
OddSize = Annotated[int, Bounds(1, float("inf"), "positive and odd", odd=True)]
Dropout = Annotated[float, Bounds(0, 1, "a probability below 1")]


@dataclass(frozen=True)
class NetworkConfig:
    """Configuration fields of all networks.

    Attributes
    ----------
    tokens : tuple of str
        Names of the columns that the network returns; at least one.
    sample_rate : int
        Hz, of the waveforms.
    dropout : float
        Probability of dropping an activation in training.
    """

    tokens: tuple[str, ...]
    sample_rate: Size = 16000
    dropout: Dropout = 0.1

    def __post_init__(self) -> None:
        check(bool(self.tokens), "a network needs at least one token")
        for name, annotation in typing.get_type_hints(type(self), include_extras=True).items():
            for bounds in getattr(annotation, "__metadata__", ()):
                bounds.check(name, getattr(self, name))


@dataclass(frozen=True)
class FbankConfig(NetworkConfig):
    """Configuration fields of all networks that take filter banks.

    Attributes
    ----------
    fbank : FbankOptions
        How the filter banks are computed from the waveforms.
    subsampling : int
        Frames of filter banks to one frame of log-probabilities.
    utterance_mean : bool
        Subtract from the filter banks of each utterance their mean, which removes what is constant
        in it: the microphone's frequency response, the level.  Not for streaming, since the mean
        needs the whole utterance.
    """

    fbank: FbankOptions = FbankOptions()  # noqa: RUF009  (frozen)
    subsampling: Size = 2
    utterance_mean: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        shift = self.fbank.frame_shift
        check(1e-4 <= shift <= 10, f"a frame shift is between 0.0001 s and 10 s, not {shift}")

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of log-probabilities to the next."""
        return self.subsampling * self.fbank.frame_shift

    def check_first_kernel(self, frames: int) -> None:
        """Raise a ModelError if the first layer's stride is longer than its kernel."""
        check(
            frames >= self.subsampling, "subsampling would skip frames: the first kernel is short"
        )


def check(condition: bool, message: str) -> None:
    """Raise a ModelError with this message if a condition of a configuration is false."""
    if not condition:
        raise ModelError(message)
