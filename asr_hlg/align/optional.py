"""Viterbi alignment of words with CTC posteriors: words may be skipped, frames unmatched.

Between the words 0 … n-1 are nodes 0 … n. A path goes from node 0 to node n, and a frame is either

- a phone of a word, or the blank between its phones, as in CTC;
- a pause at a node: blank or silence, whichever is more probable;
- unmatched sound at a node: any label, at a cost for each frame that is no pause.

A word may be skipped: it has no frames then. Costs are differences of log-probability to the best
label of the frame, so that a perfect path costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_SELF, _BEFORE, _BLANK, _PAUSE, _UNMATCHED, _SKIP, _WORD = 0, 1, 2, 3, 4, 5, 6
"""Backpointers; ``_WORD + k`` is the k-th pronunciation of the word before a node."""


@dataclass(frozen=True)
class Costs:
    """Costs of departures from the text, in nats.

    Attributes
    ----------
    skip, skip_next : float
        Of the first word that is skipped, and of each one right after it.
    unmatched : float
        Of unmatched sound, at its begin.
    unmatched_frame : float
        Of each of its frames, times the probability that the frame is no pause.
    """

    skip: float = 9.0
    skip_next: float = 4.0
    unmatched: float = 3.0
    unmatched_frame: float = 3.0


EXACT = Costs(np.inf, np.inf, np.inf, np.inf)
"""Every word is spoken, and nothing else."""


@dataclass(frozen=True)
class OptionalPath:
    """The best path.

    Attributes
    ----------
    choice : np.ndarray
        int32 ``(num_words,)``: the pronunciation of every word, -1 for words that are skipped.
    spans : list of np.ndarray
        For every word int32 ``(num_phones, 2)``: the frames [begin, end) of its phones; none for
        skipped words.
    unmatched : list of (int, int)
        Frames [begin, end) of unmatched sound, pauses at both ends left out.
    gap : np.ndarray
        float32 ``(num_frames,)``: log-probability gap between the best label and the aligned one;
        0 in unmatched sound.
    score : float
        Minus the total cost; ``-inf`` if there is no path.
    """

    choice: Ints
    spans: list[Ints]
    unmatched: list[tuple[int, int]]
    gap: Floats
    score: float


def num_cells(words: Sequence[Sequence[Sequence[int]]], num_frames: int) -> int:
    """Size in bytes of the table that :func:`align` makes."""
    labels = sum(len(phones) for pronunciations in words for phones in pronunciations)
    return num_frames * (2 * labels + 3 * (len(words) + 1))


def align(
    log_probs: Floats,
    words: Sequence[Sequence[Sequence[int]]],
    pauses: Sequence[int],
    costs: Costs,
    blank: int = 0,
) -> OptionalPath:
    """The best path of some words through the frames of CTC posteriors.

    Parameters
    ----------
    log_probs : np.ndarray
        float32 ``(num_frames, num_columns)``, natural log.
    words : sequence
        For every word its pronunciations, at least one, each as the columns of its phones.
    pauses : sequence of int
        Columns of blank and silence.
    costs : Costs
    blank : int
        Column of blank.
    """
    best = log_probs.max(axis=1)
    frames = log_probs - best[:, None]
    pause = np.ascontiguousarray(frames[:, list(pauses)].max(axis=1))
    sounding = 1.0 - np.exp(log_probs[:, list(pauses)]).sum(axis=1)
    garbage = (
        -costs.unmatched_frame * np.maximum(sounding, 0.0)
        if np.isfinite(costs.unmatched_frame)
        else np.full(len(frames), -np.inf)
    )
    garbage = np.minimum(garbage, -1e-4).astype(np.float32)  # a pause is no unmatched sound
    hmms = [phones for pronunciations in words for phones in pronunciations]
    labels = np.array([label for phones in hmms for label in phones], dtype=np.int32)
    first = np.cumsum([0, *map(len, hmms)]).astype(np.int32)
    first_hmm = np.cumsum([0, *map(len, words)]).astype(np.int32)
    limits = -costs.skip, -costs.skip_next, -costs.unmatched
    state, at, score = _viterbi(frames, pause, garbage, labels, first, first_hmm, limits, blank)
    return _path(frames, pause, labels, first, first_hmm, blank, state, at, score)


def _path(
    frames: Floats,
    pause: Floats,
    labels: Ints,
    first: Ints,
    first_hmm: Ints,
    blank: int,
    state: Ints,
    at: Ints,
    score: float,
) -> OptionalPath:
    """Path of the kinds of states of all frames, and of the labels or nodes at which they are."""
    num_words = len(first_hmm) - 1
    choice = np.full(num_words, -1, dtype=np.int32)
    spans: list[Ints] = [np.zeros((0, 2), np.int32) for _ in range(num_words)]
    gap = np.zeros(len(frames), dtype=np.float32)
    if score == -np.inf:
        return OptionalPath(choice, spans, [], gap, score)
    in_phone = np.flatnonzero(state == _SELF)
    in_blank = np.flatnonzero(state == _BLANK)
    in_pause = np.flatnonzero(state == _PAUSE)
    gap[in_phone] = -frames[in_phone, labels[at[in_phone]]]
    gap[in_blank] = -frames[in_blank, blank]
    gap[in_pause] = -pause[in_pause]
    begins, ends = np.full(len(labels), -1, np.int32), np.full(len(labels), -1, np.int32)
    begins[at[in_phone[::-1]]] = in_phone[::-1]
    ends[at[in_phone]] = in_phone + 1
    for word in range(num_words):
        for hmm in range(first_hmm[word], first_hmm[word + 1]):
            if begins[first[hmm]] >= 0:
                choice[word] = hmm - first_hmm[word]
                phones = slice(first[hmm], first[hmm + 1])
                spans[word] = np.stack([begins[phones], ends[phones]], axis=1)
    return OptionalPath(choice, spans, _runs(state == _UNMATCHED, pause), gap, score)


def _runs(is_unmatched: npt.NDArray[np.bool_], pause: Floats) -> list[tuple[int, int]]:
    """Runs of unmatched frames, without the pauses at their ends."""
    change = np.diff(is_unmatched.astype(np.int8), prepend=0, append=0)
    runs = []
    for begin, end in zip(np.flatnonzero(change > 0), np.flatnonzero(change < 0), strict=True):
        sounding = begin + np.flatnonzero(pause[begin:end] < 0)
        if len(sounding):
            runs.append((int(sounding[0]), int(sounding[-1]) + 1))
    return runs


@njit(nogil=True, cache=True)
def _viterbi(  # type: ignore[no-untyped-def]  # noqa: C901 - one pass over frames and words
    frames, pause, garbage, labels, first, first_hmm, limits, blank
):
    """Kind of state of every frame, the label or the node at which it is, and the score."""
    skip, skip_next, unmatched = limits
    num_frames, num_labels, num_words = len(frames), len(labels), len(first_hmm) - 1
    from_phone = np.zeros((num_frames, num_labels), np.uint8)
    from_blank = np.zeros((num_frames, num_labels), np.uint8)
    from_pause = np.zeros((num_frames, num_words + 1), np.uint8)
    from_unmatched = np.zeros((num_frames, num_words + 1), np.uint8)
    from_skip = np.zeros((num_frames + 1, num_words + 1), np.uint8)
    phone, gap = np.full(num_labels, -np.inf), np.full(num_labels, -np.inf)
    pausing, free = np.full(num_words + 1, -np.inf), np.full(num_words + 1, -np.inf)
    skipped = np.full(num_words + 1, -np.inf)
    # Before the first frame, the path is in a pause at node 0, or has skipped words.
    pausing[0] = 0.0
    for node in range(1, num_words + 1):
        after_skip = skipped[node - 1] + skip_next
        skipped[node], from_skip[0, node] = after_skip, _SKIP
        if pausing[node - 1] + skip > after_skip:
            skipped[node], from_skip[0, node] = pausing[node - 1] + skip, _PAUSE
    for t in range(num_frames):
        row = frames[t]
        # From the last node to the first, so that values of the frame before are still there.
        for node in range(num_words, -1, -1):
            if node < num_words:
                for h in range(first_hmm[node], first_hmm[node + 1]):
                    for s in range(first[h + 1] - 1, first[h] - 1, -1):
                        best, back = phone[s], _SELF
                        if s > first[h]:
                            if gap[s - 1] > best:
                                best, back = gap[s - 1], _BLANK
                            if labels[s] != labels[s - 1] and phone[s - 1] > best:
                                best, back = phone[s - 1], _BEFORE
                        else:
                            if pausing[node] > best:
                                best, back = pausing[node], _PAUSE
                            if free[node] > best:
                                best, back = free[node], _UNMATCHED
                            if node > 0:
                                for k in range(first_hmm[node] - first_hmm[node - 1]):
                                    last = first[first_hmm[node - 1] + k + 1] - 1
                                    if phone[last] > best and labels[last] != labels[s]:
                                        best, back = phone[last], _WORD + k
                        if gap[s] < phone[s]:
                            gap[s], from_blank[t, s] = phone[s], _BEFORE
                        gap[s] += row[blank]
                        phone[s], from_phone[t, s] = best + row[labels[s]], back
            word_end, word_back = -np.inf, _WORD
            if node > 0:
                for k in range(first_hmm[node] - first_hmm[node - 1]):
                    last = first[first_hmm[node - 1] + k + 1] - 1
                    if phone[last] > word_end:
                        word_end, word_back = phone[last], _WORD + k
            best, back = pausing[node], _SELF
            if free[node] > best:
                best, back = free[node], _UNMATCHED
            if word_end > best:
                best, back = word_end, word_back
            if skipped[node] > best:
                best, back = skipped[node], _SKIP
            best_free, back_free = free[node], _SELF
            if pausing[node] + unmatched > best_free:
                best_free, back_free = pausing[node] + unmatched, _PAUSE
            if word_end + unmatched > best_free:
                best_free, back_free = word_end + unmatched, word_back
            if skipped[node] + unmatched > best_free:
                best_free, back_free = skipped[node] + unmatched, _SKIP
            pausing[node], from_pause[t, node] = best + pause[t], back
            free[node], from_unmatched[t, node] = best_free + garbage[t], back_free
        skipped[0] = -np.inf
        for node in range(1, num_words + 1):
            value, back = skipped[node - 1] + skip_next, _SKIP
            if pausing[node - 1] + skip > value:
                value, back = pausing[node - 1] + skip, _PAUSE
            if free[node - 1] + skip > value:
                value, back = free[node - 1] + skip, _UNMATCHED
            if node > 1:
                for k in range(first_hmm[node - 1] - first_hmm[node - 2]):
                    last = first[first_hmm[node - 2] + k + 1] - 1
                    if phone[last] + skip > value:
                        value, back = phone[last] + skip, _WORD + k
            skipped[node], from_skip[t + 1, node] = value, back
    # The path ends at the last node.
    node = num_words
    score, kind = pausing[node], _PAUSE
    if free[node] > score:
        score, kind = free[node], _UNMATCHED
    if skipped[node] > score:
        score, kind = skipped[node], _SKIP
    if node > 0:
        for k in range(first_hmm[node] - first_hmm[node - 1]):
            last = first[first_hmm[node - 1] + k + 1] - 1
            if phone[last] > score:
                score, kind = phone[last], _WORD + k
    state, at = np.zeros(num_frames, np.int32), np.zeros(num_frames, np.int32)
    if score == -np.inf:
        return state, at, score
    t = num_frames - 1
    label = 0
    # `kind` is the state of frame t: in a phone or blank of a word, or at a node.
    while t >= 0 or kind == _SKIP:
        if kind == _SKIP:
            kind = from_skip[t + 1, node]
            node -= 1
        elif kind >= _WORD:  # in the last phone of a pronunciation of the word before the node
            label = first[first_hmm[node - 1] + kind - _WORD + 1] - 1
            node -= 1
            kind = _SELF
        elif kind == _PAUSE:
            state[t], at[t] = _PAUSE, node
            kind = from_pause[t, node]
            kind = _PAUSE if kind == _SELF else kind
            t -= 1
        elif kind == _UNMATCHED:
            state[t], at[t] = _UNMATCHED, node
            kind = from_unmatched[t, node]
            kind = _UNMATCHED if kind == _SELF else kind
            t -= 1
        elif kind == _BLANK:  # after the phone `label`
            state[t], at[t] = _BLANK, label
            kind = _SELF if from_blank[t, label] == _BEFORE else _BLANK
            t -= 1
        else:
            state[t], at[t] = _SELF, label
            kind = from_phone[t, label]
            t -= 1
            if kind in (_BLANK, _BEFORE):
                label -= 1
                kind = _BLANK if kind == _BLANK else _SELF
    return state, at, score
