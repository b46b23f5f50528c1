"""Symbol tables, which map the integer labels of arcs to words or tokens.

A table is a ``k2.SymbolTable``; its file has one ``symbol id`` pair a line, as in OpenFst.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from asr_hlg.errors import AsrHlgError
from asr_hlg.files import text_lines

if TYPE_CHECKING:
    import k2

EPS = "<eps>"
BLANK = "<blk>"

_DISAMBIG = re.compile(r"#\d+")
_ID = re.compile(r"[0-9]{1,10}")


def table(symbols: Iterable[str]) -> k2.SymbolTable:
    """Make a symbol table that numbers symbols from 0 in the order given.

    Example
    -------
    >>> words = table(["<eps>", "and", "cat"])
    >>> words["cat"], words[1]
    (2, 'and')
    """
    import k2  # imported here, since the acoustic room uses this module without k2

    id2sym = dict(enumerate(symbols))
    sym2id = {symbol: index for index, symbol in id2sym.items()}
    if len(sym2id) != len(id2sym):
        seen: set[str] = set()
        duplicate = next(s for s in id2sym.values() if s in seen or seen.add(s))  # type: ignore[func-returns-value]
        raise AsrHlgError(f"symbol {duplicate!r} is in the table twice")
    return k2.SymbolTable(_id2sym=id2sym, _sym2id=sym2id, eps=id2sym[0])


def read(path: str | Path) -> k2.SymbolTable:
    """Read a ``words.txt`` or ``tokens.txt``; its ids must be 0, 1, 2, … in any order of lines."""
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
    try:
        return table(id2sym[index] for index in range(len(id2sym)))
    except AsrHlgError as error:
        raise AsrHlgError(error.message, path=path) from None


def write(symbols: k2.SymbolTable, path: str | Path) -> None:
    """Write a symbol table, one ``symbol id`` pair a line, in the order of ids."""
    lines = (f"{symbols[index]} {index}\n" for index in range(len(symbols)))
    Path(path).write_text("".join(lines), encoding="utf-8")


def names(symbols: k2.SymbolTable) -> list[str]:
    """List the symbols in the order of their ids, for look-up by position."""
    return [symbols[index] for index in range(len(symbols))]


def is_disambig(symbol: str) -> bool:
    """Whether a symbol is a disambiguation symbol, ``#0``, ``#1``, and so on."""
    return _DISAMBIG.fullmatch(symbol) is not None


def first_disambig(symbols: k2.SymbolTable) -> int:
    """Id of ``#0``, or the length of a table without disambiguation symbols."""
    return symbols["#0"] if "#0" in symbols else len(symbols)
