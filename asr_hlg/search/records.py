"""Arrays that token passing reads and writes: the graph, and the records of the workspace.

Numbers that index an array are unsigned: for signed ones numba checks whether they count from
the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Records = npt.NDArray[np.void]
Ints = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

Limits = tuple[float, float, float, float]
"""search_beam, output_beam, min_active, max_active."""

NONE = -1
"""In place of the index of an arc or ε-arc: there is none."""

REPEAT = -1
"""In place of an arc in a label link: the self-loop of the topology, which repeats the label."""

HASH = (1 << 12) - 1
"""Bits of a state's number that choose its bucket: lists stay short, and in the cache."""

LABEL_TOKEN = np.dtype(
    [("state", "u4"), ("label", "u4"), ("next", "i4"), ("score", "f8")], align=True
)
"""A token whose last frame read a label; ``next`` is the one before it in its bucket."""

LABEL_LINK = np.dtype(
    [("src", "i4"), ("dst", "u4"), ("eps", "i4"), ("arc", "i4"), ("score", "f8")], align=True
)
"""A forward link into label token ``dst``.

``src`` is a label token, or -1 - b for blank token b; ``eps`` and ``arc`` are the arcs of L∘G that
it takes; ``score`` is that of the best path that ends with the link.
"""

BLANK_LINK = np.dtype([("src", "u4"), ("dst", "u4"), ("eps", "i4")], align=True)
"""A forward link that reads a blank, from a label token to a blank token."""

BLANK_TOKEN = np.dtype(
    [
        ("state", "u4"),
        ("next", "i4"),
        ("id", "u4"),
        ("direct", "u4"),
        ("score", "f8"),
        ("entry_score", "f8"),
    ],
    align=True,
)
"""A token whose last frame read a blank.

``direct`` is 1 if a label token of the same state entered it, 0 if all entered over ε-arcs;
``entry_score`` is the best score of the label tokens that entered it, before ε-arcs.
"""

SOURCE = np.dtype(
    [("state", "u4"), ("label", "u4"), ("src", "i4"), ("eps", "i4"), ("score", "f8")], align=True
)
"""A state whose arcs are to be followed, but not those that read ``label``.

``src`` and ``eps`` are those of the links that result; ``score`` is that of the state.
"""

FRAME = np.dtype([("token", "i8"), ("link", "i8"), ("blank_link", "i8")])
"""Where a frame's label tokens begin, and the label links and blank links that leave it."""


POSITION = np.dtype(
    [
        ("frame", "i8"),
        ("num_tokens", "i8"),
        ("num_links", "i8"),
        ("num_alive", "i8"),
        ("num_blank_tokens", "i8"),
        ("beam", "f8"),
        ("cutoff", "f8"),
    ]
)
"""How far an utterance is searched: frames, label tokens, label links, active blank tokens.

``num_blank_tokens`` are the ids of blank tokens that were taken; ``beam`` and ``cutoff`` are those
of the last frame.
"""


class GraphArrays(NamedTuple):
    """Arrays of :class:`asr_hlg.graph.packed.PackedLg` that the search reads."""

    states: Records
    arcs: Records
    eps_arcs: Records


class GraphOutputs(NamedTuple):
    """Arrays of :class:`asr_hlg.graph.packed.PackedLg` that only lattices need."""

    final: Scores
    words: Ints
    spellings: Ints
    spelling_splits: Ints


class Workspace(NamedTuple):
    """Arrays that a search writes, each as long as the workspace's capacity.

    ``label_buckets`` and ``blank_buckets``, int32 ``(HASH + 1,)``, are hash tables from states to
    tokens: the last token in a list of those whose states have the same lowest bits. They need no
    clearing: an entry counts only if it is a token of the present frame that belongs in that list.
    """

    label_tokens: Records
    label_links: Records
    blank_tokens: Records
    blank_links: Records
    sources: Records
    label_buckets: Ints
    blank_buckets: Ints


class Tokens(NamedTuple):
    """Tokens and links so far: arrays of a workspace, and how far they are filled.

    ``frames`` are `FRAME` records ``(num_frames + 2,)``; ``num_alive`` blank tokens, the first of
    ``blank_tokens``, are active after the last frame, and ``num_blank_tokens`` ids of blank
    tokens are taken.
    """

    label_tokens: Records
    label_links: Records
    blank_tokens: Records
    blank_links: Records
    frames: Records
    num_alive: Any
    num_blank_tokens: Any


@njit(nogil=True, cache=True)
def in_bucket(tokens: Records, token: Any, begin: int, end: int, state: Any) -> Any:
    """Whether a token is one of ``begin`` to ``end - 1`` and in the bucket of a state."""
    return begin <= token < end and (tokens[token].state ^ state) & HASH == 0


@njit(nogil=True, cache=True)
def set_label_token(
    tokens: Records, index: int, state: Any, label: Any, following: int, score: float
) -> None:
    """Write a label token; ``following`` is the next one in its bucket."""
    token = tokens[index]
    token.state, token.label, token.next, token.score = state, label, following, score


@njit(nogil=True, cache=True)
def set_link(
    links: Records, index: int, src: int, dst: int, eps: int, arc: int, score: float
) -> None:
    """Write a link into a label token."""
    link = links[index]
    link.src, link.dst, link.eps, link.arc, link.score = src, dst, eps, arc, score


@njit(nogil=True, cache=True)
def set_source(
    sources: Records, index: int, state: Any, label: Any, src: int, eps: int, score: float
) -> None:
    """Write a state whose arcs are to be followed."""
    source = sources[index]
    source.state, source.label, source.src, source.eps, source.score = state, label, src, eps, score
