"""How well a model predicts a text.

``kaldingram`` reports perplexity too, but leaves out every sentence with a word that the model
does not know, where the usual report (SRILM's) leaves out that word alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.corpus import Sentences, encode, places, split
from asr_hlg.lm.ngrams import EOS, ArpaModel

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Perplexity:
    """A text's probability under a model.

    Attributes
    ----------
    log_prob : float
        Natural log, of all known words and sentence ends.
    num_sentences, num_words : int
        What the text has, unknown words included.
    num_unknown : int
        Words that the model does not know; they are not in ``log_prob`` unless it has ``<unk>``.
    num_predicted : int
        Words and sentence ends that are in ``log_prob``.
    """

    log_prob: float
    num_sentences: int
    num_words: int
    num_unknown: int
    num_predicted: int

    @property
    def value(self) -> float:
        """exp(-mean log-probability of a word or sentence end)."""
        return float(np.exp(-self.log_prob / self.num_predicted))

    def __str__(self) -> str:
        return (
            f"perplexity {self.value:.2f}: {self.num_sentences} sentences, {self.num_words} words, "
            f"{self.num_unknown} unknown"
        )


def perplexity(model: ArpaModel, sentences: Sentences) -> Perplexity:
    """Measure how well a model predicts a text.

    Parameters
    ----------
    model : ArpaModel
        With ``<s>`` and ``</s>``, since the ends of sentences are predicted too.
    sentences : iterable of str or of sequences of str

    Raises
    ------
    LanguageModelError
        If there is no sentence, or the model has no ``</s>``.
    """
    texts = split(sentences)
    if not texts:
        raise LanguageModelError("there is no sentence to measure perplexity on")
    if EOS not in model.word_ids:
        raise LanguageModelError(f"the language model has no {EOS}")
    ids = encode(texts, model.word_ids, model.word_ids.get(UNKNOWN, -1))
    place = places(texts)
    # the words before each token and itself; -1 before the beginning of the sentence
    windows = np.full((len(ids), model.order), -1, dtype=np.int64)
    for back in range(model.order):
        inside = np.flatnonzero(place >= back)
        windows[inside, model.order - 1 - back] = ids[inside - back]
    log_prob = model.log_prob(windows[(place > 0) & (ids >= 0)])
    num_words = sum(len(text) for text in texts)
    known = model.word_ids.keys() - {UNKNOWN}
    return Perplexity(
        log_prob=float(log_prob.sum()),
        num_sentences=len(texts),
        num_words=num_words,
        num_unknown=sum(word not in known for text in texts for word in text),
        num_predicted=len(log_prob),
    )
