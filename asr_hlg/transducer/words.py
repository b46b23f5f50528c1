"""From tokens to words, where no graph has seen to it."""

from __future__ import annotations

from collections.abc import Sequence

from asr_hlg.lexicon import Lexicon


class Speller:
    """Reads words off token sequences: what greedy search or a beam search without a graph says.

    >>> Speller(lexicon).words(["T", "UW", "S", "EY", "T"])
    [('two', 0, 2), ('eight', 3, 5)]
    """

    def __init__(self, lexicon: Lexicon):
        self._word: dict[tuple[str, ...], str] = {}
        for entry in lexicon.entries:
            for tokens in lexicon.spellings(entry.word):
                self._word.setdefault(tokens, entry.word)
        self._lengths = sorted({len(tokens) for tokens in self._word}, reverse=True)

    def words(self, tokens: Sequence[str]) -> list[tuple[str, int, int]]:
        """Words, each with its tokens [begin, end).

        Of all ways to take pronunciations from the sequence, one that leaves out the fewest
        tokens, and of these one with the fewest words. Of homophones the lexicon's first is taken.
        """
        # best[i]: tokens left out and words of the best reading of the first i, and its last step.
        best: list[tuple[int, int]] = [(0, 0)]
        back: list[tuple[int, str | None]] = [(0, None)]
        for end in range(1, len(tokens) + 1):
            left_out, count = best[end - 1]
            choice = left_out + 1, count
            step: tuple[int, str | None] = (end - 1, None)
            for length in self._lengths:
                word = self._word.get(tuple(tokens[end - length : end])) if length <= end else None
                if word is None:
                    continue
                left_out, count = best[end - length]
                if (left_out, count + 1) < choice:
                    choice, step = (left_out, count + 1), (end - length, word)
            best.append(choice)
            back.append(step)
        found = []
        end = len(tokens)
        while end:
            begin, word = back[end]
            if word is not None:
                found.append((word, begin, end))
            end = begin
        return found[::-1]
