"""The errors that a user can cause, each with the place and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class AsrHlgError(Exception):
    """What went wrong, where, and what to do about it.

    The command line prints it as one line, without a traceback.

    Parameters
    ----------
    message : str
        What is wrong, in the user's words.
    path : str or Path, optional
        The file that is at fault.
    line : int, optional
        The line in that file, counted from 1.
    remedy : str, optional
        What the user can do now.
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

    def __reduce__(self):
        # Exception pickles positional arguments only; workers send these errors between processes.
        return _rebuild, (type(self), self.message, self.path, self.line, self.remedy)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        text = f"{place}: {self.message}" if place else self.message
        return _on_one_line(f"{text} ({self.remedy})" if self.remedy else text)


class LexiconError(AsrHlgError):
    """A lexicon file that is malformed, or a word that it lacks."""


class LanguageModelError(AsrHlgError):
    """An ARPA file, a trie or a training text that cannot become a G."""


class GrammarError(AsrHlgError):
    """A grammar with a syntax error or a word that is not in the vocabulary."""


class HotwordError(AsrHlgError):
    """A list of hotwords that is malformed, or a hotword that cannot be said."""


class GraphError(AsrHlgError):
    """A recipe, a compilation or a compiled graph that does not fit together."""


class AudioError(AsrHlgError):
    """A recording that cannot be read, is empty, or holds no sound."""


class DataError(AsrHlgError):
    """A corpus for training that is empty, lacks transcripts or alignments, or cannot be read."""


class ModelError(AsrHlgError):
    """An acoustic model that cannot be loaded or does not fit the graph."""


class WorkerError(AsrHlgError):
    """Work at which a process died, hung or ran out of memory."""


class LatticeError(AsrHlgError):
    """A lattice that is empty or cannot be read."""


class OptionError(AsrHlgError):
    """Options that contradict each other or lie outside their range."""


class TrainingError(AsrHlgError):
    """A training that cannot begin, cannot go on, or a checkpoint that does not fit it."""


def listed(faulty: Sequence[str], most: int = 5) -> str:
    """The first few faulty utterances, as a message names them; it counts the others."""
    more = len(faulty) - most
    shown = "; ".join(faulty[:most])
    return f"{shown}; and {more} more utterances" if more > 0 else shown


def _on_one_line(text: str) -> str:
    """With what a terminal would not show as it stands in a file's name, or obey, written out."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _rebuild(cls, message, path, line, remedy):
    return cls(message, path=path, line=line, remedy=remedy)
