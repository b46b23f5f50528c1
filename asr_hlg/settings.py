"""Tables of TOML and JSON files, checked against dataclasses; errors name file, line and key.

The annotation of a numeric field can state its bounds, which are checked when the object is made:

>>> @dataclass(frozen=True)
... class Options(Bounded):
...     epochs: Size = 20
>>> Options(epochs=0)
Traceback (most recent call last):
asr_hlg.errors.OptionError: epochs must be positive, not 0
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import sys
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from asr_hlg.errors import AsrHlgError, OptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    # Importing pydantic takes 0.1 s, which commands that read no table save.
    from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
    from pydantic_core import CoreSchema

__all__ = [
    "Bounded",
    "Bounds",
    "Count",
    "Fraction",
    "NonNegative",
    "OddSize",
    "Positive",
    "RelativeToFile",
    "Share",
    "Size",
    "check_keys",
    "nearest",
    "read_toml",
    "section",
    "tomllib",
]

T = TypeVar("T")

_TYPE_NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a path",
}
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"\s*([^\s=#\[\]{}][^=#\[\]{}]*?)\s*=")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Annotation of a numeric field: a test of its bounds, and their description for messages."""

    description: str
    contain: Callable[[float], bool]


Size = Annotated[int, Bounds("positive", lambda value: 1 <= value < math.inf)]
Count = Annotated[int, Bounds("0 or more", lambda value: 0 <= value < math.inf)]
OddSize = Annotated[int, Bounds("positive and odd", lambda value: value >= 1 and value % 2 == 1)]
Positive = Annotated[float, Bounds("above 0", lambda value: value > 0)]
NonNegative = Annotated[float, Bounds("0 or more", lambda value: value >= 0)]
Share = Annotated[float, Bounds("from 0 to 1", lambda value: 0 <= value <= 1)]
Fraction = Annotated[float, Bounds("at least 0 and below 1", lambda value: 0 <= value < 1)]


class Bounded:
    """Base class of dataclasses whose fields are checked against the bounds in their annotations.

    Attributes
    ----------
    error_class : type
        Class of the error for a value out of its bounds.
    """

    error_class: ClassVar[type[AsrHlgError]] = OptionError

    def __post_init__(self) -> None:
        for name, bounds in _bounds_of(type(self)):
            value = getattr(self, name)
            if not bounds.contain(value):
                raise self.error_class(f"{name} must be {bounds.description}, not {value}")


def _bounds_of(target: type) -> list[tuple[str, Bounds]]:
    """Names and bounds of the fields whose annotations have bounds."""
    return [
        (name, bounds)
        for name, annotation in typing.get_type_hints(target, include_extras=True).items()
        for bounds in getattr(annotation, "__metadata__", ())
        if isinstance(bounds, Bounds)
    ]


class RelativeToFile:
    """Annotation of a path that is relative to the file that names it.

    A field of type ``Annotated[Path, RelativeToFile()]`` takes a string that is not empty.
    """

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Schema of the string and of its conversion, for pydantic."""
        from pydantic_core import core_schema

        return core_schema.with_info_after_validator_function(
            lambda name, info: info.context / name, core_schema.str_schema(min_length=1)
        )


def read_toml(path: Path, what: str, error: type[AsrHlgError] = OptionError) -> dict[str, Any]:
    """Read a TOML file; ``what`` names its content in messages, "recipe" for instance."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"there is no such {what}", path=path) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        position = re.search(r"\(at line (\d+)", str(reason))
        line = int(position[1]) if position else None
        raise error(f"is not a {what}: {reason}", path=path, line=line) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Remedy for an unknown name: the known name nearest to it, else all known names."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def check_keys(
    values: Mapping[str, Any],
    known: Iterable[str],
    path: Path | None,
    error: type[AsrHlgError] = OptionError,
) -> None:
    """Refuse an unknown key at the top of a file, and suggest the known key nearest to it."""
    known = list(known)
    for key in values:
        if key not in known:
            raise _Table(path, error).unknown_key(key, values[key], known)


def section(
    target: type[T],
    values: Any,
    name: str,
    path: Path | None = None,
    error: type[AsrHlgError] = OptionError,
    index: int = 0,
) -> T:
    """Convert a table of plain values to a dataclass, checked against its annotations.

    No value is converted to another type, except integers to floats, lists to tuples, tables to
    dataclasses, and strings to paths that are annotated with `RelativeToFile`.

    Parameters
    ----------
    target : type
        A dataclass.
    values : mapping
        Numbers, strings, lists and tables, as TOML and JSON files hold them.
    name : str
        Name of the table, for messages.
    path : Path, optional
        File of the table, for messages and relative paths.
    error : type, optional
        Class of the error that is raised.
    index : int
        Position among the file's tables of the same name, ``[[name]]``.
    """
    table = _Table(path, error, tuple(name.split(".")) if name else (), index)
    if not isinstance(values, Mapping):
        raise table.failure(f"[{name}] must be a table", [], values)
    with suppress(AsrHlgError, OverflowError):  # errors are reported below
        if (simple := _simple_fields(target, values)) is not None:
            return target(**simple)
    from pydantic import ValidationError

    try:
        content = json.dumps({name: values}, default=_plain)
        adapter: TypeAdapter[dict[str, T]] = _adapter(typing.cast("Any", target))
        return adapter.validate_json(content, context=path.parent if path else Path())[name]
    except ValidationError as reasons:
        raise _failure(table, target, values, reasons) from None
    except (TypeError, ValueError, RecursionError) as reason:  # of json.dumps
        raise table.failure(f"{table}{reason}", [], values) from None
    except AsrHlgError as reason:
        # The dataclass refused a value: it is out of its range, or contradicts another.
        for key, inner in _tables_of(target).items():
            if isinstance(values.get(key), Mapping):
                section(inner, values[key], f"{name}.{key}" if name else key, path, error, index)
        named = [key for key in values if re.search(rf"\b{re.escape(key)}\b", reason.message)]
        keys, value = (named[:1], values[named[0]]) if named else ([], values)
        raise table.failure(f"{table}{reason.message}", keys, value, reason.remedy) from None


def _simple_fields(target: type, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Checked values, if all fields of a table are numbers and strings; else None.

    The result is that of pydantic, whose import takes longer than a search.
    """
    hints = typing.get_type_hints(target)
    fields = dataclasses.fields(target)
    optional = {name for name in hints if hasattr(target, name)}  # a default is an attribute
    names = {field.name for field in fields}
    if not names - optional <= values.keys() <= names:
        return None
    if not all(_is_simple(value, hints[name]) for name, value in values.items()):
        return None
    return {name: float(value) if hints[name] is float else value for name, value in values.items()}


def _is_simple(value: Any, annotation: Any) -> bool:
    """Whether a field certainly takes a value, which is a number or an ASCII string."""
    if isinstance(value, str) and not value.isascii():
        return False
    if _is_literal(annotation):
        return isinstance(value, str) and value in typing.get_args(annotation)
    if annotation is float:
        return type(value) in (int, float)
    return annotation in (bool, int, str) and type(value) is annotation


def _is_literal(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Literal


@functools.cache
def _adapter(target: Any) -> TypeAdapter[Any]:
    """Validator of a named table. Its configuration holds for nested dataclasses, too."""
    from pydantic import ConfigDict, TypeAdapter

    # pydantic refuses a configuration for a dataclass itself, hence the dict around it.
    return TypeAdapter(dict[str, target], config=ConfigDict(strict=True, extra="forbid"))


def _plain(value: object) -> Any:
    """JSON form of dataclasses and paths, which callers in Python may pass."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} is not a number, a string, a list or a table")


@dataclasses.dataclass(frozen=True)
class _Table:
    """Place of a table in a file, for errors."""

    path: Path | None
    error: type[AsrHlgError]
    keys: tuple[str, ...] = ()
    index: int = 0

    def __str__(self) -> str:
        return f"[{'.'.join(self.keys)}] " if self.keys else ""

    def failure(
        self, message: str, keys: Sequence[str], value: Any, remedy: str | None = None
    ) -> AsrHlgError:
        """Error with the line of a key of the table, or of its header where there are no keys."""
        line = _line(self.path, [*self.keys, *keys], value, self.index)
        return self.error(message, path=self.path, line=line, remedy=remedy)

    def unknown_key(self, key: str, value: Any, known: Iterable[str]) -> AsrHlgError:
        """Error that names a key, and the known key that was probably meant."""
        return self.failure(f"unknown key {self}{key}", [key], value, nearest(key, known))


def _failure(
    table: _Table, target: type, values: Mapping[str, Any], reasons: ValidationError
) -> AsrHlgError:
    """Error for the first of pydantic's reasons; unknown keys are reported before missing ones."""
    order = {"unexpected_keyword_argument": 0, "missing": 2}
    reason = min(reasons.errors(), key=lambda each: order.get(each["type"], 1))
    if not reason["loc"]:  # not representable in JSON, such as half a surrogate pair
        return table.failure(f"{table}{reason['msg']}", [], values)
    key, *inner = map(str, reason["loc"][1:])
    while inner and key in (tables := _tables_of(target)):
        table = dataclasses.replace(table, keys=(*table.keys, key))
        target, inner_values = tables[key], values[key]
        values = inner_values if isinstance(inner_values, Mapping) else _plain(inner_values)
        key, *inner = inner
    if reason["type"] == "unexpected_keyword_argument":
        known = [field.name for field in dataclasses.fields(target)]
        return table.unknown_key(key, values[key], known)
    if reason["type"] == "missing":
        return table.failure(f"{table}{key} is missing", [], values)
    expected = _describe(typing.get_type_hints(target)[key])
    message = f"{table}{key} must be {expected}, not {values[key]!r}"
    return table.failure(message, [key], values[key])


def _tables_of(target: type) -> dict[str, type]:
    """Fields of a dataclass that are dataclasses themselves, or may be, with their types."""
    return {
        name: choice
        for name, annotation in typing.get_type_hints(target).items()
        for choice in (annotation, *typing.get_args(annotation))
        if isinstance(choice, type) and dataclasses.is_dataclass(choice)
    }


def _describe(annotation: Any) -> str:
    """Description of the values that a field takes, for messages."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if _is_literal(annotation):
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(a) for a in arguments if a is not type(None))
    if origin in (list, tuple):
        return f"a list, every item {_describe(arguments[0])}"
    return _TYPE_NAMES.get(annotation, "a table")


def _line(path: Path | None, keys: Sequence[str], value: Any, index: int = 0) -> int | None:
    """Line of a TOML file, counted from 1, at which a key is set or a table begins.

    Returns None where the file has another value: the command line may replace values.
    """
    if path is None or path.suffix != ".toml":
        return None
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = tomllib.loads(text)
        for key in keys:
            content = content[key]
            if isinstance(content, list) and isinstance(content[0], dict):
                content = content[index]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if content != value and not isinstance(value, Mapping):
        return None
    return _line_of_key(text, list(keys), index)


def _line_of_key(text: str, keys: list[str], index: int) -> int | None:
    """Line of a key, or of the innermost table around it that has a line of its own."""
    table: list[str] = []
    headers: Counter[str] = Counter()
    best, best_length = None, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            key_path = table = _parts(header[1])
            headers[header[1]] += 1
        elif key := _KEY.match(line):
            key_path = table + _parts(key[1])
        else:
            continue
        repeated = table and headers[table[0]] not in (0, index + 1)
        if key_path == keys[: len(key_path)] and len(key_path) > best_length and not repeated:
            best, best_length = number, len(key_path)
    return best


def _parts(name: str) -> list[str]:
    """Parts of a dotted TOML name, without quotes."""
    return [part.strip(" \t\"'") for part in name.split(".")]
