"""ARPA files: a strict reader, and a writer that takes seconds for millions of n-grams.

``kaldingram`` reads them too, one Python object per n-gram, and believes the header;
``kaldilm`` aborts without a line number.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.ngrams import ArpaModel, BadNGram, build

_LOG10 = np.log(10.0)
_ZERO = -99.0  # what ARPA files write for the log10 of zero
_CHUNK = 200_000  # lines that are held as text at a time
_COUNT = re.compile(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,12})")
_SECTION = re.compile(rb"\\(\d{1,9})-grams:")


def write(model: ArpaModel, path: str | Path) -> None:
    """Write a model as an ARPA file: UTF-8, log10, seven decimals; gzipped if it ends in .gz."""
    try:
        with io.TextIOWrapper(_open(path, "wb"), encoding="utf-8", newline="\n") as file:
            file.write("\\data\\\n")
            file.writelines(f"ngram {n}={num}\n" for n, num in enumerate(model.counts, start=1))
            for n in range(1, model.order + 1):
                file.write(f"\n\\{n}-grams:\n")
                for start in range(0, model.counts[n - 1], _CHUNK):
                    stop = min(start + _CHUNK, model.counts[n - 1])
                    file.writelines(_lines(model, n, np.arange(start, stop)))
            file.write("\n\\end\\\n")
    except OSError as error:
        raise LanguageModelError(f"cannot be written: {error.strerror}", path=path) from None


def _lines(model: ArpaModel, n: int, rows: np.ndarray) -> Iterator[str]:
    table = model.orders[n - 1]
    log_prob = np.maximum(table.log_prob[rows] / _LOG10, _ZERO).tolist()
    log_backoff = np.maximum(table.log_backoff[rows] / _LOG10, _ZERO).tolist()
    columns = [[model.words[i] for i in ids] for ids in model.spell(n, rows).T.tolist()]
    for p, b, ngram in zip(log_prob, log_backoff, zip(*columns, strict=True), strict=True):
        text = " ".join(ngram)
        yield f"{p:.7f}\t{text}\t{b:.7f}\n" if b else f"{p:.7f}\t{text}\n"


def read(path: str | Path) -> ArpaModel:
    r"""Read an ARPA file.

    Text before ``\data\`` and after ``\end\`` is skipped, and empty lines; fields are parted by
    any blanks. Nothing else is forgiven.

    Parameters
    ----------
    path : str or Path
        UTF-8; gzipped if it ends in .gz.

    Returns
    -------
    ArpaModel
        Words in the order of the unigrams. Log-probabilities below -99 (log10) become -99.

    Raises
    ------
    LanguageModelError
        With the line: for counts in the header that the sections do not have, a malformed line,
        an n-gram listed twice, one whose words or whose history are not listed, a
        log-probability that is above zero or not a number, a missing ``\end\``.
    """
    try:
        with _open(path, "rb") as file:
            return _Reader(path, file).read()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise LanguageModelError(f"cannot be read: {reason}", path=path) from None


def _open(path: str | Path, mode: str) -> BinaryIO:
    opened = gzip.open(path, mode) if Path(path).suffix == ".gz" else open(path, mode)  # noqa: SIM115
    return cast(BinaryIO, opened)


class _Reader:
    """One pass over the lines of an ARPA file; ``line`` is the number of the last one read."""

    def __init__(self, path: str | Path, file: BinaryIO):
        self.path = path
        self.lines = self._count(file)
        self.line = 0
        self.words: list[str] = []
        self.word_ids: dict[bytes, int] = {}

    def _count(self, file: BinaryIO) -> Iterator[bytes]:
        for text in file:
            self.line += 1
            yield text

    def error(
        self, message: str, line: int | None = None, remedy: str | None = None
    ) -> LanguageModelError:
        line = self.line if line is None else line
        return LanguageModelError(message, path=self.path, line=line, remedy=remedy)

    def read(self) -> ArpaModel:
        counts, marker = self._header()
        sections = []
        for n, (count, line) in enumerate(counts, start=1):
            if marker != b"\\%d-grams:" % n:
                raise self.error(f"expected \\{n}-grams:")
            section, marker = self._section(n, longest=n == len(counts))
            if len(section[0]) != count:
                found = len(section[0])
                raise self.error(f"the header has {count} {n}-grams, the file {found}", line)
            sections.append(section)
        if marker != b"\\end\\":
            raise self.error("expected \\end\\ after the last section")
        ngrams, log_probs, log_backoffs, lines = zip(*sections, strict=True)
        try:
            return build(self.words, ngrams, log_probs, log_backoffs)
        except BadNGram as bad:
            raise self.error(bad.message, int(lines[bad.order - 1][bad.row])) from None

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

    def _section(self, n: int, longest: bool) -> tuple[tuple[np.ndarray, ...], bytes]:
        """N-grams, log-probabilities, back-offs and lines of one order, and the next marker."""
        parts = []
        marker = None
        while marker is None:
            rows, numbers, marker = self._chunk()
            parts.append(self._parse(rows, np.array(numbers, dtype=np.int32), n, longest))
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True)), marker

    def _chunk(self) -> tuple[list[list[bytes]], list[int], bytes | None]:
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
            if len(rows) == _CHUNK:
                return rows, numbers, None
        raise self.error("the file ends without \\end\\")

    def _parse(
        self, rows: list[list[bytes]], numbers: np.ndarray, n: int, longest: bool
    ) -> tuple[np.ndarray, ...]:
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        with_backoff = (lengths == n + 2) & (not longest)
        self._check((lengths == n + 1) | with_backoff, numbers, _expected(n, longest))
        log_prob = self._floats([row[0] for row in rows], numbers, highest=0.0)
        log_backoff = np.zeros(len(rows))
        weights = [row[-1] for row in rows if len(row) == n + 2]
        log_backoff[with_backoff] = self._floats(weights, numbers[with_backoff], highest=99.0)
        if n == 1:
            self._add_words([row[1] for row in rows], numbers)
        ids = np.empty((len(rows), n), dtype=np.int32)
        for column in range(n):
            ids[:, column] = [self.word_ids.get(row[1 + column], -1) for row in rows]
        self._check((ids >= 0).all(axis=1), numbers, "a word that is not among the unigrams")
        return ids, log_prob, log_backoff, numbers

    def _check(self, good: np.ndarray, numbers: np.ndarray, message: str) -> None:
        if not good.all():
            raise self.error(message, int(numbers[np.argmin(good)]))

    def _floats(self, texts: list[bytes], numbers: np.ndarray, highest: float) -> np.ndarray:
        """Natural logs from the text of logs to the base 10."""
        try:
            values = np.array([float(text) for text in texts], dtype=np.float64)
        except ValueError:
            row = next(row for row, text in enumerate(texts) if not _is_float(text))
            shown = texts[row].decode("utf-8", "replace")
            raise self.error(f"{shown!r} is not a number", int(numbers[row])) from None
        # written so that NaN fails as well
        self._check(values <= highest, numbers, f"a number that is not at most {highest:g}")
        return np.maximum(values, _ZERO) * _LOG10

    def _add_words(self, words: list[bytes], numbers: np.ndarray) -> None:
        for word, number in zip(words, numbers, strict=True):
            if self.word_ids.setdefault(word, len(self.words)) != len(self.words):
                raise self.error(f"{word.decode('utf-8')!r} is listed twice", int(number))
            try:
                self.words.append(word.decode("utf-8"))
            except UnicodeDecodeError:
                remedy = "convert the file to UTF-8"
                raise self.error("a word is not UTF-8", int(number), remedy) from None


def _expected(n: int, longest: bool) -> str:
    tail = "" if longest else " and, where wanted, a back-off weight"
    return f"expected a log-probability, {n} word{'s' if n > 1 else ''}{tail}"


def _is_float(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
