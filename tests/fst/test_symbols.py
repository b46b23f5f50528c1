"""Symbol tables keep names by id, and read files in any order of lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import AsrHlgError
from asr_hlg.fst import symbols
from asr_hlg.fst.symbols import SymbolTable

NAMES = st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=12)


@given(NAMES)
def test_a_table_is_its_list_of_names(names):
    table = SymbolTable(iter(names))
    assert list(table) == table.symbols == names
    assert len(table) == len(names)
    assert table == SymbolTable(names)
    assert table != SymbolTable([*names, "another name"])
    for index, name in enumerate(names):
        assert table[index] == name
        assert table[name] == index
        assert name in table
    assert len(names) not in table
    for missing in (len(names), -1, "another name"):
        with pytest.raises(KeyError):
            table[missing]
    if names:
        with pytest.raises(AsrHlgError, match="twice"):
            SymbolTable([*names, names[0]])


def test_tables_with_other_names_of_the_same_lengths_or_text_differ():
    assert SymbolTable(["ab", "c"]) != SymbolTable(["ab", "d"])
    assert SymbolTable(["ab", "c"]) != SymbolTable(["a", "bc"])


@given(st.lists(st.text("aß語 \u3000#0", min_size=1, max_size=3), unique=True, min_size=1))
def test_files_are_read_as_they_are_written(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("table") / "words.txt"
    names = ["".join(name.split()) for name in names]
    names = list(dict.fromkeys(name for name in names if name)) or ["a"]
    symbols.write(SymbolTable(names), path)
    assert path.read_text("utf-8").splitlines() == [f"{n} {i}" for i, n in enumerate(names)]
    assert symbols.read(path).symbols == names
    path.write_text("".join(f"{n}\t{i}\r\n" for i, n in reversed(list(enumerate(names)))), "utf-8")
    assert symbols.read(path).symbols == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "without a gap"),
        ("a 0\nb 2\n", "without a gap"),
        ("a 0\na 1\n", "'a' is in the table twice"),
        ("a 0\nb 0\n", "id 0 is given twice"),
        ("a 0\nb c 1\n", "expected 'symbol id'"),
        ("a 0\nb\u3000c 1\n", "expected 'symbol id'"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, text, message):
    path = tmp_path / "words.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(AsrHlgError, match=message) as raised:
        symbols.read(path)
    assert raised.value.path == str(path)
