"""Correction of the times of a CTC network, whose phones are marked late and for one frame.

>>> corrected(words, samples, sample_rate=16000)

For words whose phones the hybrid HMM of :mod:`asr_hlg.align.times` lacks: other languages, other
models. A word begins between the peak of the phone before it and the peak of its first phone::

    start = peak − lateness − 0.42 · min(gap between both peaks, 0.15 s)

and never before the end of the word before it. The lateness depends on the model. It is measured
on the recording itself, where a word follows a pause: there the sound begins where its energy
rises. The factor of the gap is a robust fit to four voices of flite, whose segments are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from asr_hlg.output.transcript import Word

Floats = npt.NDArray[np.float32]

LATENESS = 0.05
"""Seconds: that of the model hama, and the prior of the estimate for others."""

_PRIOR_WEIGHT = 2  # pauses
_GAP_FACTOR, _MAX_GAP = 0.42, 0.15
_PAUSE = 0.3  # seconds between peaks after which the onset of a word is looked for
_MOST = 0.25  # seconds that a peak may be late after a pause
_FRAME = 0.01  # seconds of one value of the energy
_RANGE = 15.0  # dB between the quietest and the loudest frames, without which nothing is measured
_RISE_TIME = 0.015  # seconds from the start of a word to its onset: closures, weak fricatives
_RISE = 0.3  # of that range: the level at which a word has begun


def corrected(words: Sequence[Word], samples: Floats, sample_rate: int) -> list[Word]:
    """Words that begin earlier than their first phone is marked.

    Parameters
    ----------
    words : sequence of Word
        In order, from the peak of their first phone to the peak of their last.
    samples : np.ndarray
        float32 ``(num_samples,)``: the recording; may be empty, which leaves :data:`LATENESS`.
    sample_rate : int
        Hz.
    """
    late = lateness(words, samples, sample_rate)
    result: list[Word] = []
    before = 0.0
    for word in words:
        gap = min(max(word.start - before, 0.0), _MAX_GAP) if result else _MAX_GAP
        start = min(word.start, max(before, word.start - late - _GAP_FACTOR * gap))
        result.append(replace(word, start=start, end=max(word.end, start)))
        before = word.end
    return result


def lateness(words: Sequence[Word], samples: Floats, sample_rate: int) -> float:
    """Lateness of words after pauses, in seconds, from the onsets of the sound; 0 to 0.15.

    ``samples`` is float32 ``(num_samples,)``. The share of the gap between two peaks that
    :func:`corrected` subtracts is not part of it.
    """
    after_pause = [
        word.start
        for number, word in enumerate(words)
        if not number or word.start - words[number - 1].end >= _PAUSE
    ]
    levels = _levels(samples, sample_rate)
    onsets = [_onset(levels, peak) for peak in after_pause]
    seen = [
        peak - onset + _RISE_TIME - _GAP_FACTOR * _MAX_GAP
        for peak, onset in zip(after_pause, onsets, strict=True)
        if onset is not None
    ]
    if not seen:
        return LATENESS
    weighted = len(seen) * float(np.median(seen)) + _PRIOR_WEIGHT * LATENESS
    return min(max(weighted / (len(seen) + _PRIOR_WEIGHT), 0.0), 0.15)


def _levels(samples: Floats, sample_rate: int) -> Floats:
    """Energy of every 10 ms, in dB."""
    size = max(1, round(_FRAME * sample_rate))
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    levels: Floats = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-9)
    return levels


def _onset(levels: Floats, peak: float) -> float | None:
    """Where the sound that lasts until a peak begins; None where it does not stand out."""
    end = min(round(peak / _FRAME), len(levels))
    begin = max(0, end - round(_MOST / _FRAME))
    if end - begin < 2:
        return None
    quiet, loud = np.percentile(levels, [10, 90])
    quiet_before = levels[begin:end] < quiet + _RISE * (loud - quiet)
    if loud - quiet < _RANGE or not quiet_before.any() or quiet_before[-1]:
        return None
    return float((begin + np.flatnonzero(quiet_before)[-1] + 1) * _FRAME)
