"""The ARPA file format: a strict reader and a fast writer, from and to arrays of n-grams.

Both take seconds for millions of n-grams. ``kaldingram`` makes one Python object per n-gram and
does not check the counts of the header; ``kaldilm`` aborts without a line number.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LanguageModelError
from asr_hlg.files import opened

LOG_ZERO = -99.0 * np.log(10.0)  # natural log of the probability zero: ARPA files contain -99

_LOG10 = np.log(10.0)
_ZERO = -99.0  # log10
_MAX_LINES = 200_000  # n-grams in memory as text at the same time
_COUNT = re.compile(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,12})")


class Section(NamedTuple):
    """N-grams of one order.

    Attributes
    ----------
    ngrams : np.ndarray
        int32 ``(num, n)``: word ids, positions in the list of unigrams.
    log_prob, log_backoff : np.ndarray
        float64 ``(num,)``: natural logs; the back-off is 0 for an n-gram without one.
    lines : np.ndarray
        int32 ``(num,)``: the line of each n-gram in the file.
    """

    ngrams: npt.NDArray[np.int32]
    log_prob: npt.NDArray[np.float64]
    log_backoff: npt.NDArray[np.float64]
    lines: npt.NDArray[np.int32]


def write(
    path: str | Path,
    words: Sequence[str],
    counts: Sequence[int],
    sections: Iterable[
        tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.float64]]
    ],
) -> None:
    """Write n-grams as UTF-8, with log10 to seven decimals; gzipped if the name ends in .gz.

    Parameters
    ----------
    path : str or Path
    words : sequence of str
        The unigrams.
    counts : sequence of int
        Number of n-grams of each order, for the header.
    sections : iterable of tuple
        Word ids, log-probabilities and log back-offs as in `Section`, the orders one after the
        other, each in one or several parts.
    """
    with (
        opened(path, "wb", LanguageModelError) as binary,
        io.TextIOWrapper(binary, "utf-8", newline="\n") as file,
    ):
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={num}\n" for n, num in enumerate(counts, start=1))
        order = 0
        for ngrams, log_prob, log_backoff in sections:
            if ngrams.shape[1] != order:
                order = ngrams.shape[1]
                file.write(f"\n\\{order}-grams:\n")
            p10 = np.maximum(log_prob / _LOG10, _ZERO).tolist()
            b10 = np.maximum(log_backoff / _LOG10, _ZERO).tolist()
            for p, b, ids in zip(p10, b10, ngrams.tolist(), strict=True):
                text = " ".join([words[i] for i in ids])
                file.write(f"{p:.7f}\t{text}\t{b:.7f}\n" if b else f"{p:.7f}\t{text}\n")
        file.write("\n\\end\\\n")


def read(path: str | Path) -> tuple[list[str], list[Section]]:
    r"""Read an ARPA file.

    Text before ``\data\`` and after ``\end\`` is skipped, and empty lines; fields are separated
    by any white space. Every other deviation from the format is an error.

    Parameters
    ----------
    path : str or Path
        UTF-8; gzipped if it ends in .gz.

    Returns
    -------
    words : list of str
        In the order of the unigrams.
    sections : list of Section
        One per order. Logs below -99 (log10) become -99.

    Raises
    ------
    LanguageModelError
        With the line: for counts in the header that the sections do not have, a malformed line,
        a unigram listed twice, an n-gram of words that are not listed, a log-probability that is
        above zero or not a number, a missing ``\end\``.
    """
    with opened(path, "rb", LanguageModelError) as file:
        return _Reader(path, file).read()


class _Reader:
    """One pass over the lines of an ARPA file.

    Attributes
    ----------
    lines : iterator of bytes
        The lines that are not read yet.
    line : int
        Number of the last line read.
    """

    def __init__(self, path: str | Path, file: BinaryIO):
        self.path = path
        self.lines = self._numbered(file)
        self.line = 0
        self.words: list[str] = []
        self.word_ids: dict[bytes, int] = {}

    def _numbered(self, file: BinaryIO) -> Iterator[bytes]:
        for text in file:
            self.line += 1
            yield text

    def error(
        self, message: str, line: int | None = None, remedy: str | None = None
    ) -> LanguageModelError:
        """An error on a line of the file, by default the last one read."""
        line = self.line if line is None else line
        return LanguageModelError(message, path=self.path, line=line, remedy=remedy)

    def read(self) -> tuple[list[str], list[Section]]:
        """The words and the sections of the whole file."""
        counts, marker = self._header()
        sections = []
        for n, (count, line) in enumerate(counts, start=1):
            if marker != b"\\%d-grams:" % n:
                raise self.error(f"expected \\{n}-grams:")
            section, marker = self._section(n, is_highest=n == len(counts))
            num = len(section.ngrams)
            if num != count:
                raise self.error(f"the header has {count} {n}-grams, the file {num}", line)
            sections.append(section)
        if marker != b"\\end\\":
            raise self.error("expected \\end\\ after the last section")
        return self.words, sections

    def _header(self) -> tuple[list[tuple[int, int]], bytes]:
        """The count of each order with its line, and the marker that ends the header."""
        if not any(text.strip() == b"\\data\\" for text in self.lines):
            raise self.error("no \\data\\ section: this is not an ARPA file")
        counts: list[tuple[int, int]] = []
        for text in self.lines:
            text = text.strip()
            if match := _COUNT.fullmatch(text):
                if int(match[1]) != len(counts) + 1:
                    raise self.error(f"expected the count of {len(counts) + 1}-grams")
                counts.append((int(match[2]), self.line))
            elif text.startswith(b"\\"):
                if not counts or counts[0][0] == 0:
                    raise self.error("the header has no unigrams")
                return counts, text
            elif text:
                raise self.error("expected 'ngram ORDER=COUNT'")
        raise self.error("the file ends in its header")

    def _section(self, n: int, is_highest: bool) -> tuple[Section, bytes]:
        """The n-grams of order n, and the marker after them."""
        parts = []
        marker = None
        while marker is None:
            rows, numbers, marker = self._lines()
            parts.append(self._parse(rows, np.array(numbers, dtype=np.int32), n, is_highest))
        return Section(*(np.concatenate(column) for column in zip(*parts, strict=True))), marker

    def _lines(self) -> tuple[list[list[bytes]], list[int], bytes | None]:
        """The fields of the next lines, their numbers, and the marker that ended them, if any."""
        rows: list[list[bytes]] = []
        numbers: list[int] = []
        for text in self.lines:
            if text.startswith(b"\\"):
                return rows, numbers, text.strip()
            fields = text.split()
            if fields:
                rows.append(fields)
                numbers.append(self.line)
            if len(rows) == _MAX_LINES:
                return rows, numbers, None
        raise self.error("the file ends without \\end\\")

    def _parse(
        self, rows: list[list[bytes]], lines: npt.NDArray[np.int32], n: int, is_highest: bool
    ) -> Section:
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        has_backoff = (lengths == n + 2) & (not is_highest)
        self._check((lengths == n + 1) | has_backoff, lines, _expected(n, is_highest))
        log_prob = self._floats([row[0] for row in rows], lines, highest=0.0)
        log_backoff = np.zeros(len(rows))
        weights = [row[-1] for row in rows if len(row) == n + 2]
        log_backoff[has_backoff] = self._floats(weights, lines[has_backoff], highest=99.0)
        if n == 1:
            self._add_words([row[1] for row in rows], lines)
        ids = np.empty((len(rows), n), dtype=np.int32)
        for column in range(n):
            ids[:, column] = [self.word_ids.get(row[1 + column], -1) for row in rows]
        self._check((ids >= 0).all(axis=1), lines, "a word that is not among the unigrams")
        return Section(ids, log_prob, log_backoff, lines)

    def _check(
        self, valid: npt.NDArray[np.bool_], lines: npt.NDArray[np.int32], message: str
    ) -> None:
        if not valid.all():
            raise self.error(message, int(lines[np.argmin(valid)]))

    def _floats(
        self, texts: list[bytes], lines: npt.NDArray[np.int32], highest: float
    ) -> npt.NDArray[np.float64]:
        """Natural logs from the text of logs to the base 10."""
        try:
            values = np.array([float(text) for text in texts], dtype=np.float64)
        except ValueError:
            row = next(row for row, text in enumerate(texts) if not _is_float(text))
            shown = texts[row].decode("utf-8", "replace")
            raise self.error(f"{shown!r} is not a number", int(lines[row])) from None
        # written so that NaN fails as well
        self._check(values <= highest, lines, f"a number that is not at most {highest:g}")
        natural: npt.NDArray[np.float64] = np.maximum(values, _ZERO) * _LOG10
        return natural

    def _add_words(self, words: list[bytes], lines: npt.NDArray[np.int32]) -> None:
        for word, line in zip(words, lines, strict=True):
            if self.word_ids.setdefault(word, len(self.words)) != len(self.words):
                raise self.error(f"{word.decode('utf-8')!r} is listed twice", int(line))
            try:
                self.words.append(word.decode("utf-8"))
            except UnicodeDecodeError:
                remedy = "convert the file to UTF-8"
                raise self.error("a word is not UTF-8", int(line), remedy) from None


def _expected(n: int, is_highest: bool) -> str:
    backoff = "" if is_highest else " and, optionally, a back-off weight"
    return f"expected a log-probability, {n} word{'s' if n > 1 else ''}{backoff}"


def _is_float(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
