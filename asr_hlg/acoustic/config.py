"""Configurations of networks: frozen dataclasses, made from what a TOML or JSON file says."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asr_hlg.errors import ModelError
from asr_hlg.features import FbankOptions


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
        check(self.subsampling > 0, f"subsampling is at least 1, not {self.subsampling}")
        check(0 <= self.dropout < 1, f"dropout is a probability below 1, not {self.dropout}")

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of log-probabilities to the next."""
        return self.subsampling * self.fbank.frame_shift


def configure(config_class: type, fields: Mapping[str, Any]) -> Any:
    """Make a configuration from plain values, where lists stand for tuples and tables for options.

    Raises
    ------
    ModelError
        If a field is unknown (the error names the nearest one), lacking or of another type, or
        if the fields contradict each other.
    """
    types_of = typing.get_type_hints(config_class)
    for name in fields:
        if name not in types_of:
            raise ModelError(f"unknown field {name!r}", remedy=nearest(name, types_of))
    values = {name: _value(name, value, types_of[name]) for name, value in fields.items()}
    for field in dataclasses.fields(config_class):
        if field.default is dataclasses.MISSING and field.name not in values:
            raise ModelError(f"the field {field.name!r} is missing")
    return config_class(**values)


def nearest(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name, as the remedy of an error."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def check(holds: bool, message: str) -> None:
    """Refuse a configuration for which something does not hold."""
    if not holds:
        raise ModelError(message)


def _value(name: str, value: Any, kind: Any) -> Any:
    """A plain value as a field's own type."""
    if dataclasses.is_dataclass(kind):
        if isinstance(value, Mapping):
            return configure(typing.cast(type, kind), value)
        fits = isinstance(value, typing.cast(type, kind))
    elif typing.get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_value(name, item, typing.get_args(kind)[0]) for item in value)
        fits = False
    elif kind is float and type(value) is int:
        return float(value)
    else:
        fits = type(value) is kind
    if not fits:
        expected = kind if isinstance(kind, types.GenericAlias) else kind.__name__
        raise ModelError(f"the field {name!r} is {value!r}, expected {expected}")
    return value
