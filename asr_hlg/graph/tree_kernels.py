"""Prefix trees of all states of G, built in code that numba compiles, equal sub-trees shared."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.fst.indexing import Ints

DELTA = 1e-5
"""Scores that differ by less are equal. Kaldi's 1/1024 merges 0.2 % more states of English, and
moves a sentence's score by up to that much for every arc."""

_MIXED = 0
"""Word of a node below which there are several words."""

Floats = npt.NDArray[np.floating[Any]]


class Columns(NamedTuple):
    """Arcs as columns."""

    dst: Ints
    label: Ints
    word: Ints
    score: Floats


class GArcs(NamedTuple):
    """Arcs of G by source: those of state g begin at ``first[g]``."""

    first: Ints
    dst: Ints
    word: Ints
    score: Floats


class Pronunciations(NamedTuple):
    """All pronunciations in lexicographic order of their tokens; a prefix comes first.

    Pronunciation p reads ``tokens[begin[p]:begin[p + 1]]``; word w has the pronunciations
    ``of_word[word_first[w]:word_first[w + 1]]``.
    """

    tokens: Ints
    begin: Ints
    log_prob: Floats
    of_word: Ints
    word_first: Ints


class Trees(NamedTuple):
    """Prefix trees of all states of G, their equal parts shared.

    The arcs of g's root begin at ``root_first[g]`` in ``root``, those of inner state t at
    ``first[t]`` in ``inner``. As a destination, inner state t has the number t plus the number of
    G's states; numbers below that are word ends.
    """

    root_first: Ints
    root: Columns
    first: Ints
    inner: Columns


@njit(nogil=True, cache=True)
def build_trees(g_arcs: GArcs, lexicon: Pronunciations) -> Trees:
    """Build the prefix trees of all states of G."""
    num_g = len(g_arcs.first) - 1
    max_pronunciations, max_length, num_pronunciations, num_tokens = _tree_sizes(g_arcs, lexicon)
    root_first = np.zeros(num_g + 1, np.int64)
    root = new_columns(num_pronunciations)
    # Upper bound: without sharing, an arc for every token. Unwritten pages take no memory.
    tree_first = np.zeros(num_tokens + 2, np.int32)
    tree = new_columns(num_tokens + 1)
    table = np.full(1 << 16, -1, np.int32)
    num_trees = num_roots = 0

    ends = np.empty(max_pronunciations, np.int64)
    dst, label, word, _ = new_columns(max_pronunciations + max_length)
    stack = Columns(dst, label, word, np.empty(max_pronunciations + max_length, np.float64))
    opened = np.zeros(max_length + 1, np.int64)
    for g in range(num_g):
        num = 0
        for arc in range(g_arcs.first[g], g_arcs.first[g + 1]):
            word_id = g_arcs.word[arc]
            for i in range(lexicon.word_first[word_id], lexicon.word_first[word_id + 1]):
                ends[num] = (lexicon.of_word[i] << 32) + arc
                num += 1
        ends[:num].sort()
        table, num_trees, top = _build_tree(
            ends[:num], g_arcs, lexicon, table, tree_first, tree, num_trees, stack, opened
        )
        for k in range(top):
            set_arc(root, num_roots, stack.dst[k], stack.label[k], stack.word[k], stack.score[k])
            num_roots += 1
        root_first[g + 1] = num_roots
    used = tree_first[num_trees]
    return Trees(
        root_first,
        _shortened(root, num_roots),
        tree_first[: num_trees + 1],
        _shortened(tree, used),
    )


@njit(nogil=True, cache=True)
def _tree_sizes(g_arcs: GArcs, lexicon: Pronunciations) -> tuple[int, int, int, int]:
    """Maximum pronunciations of a state, maximum length, number of pronunciations and tokens."""
    max_pronunciations = max_length = num_pronunciations = num_tokens = 0
    for g in range(len(g_arcs.first) - 1):
        num_here = 0
        for arc in range(g_arcs.first[g], g_arcs.first[g + 1]):
            word = g_arcs.word[arc]
            for i in range(lexicon.word_first[word], lexicon.word_first[word + 1]):
                p = lexicon.of_word[i]
                length = lexicon.begin[p + 1] - lexicon.begin[p]
                max_length = max(max_length, length)
                num_tokens += length
                num_here += 1
        max_pronunciations = max(max_pronunciations, num_here)
        num_pronunciations += num_here
    return max_pronunciations, max_length, num_pronunciations, num_tokens


@njit(nogil=True, cache=True)
def _build_tree(
    ends: Ints,
    g_arcs: GArcs,
    lexicon: Pronunciations,
    table: Ints,
    tree_first: Ints,
    tree: Columns,
    num_trees: int,
    stack: Columns,
    opened: Ints,
) -> Any:
    """Build the tree of one state of G; the arcs of its root are left on the stack.

    Parameters
    ----------
    ends
        Its pronunciations in lexicographic order: ``pronunciation << 32 | arc of G``.
    stack
        The arcs of open nodes, from the root down; scores are float64.
    opened
        Where on the stack the arcs of the open node of each depth begin.

    Returns
    -------
    table, num_trees
        Of `_share_state`.
    top
        Number of arcs on the stack.
    """
    num_g, tokens, begin = len(g_arcs.first) - 1, lexicon.tokens, lexicon.begin
    top = shared = 0
    for i in range(len(ends)):
        p, arc = ends[i] >> 32, ends[i] & 0xFFFFFFFF
        shared_with_next = 0
        if i + 1 < len(ends):
            shared_with_next = _shared_depth(tokens, begin, p, ends[i + 1] >> 32)
        depth = max(shared, shared_with_next)
        opened[shared + 1 : depth + 1] = top
        # Below this depth the pronunciation shares no prefix: its last arcs are a chain.
        target = g_arcs.dst[arc]
        for position in range(begin[p + 1] - 1, begin[p] + depth, -1):
            set_arc(tree, tree_first[num_trees], target, tokens[position], 0, 0.0)
            table, num_trees, state = _share_state(table, tree_first, tree, num_trees, 1)
            target = num_g + state
        score = g_arcs.score[arc] + lexicon.log_prob[p]
        set_arc(stack, top, target, tokens[begin[p] + depth], g_arcs.word[arc], score)
        top += 1
        for d in range(depth, shared_with_next, -1):
            total, only_word = _sum_scores(stack.word, stack.score, opened[d], top)
            _write_node(stack, opened[d], top, total, only_word, tree, tree_first[num_trees])
            count = top - opened[d]
            table, num_trees, state = _share_state(table, tree_first, tree, num_trees, count)
            top = opened[d]
            set_arc(stack, top, num_g + state, tokens[begin[p] + d - 1], only_word, total)
            top += 1
        shared = shared_with_next
    return table, num_trees, top


@njit(nogil=True, cache=True)
def _write_node(
    stack: Columns, begin: int, end: int, total: float, only_word: int, tree: Columns, at: int
) -> None:
    """Copy a node's arcs from the stack; scores become relative to their sum.

    Words stay on the arcs if there are several below the node, else one arc above has the word.
    """
    for k in range(begin, end):
        word = stack.word[k] if only_word == _MIXED else 0
        set_arc(tree, at, stack.dst[k], stack.label[k], word, stack.score[k] - total)
        at += 1


@njit(nogil=True, cache=True)
def set_arc(arcs: Columns, at: int, dst: int, label: int, word: int, score: float) -> None:
    """Write one arc into its columns."""
    arcs.dst[at], arcs.label[at], arcs.word[at], arcs.score[at] = dst, label, word, score


@njit(nogil=True, cache=True)
def new_columns(num_arcs: int) -> Columns:
    """Allocate the columns of a number of arcs."""
    return Columns(
        np.empty(num_arcs, np.int32),
        np.empty(num_arcs, np.int32),
        np.empty(num_arcs, np.int32),
        np.empty(num_arcs, np.float32),
    )


@njit(nogil=True, cache=True)
def _shortened(columns: Columns, num_arcs: int) -> Columns:
    """The first arcs of columns."""
    return Columns(
        columns.dst[:num_arcs],
        columns.label[:num_arcs],
        columns.word[:num_arcs],
        columns.score[:num_arcs],
    )


@njit(nogil=True, cache=True)
def _shared_depth(tokens: Ints, begin: Ints, p: int, q: int) -> int:
    """Depth of the deepest node from which two pronunciations both have an arc."""
    limit = min(begin[p + 1] - begin[p], begin[q + 1] - begin[q]) - 1
    depth = 0
    while depth < limit and tokens[begin[p] + depth] == tokens[begin[q] + depth]:
        depth += 1
    return depth


@njit(nogil=True, cache=True)
def _sum_scores(words: Ints, scores: Floats, begin: int, end: int) -> tuple[float, int]:
    """Log-sum-exp of some arcs' scores, and their word if all have the same."""
    word, best = words[begin], scores[begin]
    for k in range(begin + 1, end):
        best = max(best, scores[k])
        if words[k] != word:
            word = _MIXED
    total = 0.0
    for k in range(begin, end):
        total += np.exp(scores[k] - best)
    return best + np.log(total), word


@njit(nogil=True, cache=True)
def _share_state(
    table: Ints, first: Ints, tree: Columns, num_trees: int, count: int
) -> tuple[Ints, int, int]:
    """Make a state of the ``count`` arcs after the last state, or find an equal state.

    Returns the hash table, replaced by a larger one if it had become too small; the number of
    states; and the state with these arcs.
    """
    at = first[num_trees]
    mask = len(table) - 1
    slot = _hash(tree, at, count) & mask
    while table[slot] >= 0:
        other = table[slot]
        if first[other + 1] - first[other] == count and _equal(tree, first[other], at, count):
            return table, num_trees, other
        slot = (slot + 1) & mask
    table[slot] = num_trees
    first[num_trees + 1] = at + count
    if 2 * num_trees > len(table):
        table = np.full(2 * len(table), -1, np.int32)
        mask = len(table) - 1
        for state in range(num_trees + 1):
            slot = _hash(tree, first[state], first[state + 1] - first[state]) & mask
            while table[slot] >= 0:
                slot = (slot + 1) & mask
            table[slot] = state
    return table, num_trees + 1, num_trees


@njit(nogil=True, cache=True)
def _equal(tree: Columns, one: int, other: int, count: int) -> bool:
    """Whether two ranges of arcs are equal, their scores up to `DELTA`."""
    for k in range(count):
        i, j = one + k, other + k
        if (
            tree.dst[i] != tree.dst[j]
            or tree.label[i] != tree.label[j]
            or tree.word[i] != tree.word[j]
            or np.rint(tree.score[i] / DELTA) != np.rint(tree.score[j] / DELTA)
        ):
            return False
    return True


@njit(nogil=True, cache=True)
def _hash(tree: Columns, begin: int, count: int) -> int:
    """Hash of a range of arcs, equal for arcs that `_equal` finds equal (FNV-1a, 64-bit words)."""
    value = np.uint64(14695981039346656037)
    for k in range(begin, begin + count):
        cost = np.int64(np.rint(tree.score[k] / DELTA))
        for part in (np.int64(tree.dst[k]), np.int64(tree.label[k]), np.int64(tree.word[k]), cost):
            value = (value ^ np.uint64(part)) * np.uint64(1099511628211)
    return int((value ^ (value >> np.uint64(29))) & np.uint64(0x7FFFFFFFFFFFFFFF))
