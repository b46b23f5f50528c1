"""G from a list of phrases: the bigram model that Vosk makes of a recogniser's list.

>>> bigrams([[5, 6], [7]])        # word ids
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from asr_hlg.errors import GrammarError
from asr_hlg.files import text_lines
from asr_hlg.fst.arcs import Arcs

DISCOUNT = 0.5
"""Part of the counts that a state keeps; the rest backs off."""

_END = 0


def read_phrases(path: Path) -> tuple[str, ...]:
    """Phrases of a file: a list in JSON, as Vosk's recognisers take it, or one phrase a line.

    Raises
    ------
    GrammarError
        If there are no phrases, or the JSON is not a list of strings.
    """
    lines = [line.strip() for _, line in text_lines(path)]
    phrases: Sequence[object] = [line for line in lines if line]
    if phrases and lines[0].startswith('["'):
        try:
            phrases = json.loads(" ".join(lines))
        except ValueError as error:
            raise GrammarError(f"is not valid JSON: {error}", path=path) from None
    found = tuple(phrase for phrase in phrases if isinstance(phrase, str) and phrase.strip())
    if not found or len(found) < len(phrases):
        raise GrammarError(
            "has no list of phrases", path=path, remedy='write one a line, or ["a phrase", "other"]'
        )
    return found


def bigrams(phrases: Sequence[Sequence[int]]) -> Arcs:
    """Acceptor of the phrases and of other sequences of their pairs of words.

    There is a state for each word, after which the words and ends that follow it in the list have
    the probability `DISCOUNT` × their share, and a state to which these back off, in which all
    words and ends have `DISCOUNT` × their share of all. The latter is the start. Since nothing
    backs off from there, its probabilities do not sum to 1, as in Vosk.

    Parameters
    ----------
    phrases : sequence of sequence of int
        Ids of words, from 1. A phrase without words is an end.
    """
    following: dict[int, Counter[int]] = {}
    anywhere: Counter[int] = Counter()
    for phrase in phrases:
        for word, after in pairwise([*phrase, _END]):
            following.setdefault(word, Counter())[after] += 1
        anywhere.update([*phrase, _END])
    state_of = {word: state for state, word in enumerate(sorted(following), start=1)}
    rows: list[tuple[int, int, int, float]] = []  # source, target, word, score
    final = np.full(len(state_of) + 1, -np.inf, np.float32)
    for state, counts in [(0, anywhere), *((state_of[w], c) for w, c in following.items())]:
        total = counts.total()
        if state:
            rows.append((state, 0, 0, float(np.log(1 - DISCOUNT))))
        for word, count in counts.items():
            score = float(np.log(DISCOUNT * count / total))
            if word == _END:
                final[state] = score
            else:
                rows.append((state, state_of[word], word, score))
    rows.sort(key=lambda row: (row[0], row[2]))
    src, dst, label = (np.array([row[i] for row in rows], np.int32) for i in range(3))
    scores = np.array([row[3] for row in rows], np.float32)
    return Arcs(src, dst, label, label, scores, final)


def ids_of(
    phrases: Sequence[str], words: Mapping[str, int]
) -> tuple[list[list[int]], tuple[str, ...]]:
    """Ids of the words of phrases, and the words that are unknown, which are left out."""
    unknown = {word: None for phrase in phrases for word in phrase.split() if word not in words}
    ids = [[words[word] for word in phrase.split() if word in words] for phrase in phrases]
    return ids, tuple(unknown)
