"""Bytes of a binary file, read in order and never beyond its end."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt


class Malformed(Exception):
    """Damage of a file, with a remedy; the caller adds the file's name."""

    def __init__(self, message: str, remedy: str = "copy or make the file again"):
        super().__init__(message)
        self.remedy = remedy


class FileBytes:
    """A position in the content of a file.

    Every method raises :class:`Malformed` where the file is too short for what it asks.
    """

    def __init__(self, content: bytes):
        self._content = content
        self._at = 0

    def __len__(self) -> int:
        return len(self._content)

    @property
    def remaining(self) -> int:
        """Number of bytes after the position."""
        return len(self._content) - self._at

    def skip(self, count: int) -> int:
        """Move on; returns the position before."""
        if not 0 <= count <= self.remaining:
            raise Malformed(f"is cut off or damaged: it ends after {len(self._content)} bytes")
        begin = self._at
        self._at += count
        return begin

    def align(self, size: int) -> None:
        """Move on to the next multiple of a size."""
        self.skip(-self._at % size)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        begin = self.skip(count)
        return self._content[begin : begin + count]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """Numbers, laid out as for :func:`struct.unpack`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def string(self, longest: int) -> str:
        """A length as an int32, and so many bytes of UTF-8."""
        (length,) = self.unpack("<i")
        if not 0 <= length <= longest:
            raise Malformed(f"is damaged: a name of {length} bytes")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("is damaged: a name is not UTF-8") from None

    def array(self, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        """An array of so many elements."""
        if not 0 <= count <= self.remaining // dtype.itemsize:
            raise Malformed(f"is cut off or damaged: {count} records do not fit")
        begin = self.skip(count * dtype.itemsize)
        return np.frombuffer(self._content, dtype, count, begin)

    def rest(self, dtype: str) -> npt.NDArray[Any]:
        """As many elements as the rest of the file holds, aligned; the position stays."""
        kind = np.dtype(dtype)
        return np.frombuffer(self._content, kind, self.remaining // kind.itemsize, self._at).copy()
