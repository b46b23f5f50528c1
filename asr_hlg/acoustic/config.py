"""Configurations of networks: their base classes, and the Conformer's, which needs no torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.errors import AsrHlgError, ModelError
from asr_hlg.settings import Bounded, Fraction, OddSize, Size

SAMPLE_RATES = range(4000, 48_001)
"""Sample rates in Hz that models may have."""


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
        in_range = self.sample_rate in SAMPLE_RATES
        check(in_range, f"a sample rate of {self.sample_rate} Hz is out of range")


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


@dataclass(frozen=True)
class ConformerConfig(NetworkConfig):
    """Configuration of a :class:`Conformer`; the defaults are the pretrained model's.

    See also :class:`~asr_hlg.acoustic.config.NetworkConfig`.

    Attributes
    ----------
    merge : tuple of int
        For networks that were trained on other units: the probability of output unit ``i`` is
        added to that of token ``merge[i]``, or dropped if that is -1.  Empty: units are tokens.
    window, hop : int
        Samples in a spectral frame, and from one to the next.  Frames of log-probabilities are
        two hops apart.
    num_mels, dim, num_blocks, num_heads, ffn_dim, kernel : int
        Mel filters, width of the network, blocks, attention heads, hidden width of the
        feed-forward modules, and frames that a depthwise convolution combines.
    """

    # The pretrained network needs some silence around speech. With the graph `en`, this margin
    # lowers LJ Speech's WER from 8.0 % to 7.6 %, and the errors on 250 tightly cut digits from 194
    # to 148.
    margin: ClassVar[float] = 0.32
    # Padding costs as much as speech, and attention grows with the square of the length.
    cpu_batch: ClassVar[float] = 10.0

    dropout: Fraction = 0.0
    merge: tuple[int, ...] = ()
    window: Size = 400
    hop: Size = 160
    num_mels: Size = 80
    dim: Size = 144
    num_blocks: Size = 4
    num_heads: Size = 4
    ffn_dim: Size = 576
    kernel: OddSize = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        divides = self.dim % self.num_heads == 0
        check(divides, f"dim {self.dim} is not a multiple of num_heads {self.num_heads}")
        in_range = self.num_mels <= min(512, self.window // 2) and self.hop <= self.window
        check(in_range, "num_mels must be at most 512 and half the window, hop at most the window")
        check(self.window <= self.sample_rate, "window must be at most one second")
        units = Counter(self.merge or range(len(self.tokens)))
        del units[-1]
        columns = set(range(len(self.tokens)))
        check(columns <= set(units), "merge leaves a token without an output unit")
        check(set(units) <= columns, "merge names a column that no token has")
        size = max(units.values()) * len(self.tokens)
        check(size <= 10_000_000, "merge maps too many units to one token")

    @property
    def num_units(self) -> int:
        """Outputs of the network before ``merge``."""
        return len(self.merge) or len(self.tokens)

    @property
    def fbank(self) -> None:
        """None, since the network takes waveforms."""
        return None

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of log-probabilities to the next."""
        return 2 * self.hop / self.sample_rate

    @property
    def members(self) -> list[list[int]]:
        """Units of each token, in rows of one length, which ``num_units`` fills up."""
        groups: list[list[int]] = [[] for _ in self.tokens]
        for unit, token in enumerate(self.merge):
            if token >= 0:
                groups[token].append(unit)
        width = max(map(len, groups))
        return [group + [self.num_units] * (width - len(group)) for group in groups]


def check(condition: bool, message: str) -> None:
    """Raise a ModelError with this message if a condition of a configuration is false."""
    if not condition:
        raise ModelError(message)


def config_key(kind: str) -> str:
    """Name of the configuration's array in a saved network, by which its kind is recognised."""
    return f"{kind}.json"


def checked_priors(priors: npt.NDArray[Any], num_tokens: int) -> npt.NDArray[np.float32]:
    """Priors as float32; ModelError unless there is one probability for each token."""
    valid = priors.shape == (num_tokens,) and np.issubdtype(priors.dtype, np.floating)
    if not valid or not ((priors > 0) & (priors <= 1)).all():
        raise ModelError(f"priors must be {num_tokens} probabilities above 0")
    return priors.astype(np.float32)
