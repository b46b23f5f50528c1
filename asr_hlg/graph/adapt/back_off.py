"""Where L∘G takes any word: the state to which all others back off, and what is added there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from asr_hlg.graph.flat import FlatGraph, among

# Source, destination, token, word (0 for none), score.
Row = tuple[int, int, int, int, float]


class Way(NamedTuple):
    """A pronunciation to add: its word, its tokens, and the log-probability of both."""

    word: int
    tokens: tuple[int, ...]
    log_prob: float


class Pause(NamedTuple):
    """The silence that may stand between words, and how probable it is there."""

    token: int
    probability: float


def back_off_state(lg: FlatGraph, pause: Pause | None) -> int | None:
    """The state in which any word may follow, None where there is not exactly one.

    Arcs that read and write nothing lead there (back-offs, or the end of a silence), none leads
    on, and no silence begins there, since back-offs come after it.
    """
    src, dst, token, _ = lg.packed.T
    return find_back_off(src, dst, token, np.diff(lg.word_splits), lg.num_states, pause)


def find_back_off(
    src: np.ndarray,
    dst: np.ndarray,
    token: np.ndarray,
    word: np.ndarray,
    num_states: int,
    pause: Pause | None,
) -> int | None:
    """`back_off_state` of an automaton given as columns; ``word`` is 0 on arcs without any."""
    reads_nothing = token == 0
    found = np.zeros(num_states, dtype=bool)
    found[dst[reads_nothing & (word == 0)]] = True
    found[src[reads_nothing]] = False
    if pause is not None:
        found[src[token == pause.token]] = False
    states = np.flatnonzero(found)
    return int(states[0]) if len(states) == 1 else None


def new_ways(lg: FlatGraph, root: int, ways: Iterable[Way], pause: Pause | None) -> FlatGraph:
    """What L∘G has to be extended with to take more words wherever it backs off.

    Parameters
    ----------
    lg : FlatGraph
    root : int
        Its `back_off_state`. The ways begin there and in the states that go on as it does, and
        end in a new state that goes on as it does, too, after an optional pause.
    ways : iterable of Way
    pause : Pause or None
    """
    behind = lg.num_states
    again = lg.take(lg.leaving(np.array([root]))[0])
    no_pause = 0.0 if pause is None else float(np.log1p(-pause.probability))
    again.packed[:, 0] = behind
    again.score[:] += np.float32(no_pause)
    entries = [*_like(lg, root), (behind, no_pause)]
    rows, num_states = chains(ways, entries, behind, behind + 1)
    if pause is not None:
        rows.append((behind, root, pause.token, 0, float(np.log(pause.probability))))
    src, dst, token, word, score = (np.array(column) for column in zip(*rows, strict=True))
    has = word > 0
    new = FlatGraph.of_columns(src, dst, token, score, word[has], has, num_states)
    return FlatGraph.together([again, new], num_states)


def chains(
    ways: Iterable[Way], entries: list[tuple[int, float]], behind: int, num_states: int
) -> tuple[list[Row], int]:
    """Arcs from some entries, with their scores, along every way to the state ``behind``.

    Returns them and the number of states, of which ``num_states`` are taken.
    """
    rows: list[Row] = []
    for way in ways:
        # Spread over the tokens, so that pruning does not meet all of it at once.
        share = way.log_prob / len(way.tokens)
        states = [*range(num_states, num_states + len(way.tokens) - 1), behind]
        num_states += len(way.tokens) - 1
        first, *rest = way.tokens
        rows += [(src, states[0], first, way.word, score + share) for src, score in entries]
        rows += [
            (src, dst, token, 0, share)
            for src, dst, token in zip(states[:-1], states[1:], rest, strict=True)
        ]
    return rows, num_states


def _like(lg: FlatGraph, root: int) -> list[tuple[int, float]]:
    """``root`` and the states that have all its arcs, with what these score more there.

    Behind a word without a history, L∘G does not back off: it is at the unigrams at once.
    """
    words = lg.first_word
    key = lg.packed[:, 2].astype(np.int64) * lg.num_states + lg.packed[:, 1]
    key = key * (int(words.max(initial=0)) + 1) + words
    own = lg.leaving(np.array([root]))[0]
    own = own[lg.packed[own, 2] != -1]
    own = own[np.argsort(key[own])]
    same = np.flatnonzero(among(key, key[own]))
    src = lg.packed[same, 0]
    more = lg.score[same] - lg.score[own[np.searchsorted(key[own], key[same])]]
    offset = np.full(lg.num_states, np.inf)
    np.minimum.at(offset, src, more)
    states = np.flatnonzero(np.bincount(src, minlength=lg.num_states) == len(own))
    return list(zip(states.tolist(), offset[states].tolist(), strict=True))
