"""Readers for Sphinx dictionaries and binary language models, such as pocketsphinx contains.

The files of the package `pocketsphinx` are found with ``importlib.resources``, so they need no
network and no configuration.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LanguageModelError, LexiconError
from asr_hlg.files import text_lines
from asr_hlg.lm.ngrams import ArpaModel, BadNGram, Floats, Ints, build

_MAGIC = b"Trie Language Model"
_BINS = 1 << 16  # of the quantisers: an index has 16 bits
_LOG_BASE = np.log(1.0001)  # Sphinx stores logs to this base
_ALTERNATIVE = re.compile(r"\(\d+\)$")


SOURCES = {"pocketsphinx:dict": "cmudict-en-us.dict", "pocketsphinx:lm": "en-us.lm.bin"}
"""Names of pocketsphinx's files in recipes and on the command line, with the files' names."""


def resource(name: str) -> Path:
    """Path of one of pocketsphinx's English models: a key of `SOURCES`, or a file's name."""
    name = SOURCES.get(name, name)
    try:
        path = Path(str(files("pocketsphinx") / "model" / "en-us" / name))
    except ModuleNotFoundError:
        raise LanguageModelError(
            "package pocketsphinx is not installed", remedy="pip install pocketsphinx"
        ) from None
    if not path.is_file():
        raise LanguageModelError(
            f"the installed pocketsphinx has no {name}",
            path=path,
            remedy="install pocketsphinx 5.1 or newer from a wheel",
        )
    return path


def read_dict(path: str | Path | None = None) -> list[tuple[str, tuple[str, ...]]]:
    """Read a Sphinx dictionary as words and pronunciations, in the order of the file.

    Parameters
    ----------
    path : str or Path, optional
        A file of lines ``word PHONE PHONE …``; a further pronunciation of ``word`` begins
        with ``word(2)``. By default pocketsphinx's ``cmudict-en-us.dict`` (134,860 pronunciations,
        39 ARPAbet phones without stress).

    Returns
    -------
    list of (str, tuple of str)
        A word with several pronunciations is in the list several times.
    """
    path = resource("pocketsphinx:dict") if path is None else path
    entries = []
    for number, line in text_lines(path, LexiconError):
        fields = line.split()
        if len(fields) == 1:
            raise LexiconError(f"{fields[0]!r} has no pronunciation", path=path, line=number)
        entries.append((_ALTERNATIVE.sub("", fields[0]), tuple(fields[1:])))
    return entries


def index_dict(path: str | Path | None = None) -> dict[str, list[str]]:
    """Pronunciations in a Sphinx dictionary by word, each as a string of phones.

    A fifth of the time of :func:`read_dict`, for looking up a few words.
    """
    path = resource("pocketsphinx:dict") if path is None else Path(path)
    index: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        if word.endswith(")"):
            word = _ALTERNATIVE.sub("", word)
        index.setdefault(word, []).append(phones)
    return index


def read_trie(path: str | Path | None = None) -> ArpaModel:
    """Read a binary language model of Sphinx (``*.lm.bin``, "Trie Language Model").

    Its trie leads from the last word of an n-gram to the first, and its weights are quantised;
    the result is an ordinary model.

    Parameters
    ----------
    path : str or Path, optional
        By default pocketsphinx's ``en-us.lm.bin``: a trigram with 72,547 words, 2,051,541
        bigrams and 1,669,625 trigrams.

    Raises
    ------
    LanguageModelError
        If the file is not such a trie, or ends too soon.
    """
    path = resource("pocketsphinx:lm") if path is None else path
    data = _Bytes(path)
    if data.take("u1", len(_MAGIC)).tobytes() != _MAGIC:
        raise LanguageModelError("not a Sphinx trie language model", path=path)
    order = int(data.take("u1", 1)[0])
    counts = [int(count) for count in data.take("<u4", order)]
    data.take("<i4", 1)  # the type of quantisation, of which there is one
    if order < 2 or min(counts) == 0:
        raise LanguageModelError("only tries of order 2 and higher are supported", path=path)
    # probabilities and back-offs for every middle order, only probabilities for the highest
    bins = data.natural(data.take("<f4", _BINS * (2 * order - 3)).reshape(-1, _BINS))

    unigrams = data.take([("prob", "<f4"), ("backoff", "<f4"), ("next", "<u4")], counts[0] + 1)
    log_probs = [data.natural(unigrams["prob"][:-1])]
    log_backoffs = [data.natural(unigrams["backoff"][:-1])]
    ngrams = [np.arange(counts[0], dtype=np.int32)[:, None]]
    first_child = unigrams["next"].astype(np.int64)

    word_bits = counts[0].bit_length()
    for n in range(2, order + 1):
        is_highest = n == order
        next_bits = 0 if is_highest else counts[n].bit_length()
        widths = [word_bits, 16] if is_highest else [word_bits, 16, 16, next_bits]
        # the header may count n-grams that are not in the trie any more; the pointers are right
        num = int(first_child[-1])
        fields = data.take_fields(widths, counts[n - 1] + 1, num + (not is_highest))
        _check_children(first_child, counts[n - 1], path)
        ngrams.append(_with_first_word(fields[0][:num], ngrams[-1], first_child))
        log_probs.append(bins[2 * n - 4][fields[-1 if is_highest else 2][:num]])
        log_backoffs.append(np.zeros(num) if is_highest else bins[2 * n - 3][fields[1][:num]])
        if not is_highest:
            first_child = fields[3]

    words = data.take("u1", int(data.take("<i4", 1)[0])).tobytes().split(b"\0")[:-1]
    if len(words) != counts[0] or max(ids.max() for ids in ngrams if ids.size) >= len(words):
        raise LanguageModelError("the trie's words do not match its header", path=path)
    try:
        return build([word.decode("utf-8") for word in words], ngrams, log_probs, log_backoffs)
    except (BadNGram, UnicodeDecodeError) as error:
        raise LanguageModelError(f"the trie is damaged: {error}", path=path) from None


def _check_children(first_child: Ints, count: int, path: str | Path) -> None:
    if first_child[0] != 0 or (np.diff(first_child) < 0).any() or first_child[-1] > count:
        raise LanguageModelError("the trie's pointers are out of order", path=path)


def _with_first_word(
    first_word: Ints, suffixes: npt.NDArray[np.int32], first_child: Ints
) -> npt.NDArray[np.int32]:
    """N-grams made of their first words and the (n-1)-grams whose children they are."""
    return np.column_stack(
        [first_word.astype(np.int32), np.repeat(suffixes, np.diff(first_child), axis=0)]
    )


class _Bytes:
    """Sequential reader of the bytes of a file."""

    def __init__(self, path: str | Path):
        self.path = path
        try:
            self.data = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise LanguageModelError(f"cannot be read: {error.strerror}", path=path) from None
        self.position = 0

    def _take(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        start, self.position = self.position, self.position + num_bytes
        if num_bytes < 0 or self.position > len(self.data):
            raise LanguageModelError("the trie ends too soon", path=self.path)
        return self.data[start : self.position]

    def take(self, dtype: npt.DTypeLike, num: int) -> npt.NDArray[Any]:
        """The next ``num`` items of a numpy type."""
        return self._take(np.dtype(dtype).itemsize * num).view(dtype)

    def natural(self, weights: npt.NDArray[np.float32]) -> Floats:
        """Natural logs from Sphinx's logs, float64."""
        if not np.isfinite(weights).all():
            raise LanguageModelError("the trie has a weight that is not a number", path=self.path)
        logs: Floats = weights.astype(np.float64) * _LOG_BASE
        return logs

    def take_fields(
        self, widths: list[int], capacity: int, num: int
    ) -> list[npt.NDArray[np.int64]]:
        """The first ``num`` of ``capacity`` bit-packed records, one int64 array per field.

        The records follow each other without gaps, low bits first. The array is padded to whole
        bytes and 8 more, so that a 64-bit word can be read at the start of every field.
        """
        bits = sum(widths)
        block = self._take((capacity * bits + 7) // 8 + 8)
        if num > capacity:
            raise LanguageModelError("the trie's pointers exceed its header", path=self.path)
        words: npt.NDArray[np.uint64] = np.ndarray((len(block) - 7,), "<u8", block, strides=(1,))
        fields = []
        begin = np.arange(num, dtype=np.int64) * bits
        for width in widths:
            field = words[begin >> 3] >> (begin & 7).astype(np.uint64)
            fields.append((field & np.uint64((1 << width) - 1)).astype(np.int64))
            begin = begin + width
        return fields
