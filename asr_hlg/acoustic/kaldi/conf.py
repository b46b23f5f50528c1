"""Kaldi's configuration files: options ``--name=value``, and comments after ``#``.

Files ``*.conf`` have an option a line, files ``*_opts`` all on one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from asr_hlg.errors import ModelError
from asr_hlg.files import text_lines

T = TypeVar("T", bound=Any)

_NEXT_OPTION = re.compile(r"\s+(?=--)")
_BOOLEANS = {"true": True, "t": True, "1": True, "": True, "false": False, "f": False, "0": False}


def read_conf(path: Path) -> dict[str, tuple[str, int]]:
    """Value and line number of every option; a name without value has an empty one.

    Raises
    ------
    ModelError
        If the file cannot be read, or a line is not an option.
    """
    options = {}
    for number, line in text_lines(path, ModelError):
        text = line.partition("#")[0].strip()
        for option in _NEXT_OPTION.split(text) if text else ():
            name, _, value = option.removeprefix("--").partition("=")
            if not option.startswith("--") or not name:
                raise ModelError(
                    f"expected --name=value, found {option!r}", path=path, line=number,
                    remedy="correct the line, or put # before it",
                )  # fmt: skip
            options[name.strip()] = value.strip(), number
    return options


def options_from(
    defaults: T, path: Path, ignored: tuple[str, ...] = (), names: Mapping[str, str] | None = None
) -> T:
    """Dataclass with the values of a configuration file.

    Parameters
    ----------
    defaults : dataclass
        Gives the types too; an option ``--a-b`` is its field ``a_b``.
    path : Path
        May be absent: then the defaults are returned.
    ignored : tuple of str
        Options without meaning here.
    names : mapping, optional
        Fields of options whose names differ.

    Raises
    ------
    ModelError
        If an option is unknown or has a value of another type.
    """
    if not path.is_file():
        return defaults
    known = {field.name for field in fields(defaults)}
    changes: dict[str, Any] = {}
    for name, (value, line) in read_conf(path).items():
        if name in ignored:
            continue
        field = (names or {}).get(name, name.replace("-", "_"))
        if field not in known:
            raise ModelError(
                f"the option --{name} is unknown", path=path, line=line,
                remedy="remove it if the model does not need it",
            )  # fmt: skip
        try:
            changes[field] = _parsed(value, getattr(defaults, field))
        except (ValueError, KeyError):
            raise ModelError(
                f"--{name} has the wrong value {value!r}", path=path, line=line
            ) from None
    return replace(defaults, **changes)


def _parsed(value: str, default: Any) -> Any:
    """Value of the type of a default."""
    if isinstance(default, bool):
        return _BOOLEANS[value.lower()]
    if isinstance(default, int | float | str):
        return type(default)(value)
    return tuple(int(part) for part in value.replace(",", ":").split(":") if part)


@dataclass(frozen=True)
class SpliceOptions:
    """Frames before and after each one that are put beside it; ``splice.conf``."""

    left_context: int = 4
    right_context: int = 4


@dataclass(frozen=True)
class CmvnOptions:
    """Online normalisation of the mean; ``online_cmvn.conf``.

    Attributes
    ----------
    cmn_window : int
        Frames before the present one that are averaged.
    speaker_frames : int
        Unused: nothing is known about the speaker.
    global_frames : int
        Weight of the global mean, in frames, while there are fewer than ``cmn_window``.
    normalize_mean, normalize_variance : bool
    cmn_min_energy : float
        Frames whose first cepstrum is not above it do not change the mean; Vosk's default.
    """

    cmn_window: int = 600
    speaker_frames: int = 600
    global_frames: int = 200
    normalize_mean: bool = True
    normalize_variance: bool = False
    cmn_min_energy: float = 50.0


@dataclass(frozen=True)
class DecodingOptions:
    """Options of the search, ``model.conf``.

    Attributes
    ----------
    beam, lattice_beam : float
    max_active, min_active : int
    acoustic_scale : float
    frame_subsampling_factor : int
    frames_per_chunk : int
        Frames of input that the network computes at a time, rounded up to the factor above.
    extra_left_context, extra_right_context : int
        Frames beyond its context that a network gets which is computed in windows.
    silence_phones : tuple of int
        Phones whose frames count little in the i-vector.
    """

    beam: float = 16.0
    lattice_beam: float = 10.0
    max_active: int = 7000
    min_active: int = 200
    acoustic_scale: float = 1.0
    frame_subsampling_factor: int = 3
    frames_per_chunk: int = 24
    extra_left_context: int = 40
    extra_right_context: int = 40
    silence_phones: tuple[int, ...] = ()


_NOT_OF_DECODING = ("prune-interval", "beam-delta", "hash-ratio", "prune-scale", "print-args",
                    "extra-left-context-initial", "determinize-lattice", "debug-computation",
                    "determinize-max-delay", "determinize-min-chunk-size", "phone-determinize",
                    "word-determinize", "minimize", "max-mem", "delta")  # fmt: skip


_RANGES = (
    ("frame-subsampling-factor", 1, 100),
    ("frames-per-chunk", 1, 10_000),
    ("extra-left-context", 0, 1_000),
    ("extra-right-context", 0, 1_000),
)


def read_decoding_options(path: Path) -> DecodingOptions:
    """Options in ``conf/model.conf``; those of Vosk where there is no such file."""
    if not path.is_file():
        silence = tuple(range(1, 11))
        return DecodingOptions(13.0, 6.0, 7000, 200, silence_phones=silence)
    ignored = [name for name in read_conf(path) if name.startswith("endpoint.rule")]
    options = options_from(
        DecodingOptions(),
        path,
        (*_NOT_OF_DECODING, *ignored),
        {"endpoint.silence-phones": "silence_phones"},
    )
    for name, least, most in _RANGES:
        if not least <= getattr(options, name.replace("-", "_")) <= most:
            raise ModelError(
                f"--{name} is not between {least} and {most:,}",
                path=path,
                remedy="correct the option",
            )
    return options
