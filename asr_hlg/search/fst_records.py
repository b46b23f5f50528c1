"""Arrays that token passing on an automaton with explicit labels reads and writes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from asr_hlg.graph.lookahead_kernels import compose_state, new
from asr_hlg.graph.lookahead_records import NO_SOURCE, NOT_COMPOSED, Composition
from asr_hlg.search.records import HASH, Ints, Scores

Structs = Any
"""A structured array, whose fields mypy does not know."""

TOKEN = np.dtype([("state", "u4"), ("next", "i4"), ("score", "f8")], align=True)
"""A state that is active after a frame; ``next`` is the token before it in its bucket."""

LINK = np.dtype([("src", "u4"), ("dst", "u4"), ("arc", "u4")], align=True)
"""A forward link over an arc; one array for arcs that read a label, another for ε-arcs."""

FRAME = np.dtype([("token", "i8"), ("link", "i8"), ("eps_link", "i8")])
"""Where the tokens of a frame begin, and the links and ε-links that leave them."""


POSITION = np.dtype([("frame", "i8"), ("num_tokens", "i8"), ("num_links", "i8")])
"""How far an utterance is searched."""


class FstArrays(NamedTuple):
    """Arrays of :class:`asr_hlg.graph.packed_fst.PackedFst` that the search reads.

    They may be those of a composition, to which :func:`is_composed` adds states.
    """

    states: Structs
    arcs: Structs
    eps_arcs: Structs
    composition: Composition = new(NO_SOURCE, 1)


class FstOutputs(NamedTuple):
    """Arrays of :class:`asr_hlg.graph.packed_fst.PackedFst` that only lattices need."""

    final: Scores
    outputs: Ints
    phones: Ints
    eps_outputs: Ints
    spellings: Ints
    spelling_splits: Ints


class FstWorkspace(NamedTuple):
    """Arrays that a search writes; ``buckets`` is a hash table as in `records.Workspace`.

    ``stack`` holds tokens whose ε-arcs are still to be followed.
    """

    tokens: Structs
    links: Structs
    eps_links: Structs
    stack: Ints
    buckets: Ints


class FstTokens(NamedTuple):
    """Tokens and links so far: arrays of a workspace, and where their frames begin.

    ``frames`` are `FRAME` records ``(num_frames + 2,)``. Frame t has the tokens from
    ``frames[t].token`` to ``frames[t + 1].token - 1``, links and ε-links likewise; links of frame
    t lead to tokens of frame t + 1, ε-links to tokens of the same frame.
    """

    tokens: Structs
    links: Structs
    eps_links: Structs
    frames: Structs


def allocate(capacity: int = 1 << 20) -> FstWorkspace:
    """A workspace with room for so many records of each kind.

    Pages of its arrays that are never written cost no memory.
    """
    return FstWorkspace(
        np.empty(capacity, TOKEN),
        np.empty(capacity, LINK),
        np.empty(capacity, LINK),
        np.empty(capacity, np.int32),
        np.zeros(HASH + 1, np.int32),
    )


@njit(nogil=True, cache=True)
def is_composed(graph: FstArrays, state: Any) -> Any:
    """Whether the arcs of a state are there; they are made where they are not and there is room."""
    if graph.states[state].eps_first != NOT_COMPOSED:
        return True
    return compose_state(graph.composition, state)


Index = Any
"""An integer of numba: which of its types depends on the expression."""
