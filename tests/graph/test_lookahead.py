"""Composition by look-ahead accepts the strings of OpenFst's composition, with the same scores."""

from __future__ import annotations

from types import SimpleNamespace

import kaldifst
import numpy as np
import pytest

from asr_hlg.fst import openfst
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph.export import arcs_of
from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.lookahead_kernels import _reachable
from tests.support import fst_files
from tests.support.brute_force import Machine, random_string, transductions
from tests.support.lookahead import LABELS, look_ahead_of, random_g, random_hcl


def unpacked(packed):
    """The arcs of a packed automaton; labels are columns, -1 of ε is 0."""
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
    shuffled = g.take(np.lexsort((-g.ilabel, g.src)))
    ours = LookAhead.of(read.arcs, read.reach, shuffled, LABELS)
    assert ours.accepts_anything()
    ours = Machine.of(unpacked(ours.packed()))
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


def test_the_sum_of_the_words_that_a_state_reaches_is_that_of_single_words():
    random = np.random.default_rng(0)
    hcl, g = random_hcl(random, 99), random_g(random, 99)
    source = look_ahead_of(hcl, g, 99).composition(8).source
    assert 99 <= len(source.g_sum) < g.num_arcs  # states with few words have no sums
    for state, row in enumerate(fst_files.reachable(hcl, 100)):
        for g_state in range(g.num_states):
            arcs = range(g.row_splits[g_state], g.row_splits[g_state + 1])
            reached = [
                np.exp(float(g.score[arc]))
                for arc in arcs
                if g.ilabel[arc] and any(begin <= g.ilabel[arc] < end for begin, end in row)
            ]
            first = arcs.start + (g.ilabel[arcs.start] == 0)
            found = _reachable(source, state, g_state, first)
            expected = np.log(sum(reached)) if reached else -np.inf
            if found.is_final:
                expected = max(expected, g.final[g_state])
            assert found.score == pytest.approx(expected, abs=1e-6)
