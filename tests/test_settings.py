"""Tables of TOML files as dataclasses: what fits, and the file, line and key of what does not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import settings
from asr_hlg.errors import GraphError, OptionError
from asr_hlg.settings import RelativeToFile, check_keys, read_toml, section, tomllib


@dataclass(frozen=True)
class Inner:
    """A nested table."""

    size: int = 3

    def __post_init__(self) -> None:
        if self.size < 1:
            raise OptionError("size must be positive", remedy="try 1")


@dataclass(frozen=True)
class Outer:
    """A table with a field of every type."""

    name: str
    rate: float = 0.5
    sizes: tuple[int, ...] = ()
    texts: list[str] = field(default_factory=list)
    kind: Literal["a", "b"] = "a"
    file: Annotated[Path, RelativeToFile()] | None = None
    other: str | None = None
    inner: Inner = Inner()
    maybe: Inner | None = None
    free: dict[str, Any] = field(default_factory=dict)


TOML = """\
# a comment with key = 3
title = "x"

[table]  # the table
name = "n"
rate = 1
sizes = [
    1, 2,
]
inner = {size = 4}
[table.maybe]
size = 2

[[each]]
name = "first"
[[each]]
kind = "b"
name = "second"
"""


def read(text: str, folder: Path, name: str = "table", index: int = 0, **changes: Any) -> Outer:
    path = folder / "file.toml"
    path.write_text(text)
    values = read_toml(path, "file")[name]
    values = {**(values[index] if isinstance(values, list) else values), **changes}
    return section(Outer, values, name, path, GraphError, index)


def test_values_that_fit(tmp_path):
    found = read(TOML, tmp_path, file="sub/x", texts=["t"], other="o", free={"any": [1, {}]})
    assert found == Outer(
        "n", 1.0, (1, 2), ["t"], "a", tmp_path / "sub/x", "o", Inner(4), Inner(2), {"any": [1, {}]}
    )
    assert type(found.rate) is float
    assert section(Outer, {"name": "n", "inner": Inner(7)}, "").inner == Inner(7)
    assert section(Outer, {"name": "n", "file": "x"}, "").file == Path("x")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate = 1", "rat = 1", r"file.toml:6: unknown key \[table\] rat \(did you mean rate\?\)"),
        ("rate = 1", '"rate" = "1"', r"toml:6: \[table\] rate must be a number, not '1'"),
        ("rate = 1", "rate = true", r"toml:6: \[table\] rate must be a number, not True"),
        ("rate = 1", "rate = 1979-05-27", r"datetime.date\(1979, 5, 27\) is not a number"),
        ('name = "n"', "name = 3", r"toml:5: \[table\] name must be a string, not 3"),
        ('name = "n"', "", r"toml:4: \[table\] name is missing"),
        ("1, 2,", "1, 2.5,", r"toml:7: .*sizes must be a list, every item an integer, not \[1,"),
        ("rate = 1", 'kind = "c"', r"toml:6: \[table\] kind must be one of 'a', 'b', not 'c'"),
        ("rate = 1", 'file = ""', r"toml:6: \[table\] file must be a path, not ''"),
        ("rate = 1", "other = 1", r"toml:6: \[table\] other must be a string, not 1"),
        ("{size = 4}", "{size = true}", r"toml:10: \[table.inner\] size must be an integer"),
        ("{size = 4}", "{siz = 4}", r"toml:10: unknown key \[table.inner\] siz .*mean size"),
        ("{size = 4}", "4", r"toml:10: \[table\] inner must be a table, not 4"),
        ("size = 2", "size = 0", r"toml:12: \[table.maybe\] size must be positive \(try 1\)"),
        ("size = 2", "sizes = 2", r"toml:12: unknown key \[table.maybe\] sizes .*mean size"),
        ("rate = 1", "rate = 1 2", r"toml:6: is not a file"),
    ],
)
def test_file_line_and_key_of_a_mistake(tmp_path, old, new, message):
    with pytest.raises((GraphError, OptionError), match=message):
        read(TOML.replace(old, new, 1), tmp_path)


def test_the_line_of_a_table_among_several_of_a_name(tmp_path):
    assert read(TOML, tmp_path, "each", 1).name == "second"
    with pytest.raises(GraphError, match=r"toml:15: \[each\] name must be a string"):
        read(TOML.replace('"first"', "1"), tmp_path, "each", 0)
    with pytest.raises(GraphError, match=r"toml:18: \[each\] name must be a string"):
        read(TOML.replace('"second"', "2"), tmp_path, "each", 1)
    with pytest.raises(GraphError, match=r"toml:16: \[each\] name is missing"):
        read(TOML.replace('name = "second"', ""), tmp_path, "each", 1)


def test_a_value_that_is_not_in_the_file_has_no_line(tmp_path):
    with pytest.raises(GraphError, match=r"file\.toml: \[table\] rate must be a number, not 'x'"):
        read(TOML, tmp_path, rate="x")


DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "values",
    [
        {"name": "\ud800"},
        {"name": "n", "free": {"deep": DEEP}},
        {"name": "n", "rate": 10**5000},
        {"name": "n", "sizes": [10**5000]},
        {"name": b"n"},
        {"name": "n", "sizes": {1, 2}},
        {"name": "n", "inner": [{}]},
        {"name": "n", "inner": None},
        {"name": "n", "maybe": "x"},
        {"name": "n", "maybe": Inner(2.5)},
    ],
)
def test_values_that_no_file_should_hold(values):
    with pytest.raises(OptionError):
        section(Outer, values, "table")


def test_unknown_tables(tmp_path):
    path = tmp_path / "file.toml"
    path.write_text(TOML)
    with pytest.raises(OptionError, match=r"toml:4: unknown key table \(did you mean tables\?\)"):
        check_keys(tomllib.loads(TOML), ["title", "tables", "each"], path)
    with pytest.raises(OptionError, match=r"\[table\] must be a table"):
        section(Outer, 3, "table", path)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": VALUES,
            "rate": VALUES,
            "kind": st.sampled_from(["a", "b", "c", 1]),
            "other": VALUES,
            "size": VALUES,
        },
    )
)
def test_tables_of_numbers_and_strings_are_as_with_pydantic(values):
    def outcome():
        try:
            return repr(section(Outer, values, "table"))  # nan is not equal to itself
        except OptionError as error:
            return str(error)

    result = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_simple_fields", lambda target, values: None)
        assert outcome() == result


def test_pydantic_is_imported_by_need_only():
    code = """if True:
        import sys
        from asr_hlg.search import SearchOptions
        from asr_hlg.settings import section
        options = section(SearchOptions, {"search_beam": 8, "engine": "tokens"}, "search")
        wrong = options != SearchOptions(search_beam=8.0, engine="tokens")
        sys.exit(wrong or "pydantic" in sys.modules)
        """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
