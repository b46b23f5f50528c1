"""CTC scores and alignments of word sequences, whatever their origin.

>>> chain = WordChain.of([[(5, 9)], [(3, 4, 7), (3, 4, 8)]])    # token ids of pronunciations
>>> chain.log_prob(probabilities, silence=1)                    # of both words, all alignments
-12.3
>>> chain.align(log_probs, silence=1).spans
[(4, 11), (15, 31)]

A word sequence is a chain of words, each with one or more pronunciations, and an optional silence
token before, between and after them. Its probability is the sum over pronunciations, silences and
CTC alignments (Graves et al. 2006, "Connectionist temporal classification"). No automaton is
compiled, so a sentence takes a fraction of a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_BLANK = 0
_TINY = 1e-280  # in place of probability 0, so that logarithms exist


class WordAlignment(NamedTuple):
    """The best path of a word sequence.

    Attributes
    ----------
    log_prob : float
        Natural log; ``-inf`` where the frames are too few.
    spans : list of (int, int)
        Frames [start, end) of every word, from its first token to its last.
    labels : np.ndarray
        int32 ``(num_frames,)``: the token of every frame, 0 for blank.
    """

    log_prob: float
    spans: list[tuple[int, int]]
    labels: Ints


class WordChain(NamedTuple):
    """Words in a row, each with its pronunciations.

    Attributes
    ----------
    tokens : np.ndarray
        int32: the tokens of all pronunciations, one after the other.
    splits : np.ndarray
        int32 ``(num_pronunciations + 1,)``: pronunciation p is ``tokens[splits[p]:splits[p + 1]]``.
    words : np.ndarray
        int32 ``(num_words + 1,)``: word w has the pronunciations ``words[w]`` to ``words[w + 1]``.
    """

    tokens: Ints
    splits: Ints
    words: Ints

    @classmethod
    def of(cls, pronunciations: Sequence[Sequence[Sequence[int]]]) -> WordChain:
        """Chain from the pronunciations of every word, as token ids; none may be empty."""
        flat = [phones for word in pronunciations for phones in word]
        tokens = [token for phones in flat for token in phones]
        return cls(
            np.array(tokens, dtype=np.int32),
            np.cumsum([0, *map(len, flat)]).astype(np.int32),
            np.cumsum([0, *map(len, pronunciations)]).astype(np.int32),
        )

    def log_prob(self, probabilities: Floats, silence: int) -> float:
        """Log of the sum over all alignments; ``-inf`` where the frames are too few.

        Parameters
        ----------
        probabilities : np.ndarray
            float64 ``(num_frames, num_tokens)``, not logarithms.
        silence : int
            Token of the optional silence; -1 if there is none.
        """
        return float(_forward(probabilities, silence, self.tokens, self.splits, self.words))

    def align(self, log_probs: Floats, silence: int) -> WordAlignment:
        """Find the best alignment.

        Parameters
        ----------
        log_probs : np.ndarray
            float64 ``(num_frames, num_tokens)``: natural logs.
        silence : int
            Token of the optional silence; -1 if there is none.
        """
        score, states = _viterbi(log_probs, silence, self.tokens, self.splits, self.words)
        num_tokens, num_words = len(self.tokens), len(self.words) - 1
        in_token = (states >= 0) & (states < num_tokens)
        labels = np.zeros(len(states), dtype=np.int32)
        labels[in_token] = self.tokens[states[in_token]]
        first_pause = 2 * num_tokens + num_words + 1
        labels[(states >= first_pause) & (states < first_pause + num_words + 1)] = silence
        word_of_token = np.repeat(
            np.repeat(np.arange(num_words), np.diff(self.words)), np.diff(self.splits)
        )
        frames = np.flatnonzero(in_token)
        order = np.arange(num_words)
        words = word_of_token[states[frames]]
        begins = np.searchsorted(words, order, side="left")
        ends = np.searchsorted(words, order, side="right")
        spans = [
            (int(frames[begin]), int(frames[end - 1]) + 1) if end > begin else (0, 0)
            for begin, end in zip(begins, ends, strict=True)
        ]
        return WordAlignment(float(score), spans, labels)


@njit(cache=True, nogil=True)
def _forward(  # noqa: C901 - the recursion of one frame
    probabilities: Floats, silence: int, tokens: Ints, splits: Ints, words: Ints
) -> float:
    """Log of the total probability; every frame's forward probabilities are scaled to sum to 1.

    States: every token, blank after every token but a pronunciation's last, and before every word
    and after the last one: blank (gap), silence (pause), blank after silence (resumed).
    """
    num_words = len(words) - 1
    at_token, after_token = np.zeros(len(tokens)), np.zeros(len(tokens))
    gap, pause, resumed = np.zeros(num_words + 1), np.zeros(num_words + 1), np.zeros(num_words + 1)
    log_total = 0.0
    for t in range(len(probabilities)):
        row = probabilities[t]
        blank = row[_BLANK]
        quiet = row[silence] if silence >= 0 else 0.0
        total = 0.0
        # Backwards, so that what a state reads is still of the frame before.
        for w in range(num_words, -1, -1):
            left = 1.0 if w == 0 and t == 0 else 0.0  # just left the previous word
            if w > 0:
                for q in range(words[w - 1], words[w]):
                    left += at_token[splits[q + 1] - 1]
            if w < num_words:
                waiting = gap[w] + resumed[w]
                for p in range(words[w], words[w + 1]):
                    first = splits[p]
                    for k in range(splits[p + 1] - 1, first, -1):
                        value = at_token[k] + after_token[k - 1]
                        if tokens[k - 1] != tokens[k]:
                            value += at_token[k - 1]
                        after_token[k] = blank * (after_token[k] + at_token[k])
                        at_token[k] = row[tokens[k]] * value
                        total += at_token[k]
                        if k < splits[p + 1] - 1:
                            total += after_token[k]
                    value = at_token[first] + waiting + left
                    if tokens[first] != silence:
                        value += pause[w]
                    if w > 0:
                        for q in range(words[w - 1], words[w]):
                            if tokens[splits[q + 1] - 1] == tokens[first]:
                                value -= at_token[splits[q + 1] - 1]
                    after_token[first] = blank * (after_token[first] + at_token[first])
                    at_token[first] = row[tokens[first]] * max(value, 0.0)
                    total += at_token[first]
                    if first < splits[p + 1] - 1:
                        total += after_token[first]
            resumed[w] = blank * (resumed[w] + pause[w])
            pause[w] = quiet * (pause[w] + gap[w] + left)
            gap[w] = blank * (gap[w] + left)
            total += resumed[w] + pause[w] + gap[w]
        if total <= _TINY:
            return -np.inf
        log_total += np.log(total)
        at_token /= total
        after_token /= total
        gap /= total
        pause /= total
        resumed /= total
    ending = gap[num_words] + pause[num_words] + resumed[num_words]
    if num_words > 0:
        for q in range(words[num_words - 1], words[num_words]):
            ending += at_token[splits[q + 1] - 1]
    elif len(probabilities) == 0:
        ending = 1.0
    if ending <= _TINY:
        return -np.inf
    result: float = log_total + np.log(ending)
    return result


@njit(cache=True, nogil=True)
def _offer(score: float, source: int, best: float, back: int) -> tuple[float, int]:
    """The better of two predecessors."""
    if score > best:
        return score, source
    return best, back


@njit(cache=True, nogil=True)
def _viterbi(  # noqa: C901 - the recursion of one frame
    log_probs: Floats, silence: int, tokens: Ints, splits: Ints, words: Ints
) -> tuple[float, Ints]:
    """Score and states of the best path; the states of :func:`_forward` in its order.

    Token k is state k, the blank after it ``K + k``, then come gaps, pauses and resumed blanks.
    """
    num_words, num_frames = len(words) - 1, len(log_probs)
    K = len(tokens)
    gap, pause = 2 * K, 2 * K + num_words + 1
    resumed = pause + num_words + 1
    num_states = resumed + num_words + 1
    old, new = np.full(num_states, -np.inf), np.full(num_states, -np.inf)
    backs = np.full((num_frames, num_states), -1, dtype=np.int32)
    for t in range(num_frames):
        row = log_probs[t]
        blank = row[_BLANK]
        quiet = row[silence] if silence >= 0 else -np.inf
        for w in range(num_words + 1):
            left, left_state = (0.0, -1) if w == 0 and t == 0 else (-np.inf, -1)
            if w > 0:
                for q in range(words[w - 1], words[w]):
                    last = splits[q + 1] - 1
                    left, left_state = _offer(old[last], last, left, left_state)
            best, back = _offer(old[gap + w], gap + w, left, left_state)
            new[gap + w], backs[t, gap + w] = best + blank, back
            best, back = _offer(old[pause + w], pause + w, best, back)
            new[pause + w], backs[t, pause + w] = best + quiet, back
            best, back = old[resumed + w], resumed + w
            best, back = _offer(old[pause + w], pause + w, best, back)
            new[resumed + w], backs[t, resumed + w] = best + blank, back
            if w == num_words:
                continue
            for p in range(words[w], words[w + 1]):
                first = splits[p]
                label = tokens[first]
                best, back = old[first], first
                best, back = _offer(old[gap + w], gap + w, best, back)
                best, back = _offer(old[resumed + w], resumed + w, best, back)
                if label != silence:
                    best, back = _offer(old[pause + w], pause + w, best, back)
                if w == 0:
                    best, back = _offer(left, left_state, best, back)
                else:
                    for q in range(words[w - 1], words[w]):
                        last = splits[q + 1] - 1
                        if tokens[last] != label:
                            best, back = _offer(old[last], last, best, back)
                new[first], backs[t, first] = best + row[label], back
                for k in range(first + 1, splits[p + 1]):
                    best, back = _offer(old[K + k - 1], K + k - 1, old[k], k)
                    if tokens[k - 1] != tokens[k]:
                        best, back = _offer(old[k - 1], k - 1, best, back)
                    new[k], backs[t, k] = best + row[tokens[k]], back
                    best, back = _offer(old[k - 1], k - 1, old[K + k - 1], K + k - 1)
                    new[K + k - 1], backs[t, K + k - 1] = best + blank, back
        old, new = new, old
    n = num_words
    best, state = (0.0, -1) if num_frames == 0 and n == 0 else (-np.inf, -1)
    for end in (gap + n, pause + n, resumed + n):
        best, state = _offer(old[end], end, best, state)
    if n > 0:
        for q in range(words[n - 1], words[n]):
            last = splits[q + 1] - 1
            best, state = _offer(old[last], last, best, state)
    path = np.full(num_frames, -1, dtype=np.int32)
    if best > -np.inf:
        for t in range(num_frames - 1, -1, -1):
            path[t] = state
            state = backs[t, state]
    return best, path
