"""The unigram state of L∘G, to which all states back off, and pronunciations added to it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import isin_sorted
from asr_hlg.lexicon import Lexicon

_Row = tuple[int, int, int, int, float]  # source, destination, token, word (0 for none), score


class NewPronunciation(NamedTuple):
    """Pronunciation to add: ids of its word and tokens, and their log-probability."""

    word: int
    tokens: tuple[int, ...]
    log_prob: float


class OptionalSilence(NamedTuple):
    """Silence token between words, and its probability."""

    token: int
    probability: float

    @staticmethod
    def of(lexicon: Lexicon) -> OptionalSilence | None:
        """Optional silence of a lexicon, None if it has none."""
        if lexicon.silence is None:
            return None
        return OptionalSilence(lexicon.tokens[lexicon.silence], lexicon.silence_prob)


def back_off_state(lg: Arcs, silence: OptionalSilence | None) -> int | None:
    """Find the unigram state, to which all states back off; None if there is not exactly one.

    ε-arcs without a word enter it (back-offs, or the end of a silence), no ε-arc leaves it, and no
    silence begins there, since silence precedes back-off.
    """
    is_eps = lg.ilabel == 0
    candidate = np.zeros(lg.num_states, dtype=bool)
    candidate[lg.dst[is_eps & (lg.olabel == 0)]] = True
    candidate[lg.src[is_eps]] = False
    if silence is not None:
        candidate[lg.src[lg.ilabel == silence.token]] = False
    states = np.flatnonzero(candidate)
    return int(states[0]) if len(states) == 1 else None


def add_pronunciations(
    lg: Arcs,
    unigrams: int,
    pronunciations: Iterable[NewPronunciation],
    silence: OptionalSilence | None,
) -> Arcs:
    """Add pronunciations to L∘G that may follow every state that backs off to unigrams.

    Parameters
    ----------
    lg : Arcs
        Sorted by source.
    unigrams : int
        Its `back_off_state`. The new paths begin there and in the states that have the same arcs.
        They end in a new state, which has the arcs of the unigram state, too, after an optional
        silence. Pronunciations that begin alike share their first arcs, so that thousands of words
        are few active states in a search.
    pronunciations : iterable of NewPronunciation
    silence : OptionalSilence or None
    """
    word_end = lg.num_states
    no_silence = 0.0 if silence is None else float(np.log1p(-silence.probability))
    entries = [*_states_like(lg, unigrams), (word_end, no_silence)]
    rows, num_states = _tree(pronunciations, entries, word_end)
    if silence is not None:
        rows.append((word_end, unigrams, silence.token, 0, float(np.log(silence.probability))))
    copied = lg.take(lg.leaving(np.array([unigrams]))[0])
    src, dst, ilabel, olabel, score = (np.array(column) for column in zip(*rows, strict=True))
    final = np.full(num_states, -np.inf, dtype=np.float32)
    final[word_end] = lg.final[unigrams] + np.float32(no_silence)
    added = Arcs(
        np.concatenate([np.full(copied.num_arcs, word_end), src]).astype(np.int32),
        np.concatenate([copied.dst, dst]).astype(np.int32),
        np.concatenate([copied.ilabel, ilabel]).astype(np.int32),
        np.concatenate([copied.olabel, olabel]).astype(np.int32),
        np.concatenate([copied.score + np.float32(no_silence), score]).astype(np.float32),
        final,
    )
    return lg.extended(added)


def _tree(
    pronunciations: Iterable[NewPronunciation], entries: list[tuple[int, float]], word_end: int
) -> tuple[list[_Row], int]:
    """Arcs of a prefix tree of pronunciations from every entry, with its score, to ``word_end``.

    A word is written on the first arc that only its own pronunciation takes; its last arc is such
    an arc. New states are numbered from ``word_end + 1``; returns the arcs and the number of
    states.
    """
    ordered = sorted(pronunciations, key=lambda new: (new.tokens, new.word))
    shared = [0, *(_common_prefix(a.tokens, b.tokens) for a, b in pairwise(ordered)), 0]
    reached = _best_scores(ordered)
    state_of: dict[tuple[int, ...], int] = {}
    rows: list[_Row] = []
    num_states = word_end + 1
    for new, before, after in zip(ordered, shared[:-1], shared[1:], strict=True):
        last = len(new.tokens) - 1
        own = min(max(before, after), last)  # the arc that writes the word
        state, score = -1, 0.0
        for place, token in enumerate(new.tokens):
            prefix = new.tokens[: place + 1]
            if place < own and prefix in state_of:
                state, score = state_of[prefix], reached[prefix]
                continue
            total = reached[prefix] if place < own else new.log_prob * (place + 1) / (last + 1)
            sources = entries if place == 0 else [(state, 0.0)]
            state, num_states = (
                (word_end, num_states) if place == last else (num_states, num_states + 1)
            )
            word = new.word if place == own else 0
            rows += [(src, state, token, word, more + total - score) for src, more in sources]
            score = total
            if place < own:
                state_of[prefix] = state
    return rows, num_states


def _best_scores(pronunciations: Iterable[NewPronunciation]) -> dict[tuple[int, ...], float]:
    """Score on the way to every prefix of the pronunciations: the best of those that share it.

    The score of a pronunciation is spread evenly over its tokens, since the whole of it on one arc
    may exceed the beam.
    """
    best: dict[tuple[int, ...], float] = {}
    for new in pronunciations:
        share = new.log_prob / len(new.tokens)
        for length in range(1, len(new.tokens)):
            prefix = new.tokens[:length]
            best[prefix] = max(best.get(prefix, -np.inf), share * length)
    return best


def _common_prefix(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Number of tokens with which both begin."""
    return next(
        (k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _states_like(lg: Arcs, state: int) -> list[tuple[int, float]]:
    """States with copies of all arcs of a state, and the difference of the copies' scores.

    After a word that is not a history of G, L∘G has the arcs of the unigram state instead of a
    back-off arc.
    """
    arcs = lg.leaving(np.array([state]))[0]
    num_arcs = np.diff(lg.row_splits)
    candidates = lg.leaving(np.flatnonzero(num_arcs >= len(arcs)))[0]
    num_words = int(lg.olabel.max(initial=0)) + 1

    def keys(index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Number that is equal for arcs that differ in source and score only."""
        key = lg.ilabel[index].astype(np.int64) * lg.num_states + lg.dst[index]
        return key * num_words + lg.olabel[index]

    arcs = arcs[np.argsort(keys(arcs))]
    own_keys, candidate_keys = keys(arcs), keys(candidates)
    is_same = isin_sorted(candidate_keys, own_keys)
    same = candidates[is_same]
    original = arcs[np.searchsorted(own_keys, candidate_keys[is_same])]
    offset = np.full(lg.num_states, np.inf)
    np.minimum.at(offset, lg.src[same], lg.score[same] - lg.score[original])
    states = np.flatnonzero(np.bincount(lg.src[same], minlength=lg.num_states) == len(arcs))
    return list(zip(states.tolist(), offset[states].tolist(), strict=True))
