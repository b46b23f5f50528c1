"""States of the hybrid HMM within phones whose boundaries are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr_hlg.align.times import Floats, TimeModel
from asr_hlg.output.transcript import Word


def of_phones(times: TimeModel, samples: Floats, phones: Sequence[Word]) -> list[Word]:
    """The states of phones, from the first to the last, with the times of the best path.

    Parameters
    ----------
    times : TimeModel
    samples : np.ndarray
        float32 ``(num_samples,)`` at the sample rate of the model.
    phones : sequence of Word
        Boundaries in seconds from the first sample. Phones that the model lacks are left out.

    Returns
    -------
    list of Word
        ``AE_0``, ``AE_1``, ``AE_2`` of a phone ``AE``; they fill the phone.
    """
    if not phones:
        return []
    rate, shift = times.network.sample_rate, times.network.frame_shift
    scores = times.scores(samples, rate)
    states: list[Word] = []
    for phone in phones:
        if not times.covers([phone.text]):
            continue
        columns = times.columns([phone.text])
        first = round(phone.start / shift)
        last = min(len(scores), round(phone.end / shift))
        if last - first >= len(columns):
            inner = [first + cut for cut in best_cuts(scores[first:last, columns])]
            cuts = [phone.start, *(cut * shift for cut in inner), phone.end]
        else:
            cuts = np.linspace(phone.start, phone.end, len(columns) + 1).tolist()
        states += [
            Word(f"{phone.text}_{k}", cuts[k], cuts[k + 1], phone.confidence)
            for k in range(len(columns))
        ]
    return states


def best_cuts(scores: Floats) -> list[int]:
    """First frames of all states but the first, on the best path from the first to the last.

    Parameters
    ----------
    scores : np.ndarray
        float32 ``(num_frames, num_states)``: log-likelihoods, with no fewer frames than states.
    """
    num_frames, num_states = scores.shape
    value = np.full(num_states, -np.inf)
    value[0] = scores[0, 0]
    entered = np.zeros((num_frames, num_states), dtype=bool)
    for t in range(1, num_frames):
        before = np.concatenate([[-np.inf], value[:-1]])
        entered[t] = before > value
        value = np.maximum(before, value) + scores[t]
    cuts, state = [], num_states - 1
    for t in range(num_frames - 1, 0, -1):
        if entered[t, state]:
            cuts.append(t)
            state -= 1
    return cuts[::-1]
