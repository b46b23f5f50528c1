"""Hotwords in the second pass: text that Whisper is prompted with, and boosts of scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from asr_hlg.graph.adapt.hotwords import Hotword

_MAX_PHRASES = 40
"""In a prompt; Whisper reads 223 tokens of it, and long ones mislead it."""


class Boosts:
    """A list of hotwords.

    Parameters
    ----------
    hotwords : iterable of Hotword
    """

    def __init__(self, hotwords: Iterable[Hotword]):
        self._by_first_word: dict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
        self._phrases: list[tuple[str, ...]] = []
        for hotword in hotwords:
            words = tuple(word.casefold() for word in hotword.words)
            self._by_first_word[words[0]].append((words, hotword.boost))
            self._phrases.append(hotword.words)

    def score(self, words: Sequence[str]) -> float:
        """Sum of the boosts of all words that belong to a phrase, each counted once.

        Example
        -------
        >>> Boosts([Hotword(("bank", "of", "scotland"), 2.0)]).score("a bank of scotland".split())
        6.0
        """
        total, position = 0.0, 0
        while position < len(words):
            found = [
                (len(phrase), boost)
                for phrase, boost in self._by_first_word.get(words[position], ())
                if tuple(words[position : position + len(phrase)]) == phrase
            ]
            length, boost = max(found, default=(1, 0.0))
            total += length * boost
            position += length
        return total

    def prompt(self, sentences: Iterable[Sequence[str]]) -> str:
        """Text with the hotwords, for Whisper to read before it transcribes; empty without any.

        Parameters
        ----------
        sentences : iterable of sequence of str
            The graph's hypotheses. Of a long list of hotwords, those that share a word with them
            come first.
        """
        if len(self._phrases) > _MAX_PHRASES:
            spoken = {word for sentence in sentences for word in sentence}
            chosen = [
                phrase
                for phrase in self._phrases
                if spoken.intersection(word.casefold() for word in phrase)
            ]
        else:
            chosen = self._phrases
        names = [" ".join(map(_capitalised, phrase)) for phrase in chosen[:_MAX_PHRASES]]
        return f"Names: {', '.join(names)}." if names else ""


def _capitalised(word: str) -> str:
    return word[:1].upper() + word[1:]
