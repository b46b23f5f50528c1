"""Entries of lists of recordings: lines, paths, ids, and errors in place of recordings."""

from __future__ import annotations

import codecs
import gzip
import os
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from asr_hlg.audio.recording import Recording
from asr_hlg.errors import AudioError


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers, without blanks at both ends.

    The encoding is UTF-8, where names of files may contain any other bytes, or UTF-16 with a byte
    order mark, which Windows writes. Lines may end in CR LF.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe could wait for ever
        raise ValueError("not a regular file")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        encoding = encoding_of(stream.read(3))
    with opener(path, "rt", encoding=encoding, errors="surrogateescape") as text:
        for number, line in enumerate(text, start=1):
            if line := line.strip():
                yield number, line


def encoding_of(head: bytes) -> str:
    """Encoding of a text by its byte order mark: UTF-16, else UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def with_errors(reader: Callable[[Path], Iterator[Recording]], path: Path) -> Iterator[Recording]:
    """Recordings that a reader yields, and one with its error if the list cannot be read."""
    try:
        yield from reader(path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        yield failed(path, reason(error))


def resolved(entry: str, listed_in: Path) -> Path:
    """Path of an entry, relative to the working folder, or else to its list's folder."""
    beside = listed_in.parent / entry
    return beside if not os.path.exists(entry) and os.path.exists(beside) else Path(entry)


def failed(
    path: Path, reason: str, line: int | None = None, name: str = "", remedy: str | None = None
) -> Recording:
    """Recording whose loading raises this error."""
    name = name or (path.stem if line is None else f"{path.stem}:{line}")
    return Recording(
        clean_id(name), path, error=AudioError(reason, path=path, line=line, remedy=remedy)
    )


def clean_id(name: str) -> str:
    """Valid UTF-8 id of a recording: spaces and control characters become underscores."""
    name = "_".join(name.encode("utf-8", errors="replace").decode("utf-8").split())
    return "".join("_" if unicodedata.category(c) == "Cc" else c for c in name) or "_"


def reason(error: Exception) -> str:
    """First line of an error's text, without the name of its class."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    if isinstance(error, EOFError):
        return "cut short: its end is missing"
    if isinstance(error, UnicodeError):
        return "the text is neither UTF-8 nor UTF-16"
    return (str(error).strip().splitlines() or ["an error without a description"])[0]
