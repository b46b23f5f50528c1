"""Times and calibrated confidences of the words of a second pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import kaldialign
import numpy as np
import numpy.typing as npt

from asr_hlg.output.transcript import Word

_GAP = ""
_MAX_LOGIT = 6.0


@dataclass(frozen=True)
class Evidence:
    """Frames [begin, end) of a word, and how badly its phones fit there.

    ``gap`` is the log-probability that the aligned tokens lose against the best ones, for each
    phone of the word; None for a word without a pronunciation.
    """

    begin: int
    end: int
    gap: float | None


@dataclass(frozen=True)
class Calibration:
    """Logistic regression of whether a word is right.

    P(right) = 1 / (1 + exp(-x)) with

        x = bias + posterior · logit(p) + gap · log(1 + g) + mean_gap · log(1 + m)

    where p is the word's posterior in the list of hypotheses, g its acoustic gap, at most
    ``max_gap``, and m the mean of g over the sentence, which is large where the acoustic model does
    not know the accent or the channel.

    Attributes
    ----------
    bias, posterior, gap, mean_gap : float
        Coefficients, fitted by ``scripts/tune_second_pass.py``.
    scale : float
        Factor on the scores of the list before they become posteriors.
    max_gap : float
        Also the gap of a word without a pronunciation.
    """

    bias: float = 0.98
    posterior: float = 0.431
    gap: float = -0.668
    mean_gap: float = -2.684
    scale: float = 0.5
    max_gap: float = 8.0

    def probability(self, posterior: float, gap: float, mean_gap: float) -> float:
        """Probability that a word is right."""
        bounded = min(max(posterior, 1e-6), 1 - 1e-6)
        logit = min(_MAX_LOGIT, max(-_MAX_LOGIT, math.log(bounded / (1 - bounded))))
        x = self.bias + self.posterior * logit + self.gap * math.log1p(gap)
        return 1 / (1 + math.exp(-(x + self.mean_gap * math.log1p(mean_gap))))

    def gaps(self, evidence: Sequence[Evidence]) -> list[float]:
        """Acoustic gap of every word, at most ``max_gap``."""
        limit = self.max_gap
        return [limit if item.gap is None else min(limit, item.gap) for item in evidence]


def timed_words(
    sentences: Sequence[tuple[str, ...]],
    scores: npt.NDArray[np.float64],
    evidence: Sequence[Evidence],
    frame_shift: float,
    calibration: Calibration,
) -> list[Word]:
    """Words of the first sentence with times in seconds and confidences.

    Parameters
    ----------
    sentences : sequence of tuple of str
        All hypotheses, best first.
    scores : np.ndarray
        float64 ``(num_sentences,)``, natural logs.
    evidence : sequence of Evidence
        Of every word of the first sentence.
    frame_shift : float
        In seconds.
    calibration : Calibration
    """
    posteriors = word_posteriors(sentences, scores * calibration.scale)
    gaps = calibration.gaps(evidence)
    mean_gap = float(np.mean(gaps)) if gaps else 0.0
    return [
        Word(
            word,
            item.begin * frame_shift,
            item.end * frame_shift,
            calibration.probability(posterior, gap, mean_gap),
        )
        for word, item, posterior, gap in zip(sentences[0], evidence, posteriors, gaps, strict=True)
    ]


def word_posteriors(
    sentences: Sequence[tuple[str, ...]], scores: npt.NDArray[np.float64]
) -> list[float]:
    """Probability of every word of the first sentence: the sum over sentences that share it."""
    share = np.exp(scores - np.logaddexp.reduce(scores))
    total = np.zeros(len(sentences[0]))
    for sentence, weight in zip(sentences, share, strict=True):
        if weight < 1e-6:
            continue
        position = 0
        for own, other in kaldialign.align(list(sentences[0]), list(sentence), _GAP):
            if own:
                total[position] += weight * (own == other)
                position += 1
    return [float(value) for value in total]
