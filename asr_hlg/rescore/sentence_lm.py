"""Log-probabilities of sentences under pocketsphinx's English trigram, by its own library.

>>> lm = SentenceLm.load()
>>> lm.score("the cat sat on the mat".split())
-36.6

The library maps the trie into memory in 30 ms, where reading it as a model that can be compiled
(:mod:`asr_hlg.lm.sphinx`) takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from asr_hlg.lm.sphinx import resource

UNKNOWN = -15.0
"""Natural-log probability of a word that the model lacks: about one in three million."""

_LOG_BASE = math.log(1.0001)  # of the library's integers
_IMPOSSIBLE = -1_000_000


class SentenceLm:
    """A back-off trigram that scores whole sentences.

    Parameters
    ----------
    model : pocketsphinx.NGramModel
    """

    def __init__(self, model: Any):
        self._model = model

    @classmethod
    def load(cls, source: str = "pocketsphinx:lm") -> SentenceLm:
        """Load a trie; a `LanguageModelError` if the package or the file is missing."""
        path = resource(source)
        import pocketsphinx

        return cls(
            pocketsphinx.NGramModel(pocketsphinx.Config(), pocketsphinx.LogMath(), str(path))
        )

    def score(self, words: Sequence[str]) -> float:
        """Natural-log probability of a sentence, its end included."""
        total = 0.0
        before, last = "", "<s>"
        for word in (*words, "</s>"):
            history = [last, before] if before else [last]
            value = self._model.prob([word, *history])
            total += UNKNOWN if value < _IMPOSSIBLE else value * _LOG_BASE
            before, last = last, word
        return total
