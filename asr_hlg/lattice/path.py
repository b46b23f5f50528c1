"""Paths of a lattice: words with times, alignment and score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asr_hlg.errors import LatticeError

Segment = tuple[str, int, int]
"""A token of the lexicon and the frames [start, end) that it spans."""


_Backpointer = tuple[Any, int, int]  # of the previous word, and a word's tokens [begin, end)


@dataclass(frozen=True)
class Path:
    """A word sequence with its best alignment.

    Attributes
    ----------
    words : tuple of str
        The words, without silence.
    score : float
        Natural-log score. For Viterbi that of the best alignment, ``graph_score +
        acoustic_score``; for a forward path the sum over all alignments in the lattice.
    graph_score, acoustic_score : float
        Shares of the best alignment: transitions, lexicon and language model; scaled acoustics.
    tokens : tuple of (str, int, int)
        Phones (or subwords) with the frames [start, end) that each spans.
    spans : tuple of (float, float), optional
        Frames [start, end) of every word, if they do not follow from ``tokens``; averages over
        several alignments may lie between frames.
    confidences : tuple of float, optional
        Posterior of every word, where it has been computed.
    """

    words: tuple[str, ...]
    score: float
    graph_score: float
    acoustic_score: float
    tokens: tuple[Segment, ...] = ()
    spans: tuple[tuple[float, float], ...] | None = None
    confidences: tuple[float, ...] | None = None

    @property
    def text(self) -> str:
        """The words, separated by blanks."""
        return " ".join(self.words)


NO_PATH = Path((), float("-inf"), float("-inf"), float("-inf"))
"""The path of an utterance whose lattice is empty."""


def word_spans(
    words: Sequence[str],
    tokens: Sequence[Segment],
    pronunciations: Callable[[str], Sequence[Sequence[str]]],
    fillers: frozenset[str] = frozenset(),
    is_partial: bool = False,
) -> list[tuple[int, int]]:
    """The frames [start, end) of each word of a path, from the frames of its tokens.

    The tokens are a pronunciation of every word in turn, with fillers (optional silence)
    anywhere between them. A path through H∘L∘G always has such a segmentation; the first one
    that the search finds is returned.

    A partial path, which ends anywhere, may lack the last tokens of its last word, since a graph
    writes a word on the first token that no other word has there; or have the first tokens of a
    word that is yet to be written.

    Raises
    ------
    LatticeError
        If the tokens are not the words' pronunciations.
    """
    names = [token for token, _, _ in tokens]
    visited: set[tuple[int, int]] = set()
    # Depth first, with an explicit stack: a long recording has more words than Python's recursion
    # limit.
    stack: list[tuple[int, int, _Backpointer | None]] = [(0, 0, None)]
    while stack:
        word, at, back = stack.pop()
        if word == len(words) and (is_partial or all(name in fillers for name in names[at:])):
            return _spans(back, tokens)
        if (word, at) in visited:
            continue
        visited.add((word, at))
        if at < len(names) and names[at] in fillers:
            stack.append((word, at + 1, back))
        if word < len(words):
            for phones in pronunciations(words[word]):
                end = at + len(phones)
                if is_partial and word == len(words) - 1 and at < len(names) < end:
                    end = len(names)
                    phones = phones[: end - at]
                if tuple(names[at:end]) == tuple(phones):
                    stack.append((word + 1, end, (back, at, end)))
    raise LatticeError(f"tokens {' '.join(names)} do not spell {' '.join(words)}")


def _spans(back: _Backpointer | None, tokens: Sequence[Segment]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    while back is not None:
        back, begin, end = back
        spans.append((tokens[begin][1], tokens[end - 1][2]))
    return spans[::-1]
