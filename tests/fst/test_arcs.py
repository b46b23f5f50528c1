"""Automata keep their meaning on the way between numpy, OpenFst and k2."""

from __future__ import annotations

import kaldifst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import GraphError
from asr_hlg.fst.arcs import Arcs, k2_fsa


@st.composite
def automata(draw) -> Arcs:
    num_states = draw(st.integers(1, 6))
    state = st.integers(0, num_states - 1)
    row = st.tuples(state, state, st.integers(0, 5), st.integers(0, 5), st.floats(-9, 3, width=32))
    rows = draw(st.lists(row, max_size=12))
    src, dst, ilabel, olabel, score = (
        (list(c) for c in zip(*rows, strict=True)) if rows else [[]] * 5
    )
    final = draw(
        st.lists(st.sampled_from([-np.inf, -1.5, 0.0]), min_size=num_states, max_size=num_states)
    )
    ints = (np.array(column, dtype=np.int32) for column in (src, dst, ilabel, olabel))
    return Arcs(*ints, np.array(score, dtype=np.float32), np.array(final, dtype=np.float32))


def rows(arcs: Arcs) -> list[tuple]:
    columns = (arcs.src, arcs.dst, arcs.ilabel, arcs.olabel, arcs.score)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@given(automata())
def test_openfst_and_back(arcs):
    fst = arcs.to_openfst()
    assert fst.num_states == arcs.num_states
    back = Arcs.from_openfst(fst)
    assert rows(back) == rows(arcs)
    assert back.final.tolist() == arcs.final.tolist()


@given(automata())
def test_openfst_prints_the_same_arcs(arcs):
    """What OpenFst itself prints of the automaton: costs, and a final state a line."""
    found, final = [], {}
    for line in str(arcs.to_openfst()).splitlines():
        fields = line.split()
        if len(fields) <= 2:
            final[int(fields[0])] = -float(fields[1]) if len(fields) == 2 else 0.0
        else:
            cost = float(fields[4]) if len(fields) == 5 else 0.0
            found.append((*(int(f) for f in fields[:4]), -cost))
    wanted = rows(arcs)
    assert [row[:4] for row in sorted(found)] == [row[:4] for row in wanted]
    scores = [row[4] for row in sorted(found)]
    assert sorted(scores) == pytest.approx(sorted(row[4] for row in wanted), rel=1e-4, abs=1e-4)
    final = {state: score for state, score in final.items() if score > -np.inf}
    assert final == {i: s for i, s in enumerate(arcs.final.tolist()) if s > -np.inf}


@given(automata())
def test_k2_and_back(arcs):
    if not np.isfinite(arcs.final).any():
        with pytest.raises(GraphError, match="no final state"):
            arcs.to_k2()
        return
    back = Arcs.from_k2(arcs.to_k2())
    assert rows(back) == rows(arcs)
    assert back.final.tolist() == arcs.final.tolist()


def test_start_state_becomes_zero():
    """OpenFst may start anywhere; here state 0 starts."""
    fst = kaldifst.compile("2 0 1 1 0.5\n0 1 2 2\n1", keep_state_numbering=True)
    assert fst.start == 2
    arcs = Arcs.from_openfst(fst)
    assert rows(arcs) == [(0, 2, 1, 1, -0.5), (2, 1, 2, 2, 0.0)]
    assert arcs.final.tolist() == [-np.inf, 0.0, -np.inf]


def test_changed_labels_survive_an_algorithm():
    """The trap of k2 1.23.4 that k2_fsa is there to avoid."""
    import k2

    fsa = Arcs.from_openfst(kaldifst.compile("0 1 1 1\n0 1 2 2\n1")).to_k2()
    values = fsa.arcs.values().numpy()
    labels = np.where(values[:, 2] == 2, 7, values[:, 2])
    changed = k2_fsa(values[:, 0], values[:, 1], labels, fsa.scores.numpy())
    assert sorted(k2.arc_sort(changed).labels.tolist()) == [-1, 1, 7]
