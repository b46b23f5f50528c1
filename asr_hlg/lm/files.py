"""Opening of files of text that may be compressed with gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from asr_hlg.errors import LanguageModelError


@contextmanager
def opened(path: str | Path, mode: Literal["rb", "wb"]) -> Iterator[BinaryIO]:
    """Open a file, through gzip if its name ends in ``.gz``.

    Raises
    ------
    LanguageModelError
        Instead of any error of the operating system or of gzip within the ``with`` block.
    """
    opener = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opener(path, mode) as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        action = "read" if mode == "rb" else "written"
        raise LanguageModelError(f"cannot be {action}: {reason}", path=path) from None
