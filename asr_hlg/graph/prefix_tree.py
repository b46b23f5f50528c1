"""L∘G for a back-off G, without disambiguation symbols: one prefix tree for every state of G.

Where G is an n-gram model, the result of composition, determinization and minimization can be built
directly. From a state g of G, L reads a prefix tree of the words that leave g. The score of a tree
arc is the sum over all words below it, relative to the sum over those below its source: weights are
pushed to the front (Mohri, Pereira, Riley 2008, "Speech recognition with weighted finite-state
transducers", section 3.3). A word is written on the first arc that only its own pronunciations
share. Equal sub-trees, whatever state of G they belong to, become one state while they are built,
from the leaves up (Daciuk et al. 2000, "Incremental construction of minimal acyclic finite-state
automata").

A word that is a prefix of another word, and a homophone, have a separate last arc with the same
token, so the only ε-arcs are G's back-offs::

    root(g)      ──tree of g's words──▸  word_end(g')     after a word that leads from g to g'
    root(g)      ──ε──▸  root(h)                          g backs off to h
    word_end(g)                                           has all arcs of root(g), and
                 ──silence──▸  root(g)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Bools, Ints, expand_ranges, reachable, row_splits
from asr_hlg.graph.tree_kernels import (
    DELTA,
    Columns,
    Floats,
    GArcs,
    Pronunciations,
    Trees,
    build_trees,
    new_columns,
    set_arc,
)
from asr_hlg.lexicon import Lexicon
from asr_hlg.threads import interruptible

__all__ = ["DELTA", "compose", "is_back_off_acceptor"]


def is_back_off_acceptor(G: Arcs, back_off: int) -> bool:
    """Whether G is deterministic, with ε-arcs only as arcs that read ``back_off``."""
    is_back_off = G.ilabel == back_off
    word = ~is_back_off
    if not is_back_off.any() or (G.ilabel == 0).any() or (G.ilabel != G.olabel)[word].any():
        return False
    key = G.src.astype(np.int64) * (int(G.ilabel.max()) + 1) + G.ilabel
    key.sort()
    return bool((key[1:] != key[:-1]).all())


def compose(lexicon: Lexicon, G: Arcs) -> Arcs:
    """L∘G, ε in place of back-off symbols.

    Parameters
    ----------
    lexicon : Lexicon
    G : Arcs
        Words over ``lexicon.words``, for which `is_back_off_acceptor` holds.

    Returns
    -------
    Arcs
        Connected; its paths are those of L composed with G, each with the same score. No arcs if no
        sentence of G consists of words of L.
    """
    pronunciations = _sorted_pronunciations(lexicon)
    back_off = lexicon.words["#0"]
    G = _connect(_without_unknown(G, np.diff(pronunciations.word_first) > 0, back_off))
    g_arcs = GArcs(row_splits(G.src, G.num_states), G.dst, G.ilabel, G.score)
    trees = interruptible(build_trees, g_arcs, pronunciations)
    silence = _Silence(-1, 0.0, -np.inf)
    if lexicon.silence is not None:
        token, probability = lexicon.tokens[lexicon.silence], lexicon.silence_prob
        silence = _Silence(token, float(np.log1p(-probability)), float(np.log(probability)))
    return Arcs(*interruptible(_join, g_arcs, G.final, trees, back_off, silence))


class _Silence(NamedTuple):
    """Optional silence: its token (-1: none) and the scores of leaving it out and of taking it."""

    token: int
    without: float
    with_it: float


def _sorted_pronunciations(lexicon: Lexicon) -> Pronunciations:
    """Sort the pronunciations of a lexicon by their tokens."""
    flat, lengths = lexicon.token_ids()
    begin = np.append(0, np.cumsum(lengths))
    longest = int(lengths.max())
    padded = np.zeros((longest, len(lengths)), dtype=flat.dtype)
    column = np.repeat(np.arange(len(lengths)), lengths)
    padded[np.arange(len(flat)) - begin[column], column] = flat
    order = np.lexsort(padded[::-1])
    word = np.array([lexicon.words[entry.word] for entry in lexicon.entries])[order]
    log_prob = np.log([entry.probability for entry in lexicon.entries])[order]
    tokens = flat[expand_ranges(begin[order], begin[order + 1])[0]]
    by_word = np.argsort(word, kind="stable")
    word_first = np.searchsorted(word[by_word], np.arange(len(lexicon.words) + 1))
    return Pronunciations(
        tokens, np.append(0, np.cumsum(lengths[order])), log_prob, by_word, word_first
    )


def _without_unknown(G: Arcs, is_known: Bools, back_off: int) -> Arcs:
    """Remove the arcs of words that have no pronunciation."""
    kept = G.ilabel == back_off
    in_table = G.ilabel < len(is_known)
    kept[in_table] |= is_known[G.ilabel[in_table]]
    return G if kept.all() else G.take(np.flatnonzero(kept))


def _connect(G: Arcs) -> Arcs:
    """Remove the arcs that are on no path from the start to a final state; sort by source."""
    G = G.sorted()
    start = np.zeros(G.num_states, dtype=bool)
    start[0] = True
    used = reachable(G.src, G.dst, start)
    order = np.argsort(G.dst, kind="stable")
    used &= reachable(G.dst[order], G.src[order], np.isfinite(G.final))
    kept = used[G.src] & used[G.dst]
    return G if kept.all() else G.take(np.flatnonzero(kept))


@njit(nogil=True, cache=True)
def _join(g_arcs: GArcs, g_final: Floats, trees: Trees, back_off: int, silence: _Silence) -> Any:
    """Join trees, back-offs and optional silence into the columns of `Arcs`.

    Word ends come first, the start being one of them, then the inner states of trees, then roots.
    Without silence, root(g) and word_end(g) are one state.
    """
    num_g, num_inner = len(g_final), len(trees.first) - 1
    word_end, root = _used_states(g_arcs, trees, back_off, silence.token)
    first_inner, num_states, num_arcs = _number_states(
        word_end, root, g_arcs.first, trees, silence.token
    )
    src, arcs = np.empty(num_arcs, np.int32), new_columns(num_arcs)
    final = np.full(num_states, -np.inf, np.float32)
    at = 0
    for g in range(num_g):
        if word_end[g] >= 0:
            begin = at
            final[word_end[g]] = g_final[g] + silence.without
            at = _write_back_offs(arcs, at, g, g_arcs, root, back_off, silence.without)
            if silence.token >= 0:
                set_arc(arcs, at, root[g], silence.token, 0, silence.with_it)
                at += 1
            row = trees.root_first[g], trees.root_first[g + 1]
            at = _write_tree(arcs, at, trees.root, row, word_end, first_inner, silence.without)
            src[begin:at] = word_end[g]
    for state in range(num_inner):
        begin, row = at, (trees.first[state], trees.first[state + 1])
        at = _write_tree(arcs, at, trees.inner, row, word_end, first_inner, 0.0)
        src[begin:at] = first_inner + state
    for g in range(num_g):
        if silence.token >= 0 and root[g] >= 0:
            begin, row = at, (trees.root_first[g], trees.root_first[g + 1])
            final[root[g]] = g_final[g]
            at = _write_back_offs(arcs, at, g, g_arcs, root, back_off, 0.0)
            at = _write_tree(arcs, at, trees.root, row, word_end, first_inner, 0.0)
            src[begin:at] = root[g]
    return src[:at], arcs.dst[:at], arcs.label[:at], arcs.word[:at], arcs.score[:at], final


@njit(nogil=True, cache=True)
def _used_states(g_arcs: GArcs, trees: Trees, back_off: int, silence: int) -> tuple[Ints, Ints]:
    """For every state of G 0 if its word end is used, else -1; and the same for its root."""
    num_g = len(g_arcs.first) - 1
    word_end = np.full(num_g, -1, np.int32)
    root = np.full(num_g, -1, np.int32)
    word_end[0] = 0
    for dst in (trees.root.dst, trees.inner.dst):
        for state in dst:
            if state < num_g:
                word_end[state] = 0
    for arc in range(len(g_arcs.dst)):
        if g_arcs.word[arc] == back_off:
            (root if silence >= 0 else word_end)[g_arcs.dst[arc]] = 0
    return word_end, root


@njit(nogil=True, cache=True)
def _number_states(
    word_end: Ints, root: Ints, g_first: Ints, trees: Trees, silence: int
) -> tuple[int, int, int]:
    """Number the used word ends and roots in place.

    Returns the first inner state, the number of states, and an upper bound on that of arcs.
    """
    num_states = num_arcs = 0
    for g in range(len(root)):
        if word_end[g] == 0:
            word_end[g] = num_states
            num_states += 1
            num_arcs += 1 + _max_arcs(g_first, trees.root_first, g)
    first_inner = num_states
    num_states += len(trees.first) - 1
    num_arcs += trees.first[-1]
    for g in range(len(root)):
        if silence < 0:
            root[g] = word_end[g]
        elif root[g] == 0 or word_end[g] >= 0:
            root[g] = num_states
            num_states += 1
            num_arcs += _max_arcs(g_first, trees.root_first, g)
    return first_inner, num_states, num_arcs


@njit(nogil=True, cache=True)
def _max_arcs(g_first: Ints, root_first: Ints, g: int) -> int:
    """Upper bound on the arcs of root(g): those of its tree, and of g in place of back-offs."""
    in_tree: int = root_first[g + 1] - root_first[g]
    in_g: int = g_first[g + 1] - g_first[g]
    return in_tree + in_g


@njit(nogil=True, cache=True)
def _write_back_offs(
    arcs: Columns,
    at: int,
    g: int,
    g_arcs: GArcs,
    root: Ints,
    back_off: int,
    score: float,
) -> int:
    """Write the back-offs of g as ε-arcs to roots, with a score added; returns the next index."""
    for arc in range(g_arcs.first[g], g_arcs.first[g + 1]):
        if g_arcs.word[arc] == back_off:
            set_arc(arcs, at, root[g_arcs.dst[arc]], 0, 0, g_arcs.score[arc] + score)
            at += 1
    return at


@njit(nogil=True, cache=True)
def _write_tree(
    arcs: Columns,
    at: int,
    tree: Columns,
    row: tuple[int, int],
    word_end: Ints,
    first_inner: int,
    score: float,
) -> int:
    """Write a row of tree arcs with their destinations renumbered and a score added."""
    num_g = len(word_end)
    for arc in range(row[0], row[1]):
        dst = tree.dst[arc]
        dst = word_end[dst] if dst < num_g else first_inner + dst - num_g
        set_arc(arcs, at, dst, tree.label[arc], tree.word[arc], tree.score[arc] + score)
        at += 1
    return at
