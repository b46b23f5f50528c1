"""Bounds in the annotations of option dataclasses."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from asr_hlg.errors import AsrHlgError, ModelError, OptionError
from asr_hlg.settings import (
    Bounded,
    Count,
    Fraction,
    NonNegative,
    OddSize,
    Positive,
    Share,
    Size,
    section,
)


@dataclass(frozen=True)
class Options(Bounded):
    size: Size = 1
    count: Count = 0
    kernel: OddSize = 1
    scale: Positive = math.inf
    weight: NonNegative = 0.0
    share: Share = 1.0
    rate: Fraction = 0.0
    free: float = math.nan


@dataclass(frozen=True)
class Config(Options):
    error_class: ClassVar[type[AsrHlgError]] = ModelError


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        ("size", 0, "positive"),
        ("count", -1, "0 or more"),
        ("kernel", 2, "positive and odd"),
        ("kernel", -1, "positive and odd"),
        ("scale", 0.0, "above 0"),
        ("weight", -0.5, "0 or more"),
        ("share", 1.5, "from 0 to 1"),
        ("rate", 1.0, "at least 0 and below 1"),
        ("scale", math.nan, "above 0"),
        ("weight", math.nan, "0 or more"),
        ("share", math.nan, "from 0 to 1"),
        ("rate", math.nan, "at least 0 and below 1"),
    ],
)
def test_value_out_of_bounds_is_an_error_with_name_value_and_bounds(name, value, bounds):
    message = f"^{name} must be {bounds}, not {value}$"
    for options, error in ((Options, OptionError), (Config, ModelError)):
        with pytest.raises(error, match=message):
            options(**{name: value})


def test_values_at_their_bounds_are_taken():
    assert Options().size == Config().size == 1


def test_the_error_of_a_file_names_the_table():
    with pytest.raises(ModelError, match=r"^\[network\] kernel must be positive and odd, not 4$"):
        section(Options, {"kernel": 4}, "network", error=ModelError)
