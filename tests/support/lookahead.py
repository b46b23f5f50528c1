"""Small random automata for composition by look-ahead."""

from __future__ import annotations

import numpy as np

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.openfst import Reach
from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.lookahead_records import LABEL
from tests.support import fst_files

LABELS = np.array([(-1, 0), (0, 1), (1, 2), (2, 0)], LABEL)
"""Three labels, two of which begin a phone; 0 is ε."""


def random_hcl(random, num_words):
    """A tree of pronunciations that comes back to its root, with self-loops and ε."""
    rows = []
    num_states = 1
    for word in range(1, num_words + 1):
        state = 0
        length = int(random.integers(2, 5))
        at = int(random.integers(length))
        for i in range(length):
            target = 0 if i == length - 1 else num_states
            num_states += target > 0
            output = word if i == at else 0
            # The first arc reads a label, so that no cycle reads only ε.
            label = int(random.integers(1 if i == 0 else 0, 4))
            rows.append((state, target, label, output))
            if target:
                rows.append((target, target, int(random.integers(1, 4)), 0))
            state = target
    rows = sorted(rows, key=lambda row: (row[0], row[3]))
    src, dst, ilabel, olabel = np.array(rows, np.int32).T
    final = np.full(num_states, -np.inf, np.float32)
    final[0] = 0.0
    score = -random.random(len(rows)).astype(np.float32)
    return Arcs(src, dst, ilabel, olabel, score, final)


def random_g(random, num_words):
    """A bigram: state 0 has all words, state w some, and an ε-arc to state 0."""
    rows = [(0, w, w, -float(random.random())) for w in range(1, num_words + 1)]
    for w in range(1, num_words + 1):
        rows.append((w, 0, 0, -float(random.random())))
        follow = random.permutation(num_words)[: int(random.integers(0, num_words))] + 1
        rows += [(w, int(v), int(v), -float(random.random())) for v in sorted(follow)]
    src, dst, label = np.array([row[:3] for row in rows], np.int32).T
    score = np.array([row[3] for row in rows], np.float32)
    final = -random.random(num_words + 1).astype(np.float32)
    final[1] = -np.inf
    return Arcs(src, dst, label, label, score, final)


def look_ahead_of(hcl, g, num_words):
    """Both, with the words that states of HCL reach."""
    rows = fst_files.reachable(hcl, num_words + 1)
    splits = np.cumsum([0, *map(len, rows)])
    begin, end = np.array([interval for row in rows for interval in row], np.int32).T
    return LookAhead.of(hcl, Reach(splits, begin, end, num_words + 1), g, LABELS)


def random_look_ahead(random, num_words):
    """A random HCL and a random G."""
    return look_ahead_of(random_hcl(random, num_words), random_g(random, num_words), num_words)
