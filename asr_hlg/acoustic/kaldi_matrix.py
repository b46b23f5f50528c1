r"""Kaldi's binary matrices: floats, doubles, and the three compressed forms.

A matrix begins with ``\0B`` and its type. FM and DM are followed by their shape and float32 or
float64 values in rows. The compressed types begin with the least value, the range and the shape;
their values are integers, as fractions of the range:

====  =========================================================================================
CM    8 bits in columns; before them four 16-bit percentiles (0, 25, 75, 100 %) of each column,
      between which the 8-bit values are linear: 0 to 64, 64 to 192 and 192 to 255
CM2   16 bits in rows
CM3   8 bits in rows
====  =========================================================================================

The format is that of ``matrix/compressed-matrix.h`` in Kaldi.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.floating[Any]]

_PLAIN: dict[bytes, np.dtype[Any]] = {b"FM": np.dtype("<f4"), b"DM": np.dtype("<f8")}
_COMPRESSED: dict[bytes, np.dtype[Any]] = {
    b"CM": np.dtype("u1"),
    b"CM2": np.dtype("<u2"),
    b"CM3": np.dtype("u1"),
}
_PERCENTILES = np.array([0, 64, 192, 255], dtype=np.float32)
"""Values of a byte of CM that stand for the percentiles of its column."""


@dataclass(frozen=True)
class Header:
    """Type, shape and, of compressed matrices, least value and range."""

    type: bytes
    rows: int
    columns: int
    least: float = 0.0
    range: float = 1.0

    @property
    def num_bytes(self) -> int:
        """Size of the values after the header."""
        percentiles = 8 * self.columns if self.type == b"CM" else 0
        return percentiles + self.rows * self.columns * self.dtype.itemsize

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return (_PLAIN | _COMPRESSED)[self.type]


def read_header(file: BinaryIO) -> Header:
    """Read the header of a matrix, up to its values.

    Raises
    ------
    ValueError
        If there is no binary matrix, or the file ends before its last value.
    """
    begin = file.read(6)
    kind = begin[2:].partition(b" ")[0]
    if begin[:2] != b"\0B" or kind not in _PLAIN | _COMPRESSED or b" " not in begin[2:]:
        raise ValueError("no matrix in binary form; copy-matrix or copy-feats writes one")
    file.seek(len(kind) + 3 - len(begin), os.SEEK_CUR)
    if kind in _PLAIN:
        size_of_rows, rows, size_of_columns, columns = struct.unpack("<BIBI", file.read(10))
        if (size_of_rows, size_of_columns) != (4, 4):
            raise ValueError("the shape of a matrix is not two numbers of four bytes")
        header = Header(kind, rows, columns)
    else:
        least, scale, rows, columns = struct.unpack("<ffII", file.read(16))
        header = Header(kind, rows, columns, least, scale)
    place = file.tell()
    if place + header.num_bytes > file.seek(0, os.SEEK_END):
        raise ValueError("the file ends within a matrix")
    file.seek(place)
    return header


def read_matrix(file: BinaryIO) -> Matrix:
    """Read a matrix ``(rows, columns)``: float32, or float64 for the type DM."""
    header = read_header(file)
    shape = header.rows, header.columns
    if header.type == b"CM":
        return _by_percentiles(file, header)
    data = file.read(header.num_bytes)
    values: npt.NDArray[Any] = np.frombuffer(data, header.dtype).reshape(shape)
    return values if header.type in _PLAIN else _scaled(values, header)


def _by_percentiles(file: BinaryIO, header: Header) -> Matrix:
    """Values of a matrix of type CM."""
    columns = header.columns
    percentiles = _scaled(np.frombuffer(file.read(8 * columns), "<u2").reshape(columns, 4), header)
    data = file.read(header.rows * columns)
    codes = np.frombuffer(data, np.uint8).reshape(columns, header.rows)
    matrix = np.empty((header.rows, columns), dtype=np.float32)
    every_code = np.arange(256, dtype=np.float32)
    for column in range(columns):
        matrix[:, column] = np.interp(every_code, _PERCENTILES, percentiles[column])[codes[column]]
    return matrix


def _scaled(values: npt.NDArray[Any], header: Header) -> Matrix:
    """Integers of a compressed matrix as float32."""
    largest = 255 if header.type == b"CM3" else 65535
    with np.errstate(over="ignore", invalid="ignore"):  # of a damaged range
        scaled: Matrix = values.astype(np.float32) * np.float32(header.range / largest)
        return scaled + np.float32(header.least)
