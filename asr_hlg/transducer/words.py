"""Words from the tokens of a search without a graph."""

from __future__ import annotations

from collections.abc import Sequence

from asr_hlg.lexicon import Lexicon


class Speller:
    """Splitter of token sequences into the words that they spell.

    >>> Speller(lexicon).words(["T", "UW", "S", "EY", "T"])
    [('two', 0, 2), ('eight', 3, 5)]
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._words: dict[tuple[str, ...], str] = {}
        for entry in lexicon.entries:
            for tokens in lexicon.spellings(entry.word):
                self._words.setdefault(tokens, entry.word)
        self._lengths = sorted({len(tokens) for tokens in self._words}, reverse=True)

    def words(self, tokens: Sequence[str]) -> list[tuple[str, int, int]]:
        """Words, each with its range [begin, end) of tokens.

        The split that skips the fewest tokens, and among those one with the fewest words. Of
        homophones, the first in the lexicon is taken.
        """
        # Dynamic programming over prefixes: tokens skipped and number of words of the best split
        # of the first i tokens, and the start and word of its last part (None: a skipped token).
        best: list[tuple[int, int]] = [(0, 0)]
        back: list[tuple[int, str | None]] = [(0, None)]
        for end in range(1, len(tokens) + 1):
            skipped, count = best[end - 1]
            cost = skipped + 1, count
            step: tuple[int, str | None] = (end - 1, None)
            for length in self._lengths:
                word = self._words.get(tuple(tokens[end - length : end])) if length <= end else None
                if word is None:
                    continue
                skipped, count = best[end - length]
                if (skipped, count + 1) < cost:
                    cost, step = (skipped, count + 1), (end - length, word)
            best.append(cost)
            back.append(step)
        words = []
        end = len(tokens)
        while end:
            begin, word = back[end]
            if word is not None:
                words.append((word, begin, end))
            end = begin
        return words[::-1]
