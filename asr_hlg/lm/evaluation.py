"""Perplexity of a model on a text.

``kaldingram`` computes it too, but skips every sentence with an unknown word, where the usual
definition (SRILM's) skips that word alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.corpus import Sentences, encode, positions, split
from asr_hlg.lm.ngrams import EOS, ArpaModel, Floats

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Perplexity:
    """Log-probability of a text under a model, and the counts that its perplexity is made of.

    Attributes
    ----------
    log_prob : float
        Natural log, of all known words and sentence ends.
    num_sentences, num_words : int
        Of the text, unknown words included.
    num_unknown : int
        Words that are not in the model; they are not in ``log_prob`` unless it has ``<unk>``.
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
    """Compute the perplexity of a model on a text.

    Parameters
    ----------
    model : ArpaModel
        With ``<s>`` and ``</s>``, since sentence ends are predicted too.
    sentences : iterable of str or of sequences of str

    Raises
    ------
    LanguageModelError
        If there is no sentence, or the model has no ``</s>``.
    """
    texts = split(sentences)
    log_prob = token_log_probs(model, texts, model.word_ids.get(UNKNOWN, -1))
    log_prob = log_prob[~np.isnan(log_prob)]
    known = model.word_ids.keys() - {UNKNOWN}
    return Perplexity(
        log_prob=float(log_prob.sum()),
        num_sentences=len(texts),
        num_words=sum(len(text) for text in texts),
        num_unknown=sum(word not in known for text in texts for word in text),
        num_predicted=len(log_prob),
    )


def token_log_probs(model: ArpaModel, texts: list[list[str]], unknown: int = -1) -> Floats:
    """Log-probability of each word and sentence end, given the words before it.

    Parameters
    ----------
    model : ArpaModel
    texts : list of list of str
    unknown : int
        The id that takes the place of words that are not in the model.

    Returns
    -------
    np.ndarray
        float64 ``(num_words + num_sentences,)``; NaN for a word with the id -1.

    Raises
    ------
    LanguageModelError
        If there is no sentence, or the model has no ``</s>``.
    """
    if not texts:
        raise LanguageModelError("the text has no sentence")
    if EOS not in model.word_ids:
        raise LanguageModelError(f"the language model has no {EOS}")
    ids = encode(texts, model.word_ids, unknown)
    position = positions(texts)
    # n-grams that end at each token; -1 before the beginning of the sentence
    ngrams = np.full((len(ids), model.order), -1, dtype=np.int64)
    for distance in range(model.order):
        rows = np.flatnonzero(position >= distance)
        ngrams[rows, model.order - 1 - distance] = ids[rows - distance]
    predicted = position > 0
    return np.where(ids[predicted] < 0, np.nan, model.log_prob(ngrams[predicted]))
