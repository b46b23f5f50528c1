"""The unigram state of L∘G, to which all states back off, and pronunciations added to it."""

from __future__ import annotations

from collections.abc import Iterable
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
        silence.
    pronunciations : iterable of NewPronunciation
    silence : OptionalSilence or None
    """
    word_end = lg.num_states
    no_silence = 0.0 if silence is None else float(np.log1p(-silence.probability))
    entries = [*_states_like(lg, unigrams), (word_end, no_silence)]
    rows, num_states = _chains(pronunciations, entries, word_end)
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


def _chains(
    pronunciations: Iterable[NewPronunciation], entries: list[tuple[int, float]], word_end: int
) -> tuple[list[_Row], int]:
    """Arcs from every entry, with its score, along every pronunciation to the state ``word_end``.

    New states are numbered from ``word_end + 1``; returns the arcs and the number of states.
    """
    rows: list[_Row] = []
    num_states = word_end + 1
    for new in pronunciations:
        # The score is spread over the tokens, since the whole of it on one arc may exceed the beam.
        share = new.log_prob / len(new.tokens)
        states = [*range(num_states, num_states + len(new.tokens) - 1), word_end]
        num_states += len(new.tokens) - 1
        rows += [(src, states[0], new.tokens[0], new.word, score + share) for src, score in entries]
        rows += [
            (src, dst, token, 0, share)
            for src, dst, token in zip(states[:-1], states[1:], new.tokens[1:], strict=True)
        ]
    return rows, num_states


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
