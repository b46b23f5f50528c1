"""L∘G for a back-off G, without disambiguation symbols: one prefix tree for every state of G.

What composing, determinizing and minimising would find is known beforehand where G is an n-gram
model. From a state g of G, L reads a prefix tree of the words that leave g; the score of an arc
of the tree is what all words behind it have together, relative to what those behind its source
have, which is as early as a score can be (Mohri, Pereira, Riley 2008, "Speech recognition with
weighted finite-state transducers", section 3.3). A word is written on the first arc that only
its own pronunciations take. Sub-trees that are equal, behind whichever state, become one state
when they are built, from the leaves up (Daciuk et al. 2000, "Incremental construction of minimal
acyclic finite-state automata").

A word that ends where another one goes on, and a homophone, have an arc of their own beside the
other's with the same token; so the only arcs that read nothing are G's back-offs::

    root(g)  ──tree of g's words──▸  after(g')     behind a word that leads from g to g'
    root(g)  ──ε──▸  root(h)                       g backs off to h
    after(g)                                       goes on as root(g) does, or
             ──silence──▸  root(g)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import expand_ranges, reachable, row_splits
from asr_hlg.lexicon import Lexicon

DELTA = 1e-5
"""Scores that differ by less are equal. Kaldi's 1/1024 merges 0.2 % more states of English, and
moves a sentence's score by up to that much for every arc."""

_MIXED = 0
"""In place of a word: more than one."""


def is_back_off_acceptor(G: Arcs, back_off: int) -> bool:
    """Whether G is a back-off acceptor: deterministic, without ε but for arcs ``back_off``."""
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
        Connected; its paths are those of L composed with G, each with the same score. Without
        arcs if no sentence of G consists of words of L.
    """
    spoken = _Pronunciations.of(lexicon)
    back_off = lexicon.words["#0"]
    G = _connect(_of_words(G, np.diff(spoken.word_first) > 0, back_off))
    first = row_splits(G.src, G.num_states)
    trees = _grow(first, G.dst, G.ilabel, G.score, *spoken)
    no, yes, pause = 0.0, -np.inf, -1
    if lexicon.silence is not None:
        pause = lexicon.tokens[lexicon.silence]
        no, yes = np.log1p(-lexicon.silence_prob), np.log(lexicon.silence_prob)
    return Arcs(*_join(first, G.dst, G.ilabel, G.score, G.final, trees, back_off, pause, no, yes))


class _Pronunciations(NamedTuple):
    """All pronunciations in the order of a dictionary over tokens; a prefix comes first.

    Pronunciation p reads ``tokens[begin[p]:begin[p + 1]]``; word w has the pronunciations
    ``of_word[word_first[w]:word_first[w + 1]]``.
    """

    tokens: np.ndarray
    begin: np.ndarray
    log_prob: np.ndarray
    of_word: np.ndarray
    word_first: np.ndarray

    @staticmethod
    def of(lexicon: Lexicon) -> _Pronunciations:
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
        return _Pronunciations(
            tokens, np.append(0, np.cumsum(lengths[order])), log_prob, by_word, word_first
        )


def _of_words(G: Arcs, known: np.ndarray, back_off: int) -> Arcs:
    """G without the words that have no pronunciation."""
    kept = G.ilabel == back_off
    within = G.ilabel < len(known)
    kept[within] |= known[G.ilabel[within]]
    return G if kept.all() else G.take(np.flatnonzero(kept))


def _connect(G: Arcs) -> Arcs:
    """G without the arcs that no sentence takes, by source."""
    G = G.sorted()
    start = np.zeros(G.num_states, dtype=bool)
    start[0] = True
    used = reachable(G.src, G.dst, start)
    order = np.argsort(G.dst, kind="stable")
    used &= reachable(G.dst[order], G.src[order], np.isfinite(G.final))
    kept = used[G.src] & used[G.dst]
    return G if kept.all() else G.take(np.flatnonzero(kept))


@njit(nogil=True, cache=True)
def _grow(first, dst, word, score, tokens, begin, log_prob, of_word, word_first):
    """The trees of all states of G, equal parts shared.

    State t of the trees has the number t plus the number of G's states; numbers below that are
    states behind a word. Arcs are columns: destination, token, word, score.

    Returns
    -------
    root_first, root
        The arcs of g's root begin at ``root_first[g]``.
    first, inner
        The arcs of state t begin at ``first[t]``.
    """
    num_g = len(first) - 1
    widest = longest = num_ends = room = 0
    for g in range(num_g):
        width = 0
        for arc in range(first[g], first[g + 1]):
            for i in range(word_first[word[arc]], word_first[word[arc] + 1]):
                length = begin[of_word[i] + 1] - begin[of_word[i]]
                longest = max(longest, length)
                room += length
                width += 1
        widest = max(widest, width)
        num_ends += width
    root_first = np.zeros(num_g + 1, np.int64)
    root = _columns(num_ends)
    # Without sharing there would be an arc for every token; what is not written costs no memory.
    tree_first = np.zeros(room + 2, np.int32)
    tree = _columns(room + 1)
    table = np.full(1 << 16, -1, np.int32)
    num_trees = num_roots = 0

    # Ends of pronunciations below a state of G, in order: pronunciation and G's arc in one number.
    ends = np.empty(widest, np.int64)
    # Arcs of the nodes that are open, from the root down; a node's begin where it was opened.
    open_dst, open_label, open_word = _columns(widest + longest)[:3]
    open_score = np.empty(widest + longest, np.float64)
    opened = np.zeros(longest + 1, np.int64)
    for g in range(num_g):
        num = 0
        for arc in range(first[g], first[g + 1]):
            for i in range(word_first[word[arc]], word_first[word[arc] + 1]):
                ends[num] = (of_word[i] << 32) + arc
                num += 1
        ends[:num].sort()
        depth = top = shared = 0
        for i in range(num):
            p, arc = ends[i] >> 32, ends[i] & 0xFFFFFFFF
            behind = 0 if i + 1 == num else _shared(tokens, begin, p, ends[i + 1] >> 32)
            depth = max(shared, behind)
            for d in range(shared + 1, depth + 1):
                opened[d] = top
            # From here on the pronunciation is alone: its last arcs are a chain.
            target = dst[arc]
            for position in range(begin[p + 1] - 1, begin[p] + depth, -1):
                at = tree_first[num_trees]
                tree[0][at], tree[1][at], tree[2][at], tree[3][at] = target, tokens[position], 0, 0
                table, num_trees, found = _shelve(table, tree_first, tree, num_trees, 1)
                target = num_g + found
            open_dst[top], open_label[top] = target, tokens[begin[p] + depth]
            open_word[top], open_score[top] = word[arc], score[arc] + log_prob[p]
            top += 1
            for d in range(depth, behind, -1):
                total, said = _sum(open_word, open_score, opened[d], top)
                at = tree_first[num_trees]
                for k in range(opened[d], top):
                    tree[0][at], tree[1][at] = open_dst[k], open_label[k]
                    tree[2][at] = open_word[k] if said == _MIXED else 0
                    tree[3][at] = open_score[k] - total
                    at += 1
                count = top - opened[d]
                table, num_trees, found = _shelve(table, tree_first, tree, num_trees, count)
                top = opened[d]
                open_dst[top], open_label[top] = num_g + found, tokens[begin[p] + d - 1]
                open_word[top], open_score[top] = said, total
                top += 1
            shared = behind
        for k in range(top):
            root[0][num_roots], root[1][num_roots] = open_dst[k], open_label[k]
            root[2][num_roots], root[3][num_roots] = open_word[k], open_score[k]
            num_roots += 1
        root_first[g + 1] = num_roots
    used = tree_first[num_trees]
    return (
        root_first,
        (root[0][:num_roots], root[1][:num_roots], root[2][:num_roots], root[3][:num_roots]),
        tree_first[: num_trees + 1],
        (tree[0][:used], tree[1][:used], tree[2][:used], tree[3][:used]),
    )


@njit(nogil=True, cache=True)
def _join(g_first, g_dst, g_label, g_score, g_final, trees, back_off, pause, no, yes):
    """Columns of the whole automaton: trees, back-offs, and silence after words if there is one.

    States behind words come first, the start being one of them, then those inside trees, then
    roots. Without silence a word ends in a root.
    """
    root_first, root, first, inner = trees
    num_g, num_inner = len(g_final), len(first) - 1
    behind = np.full(num_g + num_inner, -1, np.int32)
    start = np.full(num_g, -1, np.int32)
    behind[0] = 0
    for dst in (root[0], inner[0]):
        for state in dst:
            if state < num_g:
                behind[state] = 0
    for arc in range(len(g_dst)):
        if g_label[arc] == back_off:
            start[g_dst[arc]] = 0
    num_states = num_arcs = 0
    for g in range(num_g):
        if pause < 0 and start[g] == 0:
            behind[g] = 0
        if behind[g] == 0:
            behind[g] = num_states
            num_states += 1
            num_arcs += 1 + root_first[g + 1] - root_first[g] + g_first[g + 1] - g_first[g]
    for state in range(num_inner):
        behind[num_g + state] = num_states + state
    num_behind = num_states
    num_states += num_inner
    num_arcs += first[num_inner]
    for g in range(num_g):
        if pause < 0:
            start[g] = behind[g]
        elif start[g] == 0 or behind[g] >= 0:
            start[g] = num_states
            num_states += 1
            num_arcs += root_first[g + 1] - root_first[g] + g_first[g + 1] - g_first[g]

    src, (dst, label, word, score) = np.empty(num_arcs, np.int32), _columns(num_arcs)
    final = np.full(num_states, -np.inf, np.float32)
    at = 0
    for block in range(3):
        if block == 1:
            for state in range(num_inner):
                for arc in range(first[state], first[state + 1]):
                    src[at], dst[at] = num_behind + state, behind[inner[0][arc]]
                    label[at], word[at], score[at] = inner[1][arc], inner[2][arc], inner[3][arc]
                    at += 1
            continue
        for g in range(num_g):
            state = behind[g] if block == 0 else start[g]
            if state < 0 or (block == 2 and pause < 0):
                continue
            more = no if block == 0 else 0.0
            final[state] = g_final[g] + more
            for arc in range(g_first[g], g_first[g + 1]):
                if g_label[arc] == back_off:
                    src[at], dst[at], label[at], word[at] = state, start[g_dst[arc]], 0, 0
                    score[at] = g_score[arc] + more
                    at += 1
            if block == 0 and pause >= 0:
                src[at], dst[at], label[at], word[at], score[at] = state, start[g], pause, 0, yes
                at += 1
            for arc in range(root_first[g], root_first[g + 1]):
                src[at], dst[at] = state, behind[root[0][arc]]
                label[at], word[at], score[at] = root[1][arc], root[2][arc], root[3][arc] + more
                at += 1
    return src[:at], dst[:at], label[:at], word[:at], score[:at], final


@njit(nogil=True, cache=True)
def _columns(num_arcs):
    """Destination, label, word and score of arcs, not yet written."""
    return (
        np.empty(num_arcs, np.int32),
        np.empty(num_arcs, np.int32),
        np.empty(num_arcs, np.int32),
        np.empty(num_arcs, np.float32),
    )


@njit(nogil=True, cache=True)
def _shared(tokens, begin, p, q):
    """The depth of the deepest node from which two pronunciations both have an arc."""
    most = min(begin[p + 1] - begin[p], begin[q + 1] - begin[q]) - 1
    depth = 0
    while depth < most and tokens[begin[p] + depth] == tokens[begin[q] + depth]:
        depth += 1
    return depth


@njit(nogil=True, cache=True)
def _sum(words, scores, begin, end):
    """Log Σ exp of some arcs' scores, and their word if all have the same."""
    said, best = words[begin], scores[begin]
    for k in range(begin + 1, end):
        best = max(best, scores[k])
        if words[k] != said:
            said = _MIXED
    total = 0.0
    for k in range(begin, end):
        total += np.exp(scores[k] - best)
    return best + np.log(total), said


@njit(nogil=True, cache=True)
def _shelve(table, first, tree, num_trees, count):
    """Make the arcs behind the last state a state, unless there is an equal one.

    Returns the table of hashes, a larger one where it had become too small; the number of states;
    and the state with these arcs.
    """
    dst, label, word, score = tree
    at = first[num_trees]
    mask = len(table) - 1
    slot = _hash(tree, at, count) & mask
    while table[slot] >= 0:
        other = table[slot]
        begin = first[other]
        equal = first[other + 1] - begin == count
        k = 0
        while equal and k < count:
            equal = (
                dst[begin + k] == dst[at + k]
                and label[begin + k] == label[at + k]
                and word[begin + k] == word[at + k]
                and np.rint(score[begin + k] / DELTA) == np.rint(score[at + k] / DELTA)
            )
            k += 1
        if equal:
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
def _hash(tree, begin, count):
    """A number that is the same for arcs that are equal (FNV-1a, by 64-bit words)."""
    dst, label, word, score = tree
    value = np.uint64(14695981039346656037)
    for k in range(begin, begin + count):
        cost = np.int64(np.rint(score[k] / DELTA))
        for part in (np.int64(dst[k]), np.int64(label[k]), np.int64(word[k]), cost):
            value = (value ^ np.uint64(part)) * np.uint64(1099511628211)
    return np.int64((value ^ (value >> np.uint64(29))) & np.uint64(0x7FFFFFFFFFFFFFFF))
