r"""Reader of the objects that Kaldi writes: tokens, numbers, vectors and matrices.

A file that begins with ``\0B`` is binary, any other is text. In binary form a number is preceded
by a byte with its size, and a vector or matrix by its type and its dimensions. Every size is
compared with what is left of the file before memory is reserved for it, so that a damaged header
costs neither memory nor time.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import AsrHlgError, ModelError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
T = TypeVar("T")

_LONGEST_TOKEN = 200  # bytes
_WORD = re.compile(rb"\S+")
_SPACE = re.compile(rb"\s*")
_FLOAT_TYPES: dict[str, np.dtype[Any]] = {"F": np.dtype("<f4"), "D": np.dtype("<f8")}
_COMPRESSED = ("CM", "CM2", "CM3")
_REMEDY = "it is damaged, or not such a file of Kaldi: copy it again from where it came"


def read_file(path: Path, read: Callable[[KaldiReader], T]) -> T:
    """Call ``read`` with a reader of a file.

    Raises
    ------
    ModelError
        If the file cannot be opened or has other content than ``read`` expects.
    """
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelError("is empty", path=path, remedy=_REMEDY)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return read(KaldiReader(content, path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"cannot be read: {reason}", path=path) from None


class KaldiReader:
    """Position in a file of Kaldi's, with a method for each kind of object.

    Parameters
    ----------
    content : bytes or mmap
        Of the whole file.
    path : Path
        For messages.

    Attributes
    ----------
    binary : bool
        Whether the file is in binary form.
    place : int
        Bytes that have been read.
    """

    def __init__(self, content: bytes | mmap.mmap, path: Path):
        self._content, self._path = content, path
        self.binary = content[:2] == b"\0B"
        self.place = 2 if self.binary else 0

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self._content) - self.place

    def error(self, message: str) -> AsrHlgError:
        """Error at the present place of the file."""
        line = None
        if self.binary:
            message = f"{message} (byte {self.place:,})"
        else:
            line = self._content[: self.place].count(b"\n") + 1
        return ModelError(message, path=self._path, line=line, remedy=_REMEDY)

    def token(self) -> str:
        """Next token: text up to white space."""
        word = self._word(_LONGEST_TOKEN)
        try:
            return word.decode("ascii")
        except UnicodeDecodeError:
            raise self.error("expected a token of ASCII characters") from None

    def peek(self) -> str:
        """Next token, which stays the next one; empty at the end of the file."""
        place = self.place
        try:
            return self.token()
        except ModelError:
            return ""
        finally:
            self.place = place

    def expect(self, *tokens: str) -> str:
        """Read a token that is one of ``tokens``."""
        place = self.place
        found = self.token()
        if found not in tokens:
            self.place = place
            raise self.error(f"expected {' or '.join(tokens)}, found {found!r}")
        return found

    def find(self, token: str) -> bool:
        """Go to what follows the next occurrence of a token; False if there is none."""
        found = self._content.find(token.encode(), self.place)
        self.place = len(self._content) if found < 0 else found + len(token)
        return found >= 0

    def line(self) -> str:
        """Next line, without its end."""
        end = self._content.find(b"\n", self.place)
        if end < 0:
            raise self.error("the file ends within a line")
        text = self._content[self.place : end]
        self.place = end + 1
        try:
            return text.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError:
            raise self.error("expected a line of UTF-8 text") from None

    def integer(self) -> int:
        """Integer of 32 bits."""
        if self.binary:
            return int(self._number("<i"))
        return int(self._parsed(int))

    def number(self) -> float:
        """Floating-point number, of 32 or 64 bits in binary form."""
        if self.binary:
            return float(self._number("<f", "<d"))
        return float(self._parsed(float))

    def boolean(self) -> bool:
        """``T`` or ``F``."""
        if not self.binary:
            return self.expect("T", "F") == "T"
        letter = self._take(1)
        if letter not in (b"T", b"F"):
            raise self.error(f"expected T or F, found {letter!r}")
        return letter == b"T"

    def count(self, smallest: int, what: str) -> int:
        """Number of items that follow, each of at least ``smallest`` bytes."""
        number = self.integer()
        if not 0 <= number <= self.left // max(smallest, 1):
            raise self.error(f"{number:,} {what} do not fit into the rest of the file")
        return number

    def integers(self) -> Ints:
        """Vector of integers, int32."""
        if not self.binary:
            return self._bracketed().astype(np.int32)
        if self._take(1) != b"\4":
            raise self.error("expected a vector of integers of four bytes")
        size = self._bare_count(4)
        return self._array(np.dtype("<i4"), size)

    def integer_pairs(self) -> Ints:
        """Vector of pairs of integers, int32 ``(size, 2)``."""
        if not self.binary:
            words = self._inside().replace(b",", b" ").split()
            return self._numbers(words[: len(words) // 2 * 2]).astype(np.int32).reshape(-1, 2)
        if self._take(1) != b"\4":
            raise self.error("expected pairs of integers of four bytes")
        size = self._bare_count(8)
        return self._array(np.dtype("<i4"), 2 * size).reshape(size, 2)

    def vector(self) -> Floats:
        """Vector, float32."""
        if not self.binary:
            return self._bracketed().astype(np.float32)
        kind = self.expect("FV", "DV")
        dtype = _FLOAT_TYPES[kind[0]]
        size = self._size(dtype.itemsize)
        return self._array(dtype, size).astype(np.float32)

    def matrix(self) -> Floats:
        """Matrix ``(rows, columns)``, float32; compressed matrices too."""
        if not self.binary:
            return self._bracketed_rows().astype(np.float32)
        kind = self.expect("FM", "DM", *_COMPRESSED)
        if kind in _COMPRESSED:
            return self._compressed(kind)
        dtype = _FLOAT_TYPES[kind[0]]
        rows, columns = self._shape(dtype.itemsize)
        return self._array(dtype, rows * columns).reshape(rows, columns).astype(np.float32)

    def array(self) -> Floats:
        """Vector or matrix, whichever follows; float32."""
        if self.binary:
            return self.vector() if self.peek() in ("FV", "DV") else self.matrix()
        end = self._content.find(b"]", self.place)
        begin = self._content.find(b"[", self.place, end)
        # In text, the rows of a matrix begin on new lines.
        is_matrix = 0 <= begin < self._content.find(b"\n", begin, end)
        return self.matrix() if is_matrix else self.vector()

    def symmetric(self) -> npt.NDArray[np.float64]:
        """Symmetric matrix ``(size, size)``, of which the lower triangle is stored; float64."""
        if not self.binary:
            return self._bracketed_triangle()
        dtype = _FLOAT_TYPES[self.expect("FP", "DP")[0]]
        size = self._size(1)
        packed = size * (size + 1) // 2
        if packed * dtype.itemsize > self.left:
            raise self.error(f"a matrix of {size:,} rows does not fit into the rest of the file")
        return _unpacked(self._array(dtype, packed).astype(np.float64), size)

    def double_vector(self) -> npt.NDArray[np.float64]:
        """Vector, float64."""
        if not self.binary:
            return self._bracketed()
        dtype = _FLOAT_TYPES[self.expect("FV", "DV")[0]]
        return self._array(dtype, self._size(dtype.itemsize)).astype(np.float64)

    def double_matrix(self) -> npt.NDArray[np.float64]:
        """Matrix ``(rows, columns)``, float64."""
        if not self.binary:
            return self._bracketed_rows()
        dtype = _FLOAT_TYPES[self.expect("FM", "DM")[0]]
        rows, columns = self._shape(dtype.itemsize)
        return self._array(dtype, rows * columns).reshape(rows, columns).astype(np.float64)

    def _take(self, size: int) -> bytes:
        if size > self.left:
            raise self.error("the file ends too early")
        data = self._content[self.place : self.place + size]
        self.place += size
        return data

    def _word(self, longest: int) -> bytes:
        """Next word, and the one byte of white space that ends it."""
        space = _SPACE.match(self._content, self.place)
        begin = space.end() if space else self.place
        found = _WORD.match(self._content, begin, begin + longest + 1)
        if found is None:
            raise self.error("the file ends too early")
        if found.end() - begin > longest:
            raise self.error("expected a token, found other data")
        self.place = min(found.end() + 1, len(self._content))
        return found.group()

    def _parsed(self, kind: Callable[[bytes], Any]) -> Any:
        place = self.place
        word = self._word(_LONGEST_TOKEN)
        try:
            value = kind(word)
        except ValueError:
            self.place = place
            raise self.error(f"expected a number, found {word!r}") from None
        if kind is int and not -(1 << 31) <= value < 1 << 31:
            raise self.error("expected an integer of 32 bits")
        return value

    def _number(self, *formats: str) -> Any:
        """Number after the byte with its size."""
        size = self._take(1)[0]
        for form in formats:
            if struct.calcsize(form) == size:
                return struct.unpack(form, self._take(size))[0]
        raise self.error("expected a number, found other data")

    def _bare_count(self, itemsize: int) -> int:
        """Count of four bytes, without a byte with its size."""
        size: int = struct.unpack("<i", self._take(4))[0]
        if not 0 <= size <= self.left // itemsize:
            raise self.error(f"{size:,} values do not fit into the rest of the file")
        return size

    def _size(self, itemsize: int) -> int:
        """Dimension of a vector."""
        return self.count(itemsize, "values")

    def _shape(self, itemsize: int) -> tuple[int, int]:
        rows, columns = self.integer(), self.integer()
        if rows < 0 or columns < 0 or rows * columns * itemsize > self.left:
            raise self.error(
                f"a matrix of {rows:,} × {columns:,} does not fit into the rest of the file"
            )
        return rows, columns

    def _array(self, dtype: np.dtype[Any], size: int) -> npt.NDArray[Any]:
        return np.frombuffer(self._take(size * dtype.itemsize), dtype)

    def _compressed(self, kind: str) -> Floats:
        """Matrix of a compressed type; see :mod:`asr_hlg.acoustic.kaldi_matrix`."""
        import io

        from asr_hlg.acoustic.kaldi_matrix import Header, read_matrix

        start = self.place
        least, scale, rows, columns = struct.unpack("<ffII", self._take(16))
        size = Header(kind.encode(), rows, columns, least, scale).num_bytes
        self._take(size)
        data = b"\0B" + kind.encode() + b" " + self._content[start : self.place]
        return read_matrix(io.BytesIO(data)).astype(np.float32)

    def _bracketed(self) -> npt.NDArray[np.float64]:
        """Numbers between ``[`` and ``]``, float64."""
        return self._numbers(self._inside().split())

    def _bracketed_rows(self) -> npt.NDArray[np.float64]:
        rows = [line.split() for line in self._inside().splitlines() if line.strip()]
        if len({len(row) for row in rows}) > 1:
            raise self.error("the rows of a matrix differ in length")
        if not rows:
            return np.zeros((0, 0))
        return self._numbers(list(chain(*rows))).reshape(len(rows), -1)

    def _bracketed_triangle(self) -> npt.NDArray[np.float64]:
        rows = [line.split() for line in self._inside().splitlines() if line.strip()]
        if any(len(row) != number for number, row in enumerate(rows, 1)):
            raise self.error("row n of a symmetric matrix must have n numbers")
        return _unpacked(self._numbers(list(chain(*rows))), len(rows))

    def _inside(self) -> bytes:
        """Text between brackets."""
        space = _SPACE.match(self._content, self.place)
        begin = space.end() if space else self.place
        if self._content[begin : begin + 1] != b"[":
            raise self.error("expected [")
        self.place = begin + 1
        end = self._content.find(b"]", self.place)
        if end < 0:
            raise self.error("a bracket is not closed")
        inside = self._content[self.place : end]
        self.place = end + 1
        return inside

    def _numbers(self, words: list[bytes]) -> npt.NDArray[np.float64]:
        try:
            return np.array([float(word) for word in words], dtype=np.float64)
        except ValueError:
            raise self.error("expected numbers between the brackets") from None


def _unpacked(packed: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Symmetric matrix from its lower triangle in rows."""
    full = np.zeros((size, size))
    full[np.tril_indices(size)] = packed
    upper = np.triu_indices(size, 1)
    full[upper] = full.T[upper]
    return full
