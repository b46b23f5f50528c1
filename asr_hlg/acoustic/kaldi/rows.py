"""The last rows of an array that grows at its end, so that a stream's memory is bounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.reader import Floats


class Rows:
    """Last rows of a growing array ``(count, width)``; rows have their numbers in the whole array.

    Parameters
    ----------
    width : int

    Attributes
    ----------
    first : int
        Number of the first row that is still there.
    """

    def __init__(self, width: int):
        self.first = 0
        self._array = np.empty((256, width), np.float32)
        self._begin = self._end = 0  # in the array

    @classmethod
    def of(cls, rows: Floats) -> Rows:
        """All rows of an array."""
        result = cls(rows.shape[1])
        result.append(rows)
        return result

    def __len__(self) -> int:
        """Number of rows, with those that were dropped."""
        return self.first + self._end - self._begin

    def append(self, rows: Floats) -> None:
        """Add rows at the end."""
        kept, end = self._end - self._begin, self._end + len(rows)
        if end > len(self._array):
            array = self._array
            if 2 * (kept + len(rows)) > len(array):
                array = np.empty((2 * (kept + len(rows)), array.shape[1]), np.float32)
            array[:kept] = self._array[self._begin : self._end].copy()
            self._array, self._begin, end = array, 0, kept + len(rows)
        self._array[end - len(rows) : end] = rows
        self._end = end

    def part(self, begin: int, end: int) -> Floats:
        """Rows ``[begin, end)``, where those beyond the edges are copies of the first and last.

        Raises
        ------
        IndexError
            If one of them was dropped.
        """
        if begin >= self.first and end <= len(self):
            shift = self._begin - self.first
            return self._array[begin + shift : end + shift]
        return self.take(np.clip(np.arange(begin, end), 0, len(self) - 1))

    def take(self, numbers: npt.NDArray[np.int64]) -> Floats:
        """Rows of some numbers.

        Raises
        ------
        IndexError
            If one of them was dropped.
        """
        if len(numbers) and numbers.min() < self.first:
            raise IndexError(f"row {numbers.min()} was dropped; the first is {self.first}")
        result: Floats = self._array[numbers + (self._begin - self.first)]
        return result

    def drop(self, before: int) -> None:
        """Forget the rows before a number."""
        number = min(before, len(self)) - self.first
        if number > 0:
            self.first += number
            self._begin += number
