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
from tests.support import fst_files
from tests.support.brute_force import Machine, random_string, transductions
from tests.support.lookahead import LABELS, random_g, random_hcl


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
