"""Configurations of networks: what many share, and how they refuse what does not fit."""

from __future__ import annotations

from dataclasses import dataclass

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.errors import ModelError


@dataclass(frozen=True)
class FbankConfig:
    """The fields that all networks of filter banks share.

    Attributes
    ----------
    tokens : tuple of str
        The names of the columns that the network returns.
    sample_rate : int
        Hz, of the sound that the filter banks are computed from.
    fbank : FbankOptions
        How they are computed.
    subsampling : int
        Frames of filter banks to one frame of log-probabilities.
    dropout : float
        Probability of dropping an activation in training.
    utterance_mean : bool
        Subtract every utterance's own mean from its filter banks, which takes away what is the
        same in all its frames: microphone, loudness.  Not for streaming: it needs the whole
        utterance.
    """

    tokens: tuple[str, ...]
    sample_rate: int = 16000
    fbank: FbankOptions = FbankOptions()  # noqa: RUF009  (frozen)
    subsampling: int = 2
    dropout: float = 0.1
    utterance_mean: bool = False

    def __post_init__(self):
        check(bool(self.tokens), "a network needs at least one token")
        check(self.sample_rate > 0, f"a sample rate is positive, not {self.sample_rate}")
        shift = self.fbank.frame_shift
        check(1e-4 <= shift <= 10, f"a frame shift is between 0.0001 s and 10 s, not {shift}")
        check(self.subsampling > 0, f"subsampling is at least 1, not {self.subsampling}")
        check(0 <= self.dropout < 1, f"dropout is a probability below 1, not {self.dropout}")

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of log-probabilities to the next."""
        return self.subsampling * self.fbank.frame_shift


def check(holds: bool, message: str) -> None:
    """Refuse a configuration for which something does not hold."""
    if not holds:
        raise ModelError(message)
