"""Times of words and phones by a hybrid HMM with frames of 10 ms.

    model = TimeModel.shipped()
    words = model.refine(samples, words, pronunciations=graph.spellings)

A CTC network marks a phone in one late frame, so that its words begin 0.1 s late and its phones
have no extent. The HMM aligns the same words with the sound once more, each within a few tenths of
a second of where CTC has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.numpy_tdnn import NumpyTdnn
from asr_hlg.align import chain
from asr_hlg.align.lateness import corrected
from asr_hlg.output.transcript import Word

Pronunciations = Callable[[str], Sequence[Sequence[str]]]
Floats = npt.NDArray[np.float32]

SHIPPED = Path(__file__).with_name("english.npz")
"""The model of scripts/train_times.py: English, 39 phones and silence, three states each."""

BEFORE, AFTER = 0.30, 0.20
"""Seconds before the start and after the end, as CTC has them, in which a word may lie."""

SELF_LOOP = 0.6
"""Probability that a state repeats, as in graphs/align-en.toml."""

_SILENCE = "SIL"
_NUM_STATES = 3
_MAX_SECONDS = 60.0  # of sound that is aligned at once


class TimeModel:
    """Finds the times of words and phones whose approximate times are known.

    Parameters
    ----------
    network : NumpyTdnn
        Its columns are the states ``t_0 t_1 t_2`` of every token t, ``SIL`` among them.
    """

    def __init__(self, network: NumpyTdnn):
        self.network = network
        column = {name: index for index, name in enumerate(network.tokens)}
        phones = {name.rsplit("_", 1)[0] for name in network.tokens if "_" in name}
        self._columns: dict[str, tuple[int, ...]] = {
            phone: tuple(column[f"{phone}_{state}"] for state in range(_NUM_STATES))
            for phone in phones
        }
        self._log_priors = _levelled(network.log_priors, self.silence)

    @staticmethod
    @cache
    def shipped() -> TimeModel:
        """The model of English that the package contains."""
        return TimeModel(NumpyTdnn.read(SHIPPED))

    def covers(self, phones: Sequence[str]) -> bool:
        """Whether the model has all these phones."""
        return all(phone in self._columns for phone in phones)

    @property
    def silence(self) -> tuple[int, ...]:
        """Columns of the states of silence."""
        return self._columns[_SILENCE]

    def columns(self, phones: Sequence[str]) -> list[int]:
        """Columns of the states of some phones."""
        return [column for phone in phones for column in self._columns[phone]]

    def scores(self, samples: Floats, sample_rate: int) -> Floats:
        """Log-likelihoods p(s|x)/p(s) ``(num_frames, num_columns)``, up to a constant per frame.

        Silence counts as frequent as an average state: with its own prior, words are up to 30 ms
        too long at pauses.
        """
        return self.network.logits(samples, sample_rate) - self._log_priors

    def refine(
        self, samples: Floats, words: Sequence[Word], pronunciations: Pronunciations
    ) -> tuple[list[Word], list[list[Word]]]:
        """Words with new starts and ends, and the phones of each.

        Words have no phones where the model lacks a phone of all their pronunciations, or cannot
        align them: their starts are corrected by :mod:`asr_hlg.align.lateness`.

        Parameters
        ----------
        samples : np.ndarray
            float32 ``(num_samples,)`` in [-1, 1], at the sample rate of the network.
        words : sequence of Word
            In order; times in seconds from the first sample.
        pronunciations : callable
            Maps a word to its pronunciations.

        Returns
        -------
        words : list of Word
        phones : list of list of Word
            Phones have the confidence of their word.
        """
        spelled = [
            [tuple(each) for each in pronunciations(word.text) if each and self.covers(each)]
            for word in words
        ]
        result = corrected(words, samples, self.network.sample_rate)
        phones: list[list[Word]] = [[] for _ in words]
        for begin, end in _groups(words, spelled):
            first = max(0.0, words[begin].start - BEFORE - 0.2)
            if begin:
                first = max(first, min(words[begin].start, words[begin - 1].end))
            last = words[end - 1].end + AFTER + 0.2
            if end < len(words):
                last = min(last, max(words[end - 1].end, words[end].start - BEFORE / 2))
            aligned = self._align(samples, first, last, words[begin:end], spelled[begin:end])
            for number, (word, its_phones) in enumerate(aligned, start=begin):
                result[number], phones[number] = word, its_phones
        for number, of_word in enumerate(phones):
            if not of_word:
                result[number] = _between_neighbours(result, number)
        return result, phones

    def _align(
        self,
        samples: Floats,
        first: float,
        last: float,
        words: Sequence[Word],
        spelled: Sequence[Sequence[tuple[str, ...]]],
    ) -> list[tuple[Word, list[Word]]]:
        """Words, with their phones, between two times; nothing where they cannot be aligned."""
        rate, shift = self.network.sample_rate, self.network.frame_shift
        part = samples[int(first * rate) : int(last * rate)]
        if len(part) < rate * shift:
            return []
        scores = self.scores(part, rate)
        spans = [
            (int((word.start - BEFORE - first) / shift), int((word.end + AFTER - first) / shift))
            for word in words
        ]
        columns = [[self.columns(phones) for phones in options] for options in spelled]
        linked, owner = chain.make(columns, spans, self.silence, len(scores))
        path, _ = linked.align(scores, SELF_LOOP)
        aligned = []
        for hmm, frames in path:
            number, choice = owner[hmm]
            if number >= 0:
                boundaries = first + shift * frames[::_NUM_STATES].astype(float)
                times = np.minimum(boundaries, len(samples) / rate).tolist()
                word = replace(words[number], start=times[0], end=times[-1])
                phones = [
                    Word(phone, start, end, word.confidence)
                    for phone, start, end in zip(
                        spelled[number][choice], times[:-1], times[1:], strict=True
                    )
                ]
                aligned.append((word, phones))
        return aligned


def _between_neighbours(words: Sequence[Word], number: int) -> Word:
    """A word without what lies in the word before it or the one after it."""
    word = words[number]
    first = words[number - 1].end if number else 0.0
    last = words[number + 1].start if number + 1 < len(words) else word.end
    start = max(word.start, first)
    return replace(word, start=start, end=max(start, min(word.end, last)))


def _levelled(log_priors: Floats | None, silence: Sequence[int]) -> Floats:
    """Log-priors of all columns, those of silence replaced by the mean of the others."""
    if log_priors is None:
        return np.zeros(1, np.float32)
    result = log_priors.copy()
    result[list(silence)] = np.delete(log_priors, list(silence)).mean()
    return result


def _groups(
    words: Sequence[Word], spelled: Sequence[Sequence[tuple[str, ...]]]
) -> list[tuple[int, int]]:
    """Ranges of consecutive words that are aligned at once: all spelled, and not too long."""
    groups: list[tuple[int, int]] = []
    begin = None
    for number, word in enumerate(words):
        if not spelled[number]:
            begin = None
        elif begin is None or word.end - words[begin].start > _MAX_SECONDS:
            begin = number
            groups.append((number, number + 1))
        else:
            groups[-1] = (begin, number + 1)
    return groups
