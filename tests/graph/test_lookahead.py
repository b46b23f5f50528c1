"""Composition by look-ahead accepts the strings of OpenFst's composition, with the same scores."""

from __future__ import annotations

import kaldifst
import numpy as np
import pytest

from asr_hlg.fst import openfst
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import lookahead
from asr_hlg.graph.lookahead import Labels
from tests.support import fst_files
from tests.support.brute_force import Machine, random_string, transductions


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


def unpacked(packed):
    """The arcs of a packed automaton; labels are columns, -1 of ε is 0."""
    from types import SimpleNamespace

    from asr_hlg.graph.export import arcs_of

    return arcs_of(SimpleNamespace(packed_fst=packed, folder=None))


@pytest.mark.parametrize("seed", range(15))
def test_look_ahead_changes_neither_strings_nor_scores(seed, tmp_path):
    random = np.random.default_rng(seed)
    hcl, g = random_hcl(random, 4), random_g(random, 4)
    final_label = 5
    openfst.write(tmp_path / "HCL.fst", hcl)
    content = fst_files.lookahead(
        (tmp_path / "HCL.fst").read_bytes(), fst_files.reachable(hcl, final_label), final_label
    )
    (tmp_path / "HCLr.fst").write_bytes(content)
    read = openfst.read(tmp_path / "HCLr.fst")
    labels = Labels(np.array([-1, 0, 1, 2], np.int32), np.zeros(4, np.int32))
    ours = Machine.of(unpacked(lookahead.compose(read.arcs, read.reach, g, labels)))
    left, right = hcl.to_openfst(), g.to_openfst()
    kaldifst.arcsort(left, "olabel")
    theirs = Machine.of(Arcs.from_openfst(kaldifst.compose(left, right)))
    strings = [random_string(machine, random, 8) for machine in (ours, theirs) for _ in range(15)]
    strings = {tuple(label for label in s if label > 0) for s in strings if s is not None}
    assert strings
    for labels in strings:
        got = transductions(ours, labels, epsilon=0)
        expected = transductions(theirs, labels, epsilon=0)
        assert got.keys() == expected.keys()
        for words in expected:
            assert max(got[words]) == pytest.approx(max(expected[words]), abs=1e-4)
