"""Base classes of network configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.errors import AsrHlgError, ModelError
from asr_hlg.settings import Bounded, Fraction, Size


@dataclass(frozen=True)
class NetworkConfig(Bounded):
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

    error_class: ClassVar[type[AsrHlgError]] = ModelError

    tokens: tuple[str, ...]
    sample_rate: Size = 16000
    dropout: Fraction = 0.1

    def __post_init__(self) -> None:
        check(bool(self.tokens), "a network needs at least one token")
        super().__post_init__()


@dataclass(frozen=True)
class FbankConfig(NetworkConfig):
    """Configuration fields of all networks that take filter banks.

    Attributes
    ----------
    fbank : FbankOptions
        How the filter banks are computed from the waveforms.
    subsampling : int
        Filter-bank frames per frame of log-probabilities.
    utterance_mean : bool
        Subtract the mean of an utterance's filter banks, which removes constant effects such as the
        microphone's frequency response and the level. Not for streaming, since the mean needs the
        whole utterance.
    """

    fbank: FbankOptions = FbankOptions()  # noqa: RUF009  (frozen)
    subsampling: Size = 2
    utterance_mean: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        shift = self.fbank.frame_shift
        check(1e-4 <= shift <= 10, f"a frame shift is between 0.0001 s and 10 s, not {shift}")
        short = self.first_kernel_frames < self.subsampling
        check(
            not short,
            "the first layer's kernel is shorter than its stride, which would skip frames",
        )

    @property
    def first_kernel_frames(self) -> int:
        """Number of frames that the first layer combines."""
        raise NotImplementedError

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of log-probabilities to the next."""
        return self.subsampling * self.fbank.frame_shift


def check(condition: bool, message: str) -> None:
    """Raise a ModelError with this message if a condition of a configuration is false."""
    if not condition:
        raise ModelError(message)
