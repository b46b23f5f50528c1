"""Plain values, as TOML and JSON have them, made into dataclasses; misspelt names are corrected."""

from __future__ import annotations

import difflib
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from asr_hlg.errors import AsrHlgError, OptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def read_toml(path: Path, what: str, error: type[AsrHlgError] = OptionError) -> dict[str, Any]:
    """The content of a TOML file; ``what`` names it in messages, a recipe for instance."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"there is no such {what}", path=path) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise error(f"is not a {what}: {reason}", path=path) from None


def check_keys(
    values: Mapping[str, Any],
    known: Iterable[str],
    where: str,
    path: Path | None,
    error: type[AsrHlgError] = OptionError,
) -> None:
    """Refuse a key that is not known, and name the one that was probably meant."""
    known = list(known)
    for key in values:
        if key not in known:
            raise error(f"unknown key {where}{key}", path=path, remedy=nearest(key, known))


def nearest(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name, as the remedy of an error."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def section(
    kind: type[T],
    values: Any,
    name: str,
    path: Path | None = None,
    error: type[AsrHlgError] = OptionError,
) -> T:
    """A table of plain values as a dataclass, whose annotations say what fits.

    Parameters
    ----------
    kind : type
        A dataclass. Its fields may be ``bool``, ``int``, ``float``, ``str``, ``Path`` (relative
        to the file), lists and tuples of these, literals, dataclasses, and any of these or None.
    values : mapping
        What the file has: lists also for tuples, tables for dataclasses.
    name : str
        Of the table, for messages.
    path : Path, optional
        Of the file.
    error : type, optional
        What is raised.
    """
    if not isinstance(values, Mapping):
        raise error(f"[{name}] must be a table", path=path)
    known = [field for field in fields(kind) if field.init]  # type: ignore[arg-type]
    where = f"[{name}] " if name else ""
    check_keys(values, [field.name for field in known], where, path, error)
    annotations = typing.get_type_hints(kind)
    converted: dict[str, Any] = {}
    for key, value in values.items():
        wanted = annotations[key]
        if is_dataclass(wanted) and not isinstance(value, typing.cast(type, wanted)):
            inner = f"{name}.{key}" if name else key
            converted[key] = section(typing.cast(type, wanted), value, inner, path, error)
            continue
        try:
            converted[key] = _convert(value, wanted, path.parent if path else Path())
        except (TypeError, ValueError):
            expected = _describe(wanted)
            raise error(f"{where}{key} must be {expected}, not {value!r}", path=path) from None
    for field in known:
        if field.default is field.default_factory is MISSING and field.name not in converted:
            raise error(f"{where}{field.name} is missing", path=path)
    try:
        return kind(**converted)
    except AsrHlgError as reason:
        # What the dataclass itself refuses, a range for instance, gets its place.
        raise error(f"{where}{reason.message}", path=path, remedy=reason.remedy) from None


def _convert(value: Any, annotation: Any, folder: Path) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError
        return value
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            if choice is not type(None):
                try:
                    return _convert(value, choice, folder)
                except (TypeError, ValueError):
                    continue
        raise TypeError
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise TypeError
        return origin(_convert(item, arguments[0], folder) for item in value)
    if annotation is Path:
        if not isinstance(value, str) or not value:
            raise TypeError
        return folder / value
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not annotation:
        raise TypeError
    return value


def _describe(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(a) for a in arguments if a is not type(None))
    if origin in (list, tuple):
        return f"a list, every item {_describe(arguments[0])}"
    names = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "a string",
        dict: "a table",
    }
    return names.get(annotation, "a path")
