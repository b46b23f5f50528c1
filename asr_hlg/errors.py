"""Errors that a user can cause, with file, line and remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class AsrHlgError(Exception):
    """Base class of all errors that a user can cause.

    The command line prints such an error as one line, without a traceback.

    Parameters
    ----------
    message : str
        What is wrong.
    path : str or Path, optional
        Faulty file.
    line : int, optional
        Faulty line of that file, counted from 1.
    remedy : str, optional
        What the user can do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ):
        super().__init__(message)
        self.message = message
        self.path = None if path is None else str(path)
        self.line = line
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception pickles only positional arguments, and workers send errors between processes.
        return _rebuild, (type(self), self.message, self.path, self.line, self.remedy)

    def __str__(self) -> str:
        location = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        text = f"{location}: {self.message}" if location else self.message
        return on_one_line(f"{text} ({self.remedy})" if self.remedy else text)


class LexiconError(AsrHlgError):
    """Malformed lexicon, or a word that is not in the lexicon."""


class LanguageModelError(AsrHlgError):
    """Faulty ARPA file or Sphinx trie, or unsuitable training text of a language model."""


class GrammarError(AsrHlgError):
    """Grammar with a syntax error, or with a word that is not in the vocabulary."""


class HotwordError(AsrHlgError):
    """Malformed list of hotwords, or a hotword without a pronunciation."""


class GraphError(AsrHlgError):
    """Faulty recipe, compilation that failed, or compiled graph that is damaged or unsuitable."""


class AudioError(AsrHlgError):
    """Recording that cannot be read, or is empty."""


class SilenceError(AudioError):
    """Recording whose samples are all equal."""


class DataError(AsrHlgError):
    """Training corpus that is empty, unreadable, or without transcripts or alignments."""


class ModelError(AsrHlgError):
    """Acoustic model that cannot be loaded or does not match the graph."""


class WorkerError(AsrHlgError):
    """Worker process that died, hung or ran out of memory."""


class LatticeError(AsrHlgError):
    """Lattice that is empty or cannot be read."""


class OptionError(AsrHlgError):
    """Options that contradict each other or are out of range."""


class TrainingError(AsrHlgError):
    """Training that cannot start or continue, or a checkpoint of another training."""


OnItemError = Callable[[AsrHlgError], None]
"""Receives the error of one item of an input, such as a line of a list; the item is left out."""


def stop(error: AsrHlgError) -> None:
    """Raise the error of an item: the others are not used either."""
    raise error


class ItemErrors:
    """Errors of single items of the inputs, which are left out while the others are used.

    An object of it is an `OnItemError`.

    Parameters
    ----------
    show : callable
        Called with the text of each error, up to ``limit`` of them.
    strict : bool
        Raise the first error instead.
    limit : int
        Further errors are only counted.

    Attributes
    ----------
    count : int
        Number of errors so far.
    """

    def __init__(self, show: Callable[[str], None], strict: bool = False, limit: int = 20):
        self._show, self._strict, self._limit = show, strict, limit
        self.count = 0

    def __call__(self, error: AsrHlgError) -> None:
        """Take note of the error of an item."""
        if self._strict:
            raise error
        self.count += 1
        if self.count <= self._limit:
            self._show(str(error))

    def summary(self) -> str:
        """Number of items that were left out, for a message at the end; empty if there are none."""
        if not self.count:
            return ""
        items = "1 item was" if self.count == 1 else f"{self.count:,} items were"
        shown = f"; the first {self._limit} are named above" if self.count > self._limit else ""
        return f"{items} left out of lists that were read{shown} (--strict stops at the first)"


def listed(faulty: Sequence[str], limit: int = 5, kind: str = "utterances") -> str:
    """First few faulty utterances, and the number of the others, for a message."""
    more = len(faulty) - limit
    shown = "; ".join(faulty[:limit])
    return f"{shown}; and {more} more {kind}" if more > 0 else shown


def on_one_line(text: str) -> str:
    """Escape control and other unprintable characters, which file names may contain."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _rebuild(
    cls: type[AsrHlgError], message: str, path: str | None, line: int | None, remedy: str | None
) -> AsrHlgError:
    """Unpickle an error."""
    return cls(message, path=path, line=line, remedy=remedy)
