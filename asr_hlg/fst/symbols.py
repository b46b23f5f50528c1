"""Symbol tables, which map the integer labels of arcs to words or tokens.

A table's file has one ``symbol id`` pair a line, as in OpenFst.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from asr_hlg.errors import AsrHlgError
from asr_hlg.files import text_lines

if TYPE_CHECKING:
    import k2

EPS = "<eps>"
BLANK = "<blk>"
UNKNOWN = "[unk]"
"""Word of a grammar that stands for any other speech."""

_DISAMBIG = re.compile(r"#\d+")
_ID = re.compile(r"[0-9]{1,10}")


class SymbolTable:
    """Symbols by id, and ids by symbol, with the look-ups of ``k2.SymbolTable``.

    Functions that take a table also take one of k2. The symbols are one text of bytes with the
    places where they end, a tenth of the memory of as many strings.

    >>> words = SymbolTable(["<eps>", "and", "cat"])
    >>> words["cat"], words[1], "hat" in words, len(words)
    (2, 'and', False, 3)

    Parameters
    ----------
    symbols : iterable of str
        In the order of their ids, from 0; none of them twice.
    """

    def __init__(self, symbols: Iterable[str]):
        text, ends, hashes = bytearray(), array("q", [0]), array("q")
        for symbol in symbols:
            text += symbol.encode("utf-8", "surrogatepass")
            ends.append(len(text))
            hashes.append(hash(symbol))
        self._text, self._ends = bytes(text), ends
        ordered = np.sort(np.array(hashes))
        if (ordered[1:] == ordered[:-1]).any():
            seen: set[str] = set()
            for symbol in self:
                if symbol in seen:
                    raise AsrHlgError(f"symbol {symbol!r} is in the table twice")
                seen.add(symbol)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self)}

    @property
    def symbols(self) -> list[str]:
        """All symbols in the order of their ids."""
        return list(self)

    @property
    def ids(self) -> list[int]:
        """All ids in order."""
        return list(range(len(self)))

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: str) -> int: ...

    def __getitem__(self, key: int | str) -> int | str:
        if isinstance(key, str):
            return self._ids[key]
        if not 0 <= key < len(self):
            raise KeyError(key)
        return self._text[self._ends[key] : self._ends[key + 1]].decode("utf-8", "surrogatepass")

    get = __getitem__  # which k2 calls

    def __contains__(self, key: int | str) -> bool:
        return key in self._ids if isinstance(key, str) else 0 <= key < len(self)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SymbolTable):
            return False
        return self._ends == other._ends and self._text == other._text

    __hash__ = None  # type: ignore[assignment]

    def to_k2(self) -> k2.SymbolTable:
        """The same table for k2."""
        import k2

        ids = dict(self._ids)
        return k2.SymbolTable(
            _id2sym={index: symbol for symbol, index in ids.items()},
            _sym2id=ids,
            eps=self[0],
        )


def table(symbols: Iterable[str]) -> SymbolTable:
    """Make a symbol table that numbers symbols from 0 in the order given.

    Example
    -------
    >>> words = table(["<eps>", "and", "cat"])
    >>> words["cat"], words[1]
    (2, 'and')
    """
    return SymbolTable(symbols)


def read(path: str | Path) -> SymbolTable:
    """Read a ``words.txt`` or ``tokens.txt``; its ids must be 0, 1, 2, … in any order of lines."""
    try:
        try:
            return SymbolTable(_names_in_order(Path(path)))
        except _OtherOrder:
            return SymbolTable(_names_in_any_order(path))
    except AsrHlgError as error:
        raise AsrHlgError(error.message, path=path, line=error.line) from None


class _OtherOrder(Exception):
    """A file is not as `write` makes it."""


def _names_in_order(path: Path) -> Iterator[str]:
    """Symbols of a file that is as `write` makes it, without a list of them."""
    index = 0
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                name = line.removesuffix(f" {index}\n")
                if name == line or name.split() != [name]:
                    raise _OtherOrder
                yield name
                index += 1
    except (OSError, UnicodeDecodeError):
        raise _OtherOrder from None
    if index == 0:
        raise _OtherOrder


def _names_in_any_order(path: str | Path) -> list[str]:
    """Symbols of a file, whose lines are checked one by one."""
    id2sym: dict[int, str] = {}
    for number, line in text_lines(path):
        fields = line.split()
        if len(fields) != 2 or not _ID.fullmatch(fields[1]):
            raise AsrHlgError("expected 'symbol id'", path=path, line=number)
        index = int(fields[1])
        if index in id2sym:
            raise AsrHlgError(f"id {index} is given twice", path=path, line=number)
        id2sym[index] = fields[0]
    if not id2sym or max(id2sym) != len(id2sym) - 1:
        raise AsrHlgError("ids must run from 0 without a gap", path=path)
    return [id2sym[index] for index in range(len(id2sym))]


def write(symbols: SymbolTable, path: str | Path) -> None:
    """Write a symbol table, one ``symbol id`` pair a line, in the order of ids."""
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{symbols[index]} {index}\n" for index in range(len(symbols)))


def names(symbols: SymbolTable) -> list[str]:
    """List the symbols in the order of their ids, for look-up by position."""
    if isinstance(symbols, SymbolTable):
        return symbols.symbols
    return [symbols[index] for index in range(len(symbols))]  # a table of k2


def pdf_names(num_pdfs: int) -> tuple[str, ...]:
    """Names of the posterior columns of a Kaldi model: ``pdf_0``, ``pdf_1``, and so on."""
    return tuple(f"pdf_{pdf}" for pdf in range(num_pdfs))


def is_disambig(symbol: str) -> bool:
    """Whether a symbol is a disambiguation symbol, ``#0``, ``#1``, and so on."""
    return _DISAMBIG.fullmatch(symbol) is not None


def first_disambig(symbols: SymbolTable) -> int:
    """Id of ``#0``, or the length of a table without disambiguation symbols."""
    return symbols["#0"] if "#0" in symbols else len(symbols)
