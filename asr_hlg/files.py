"""Files: atomic writing, compressed files, lines of text, and the hash of a file's content."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import AsrHlgError


@contextmanager
def replaced(path: Path, durable: bool = False) -> Iterator[Path]:
    """Path of a temporary file beside ``path``, which replaces it when the block succeeds.

    A process that has mapped the old file keeps the old content. After an error the temporary
    file is removed and ``path`` is unchanged. With ``durable`` the new content is on the disk at
    the end, so that it survives a power cut.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        if durable:
            _flush(part)
        os.replace(part, path)
        if durable:
            _flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a ``.npy`` file atomically."""
    with replaced(path) as part, part.open("wb") as file:
        np.save(file, array)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    with replaced(path) as part:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


@contextmanager
def opened(
    path: str | Path, mode: Literal["rb", "wb"], error: type[AsrHlgError] = AsrHlgError
) -> Iterator[BinaryIO]:
    """Open a file, through gzip if its name ends in ``.gz``.

    Parameters
    ----------
    path : str or Path
    mode : str
    error : type
        Is raised instead of any error of the operating system or of gzip within the block.
    """
    opener = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opener(path, mode) as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as failure:
        reason = getattr(failure, "strerror", None) or failure
        action = "read" if mode == "rb" else "written"
        raise error(f"cannot be {action}: {reason}", path=path) from None


def text_lines(
    path: str | Path, error: type[AsrHlgError] = AsrHlgError
) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file that are not blank, with their numbers from 1.

    Parameters
    ----------
    path : str or Path
        Gzipped if the name ends in ``.gz``. A byte order mark is skipped.
    error : type
        Is raised if the file cannot be read, or a line is not UTF-8.
    """
    with opened(path, "rb", error) as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                line = raw.decode("utf-8").removesuffix("\n")
            except UnicodeDecodeError:
                remedy = "convert it with iconv -t utf-8"
                raise error("is not UTF-8", path=path, line=number, remedy=remedy) from None
            if line.strip():
                yield number, line


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
