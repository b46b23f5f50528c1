"""Index arithmetic against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.fst.indexing import expand_ranges, isin_sorted, reachable, row_splits


def test_row_splits_by_hand():
    assert row_splits(np.array([0, 0, 2]), 4).tolist() == [0, 2, 2, 3, 3]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4))))
def test_ranges_are_expanded_in_order(ranges):
    begin = np.array([first for first, _ in ranges], dtype=np.int64)
    count = np.array([length for _, length in ranges], dtype=np.int64)
    index, owner = expand_ranges(begin, begin + count)
    rows = [(first + k, i) for i, (first, length) in enumerate(ranges) for k in range(length)]
    assert list(zip(index.tolist(), owner.tolist(), strict=True)) == rows


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12), st.integers(0, 5))
def test_reachable_states_are_the_closure_of_the_arcs(arcs, first):
    src, dst = (np.array([arc[i] for arc in sorted(arcs)], dtype=np.int64) for i in (0, 1))
    expected = {first}
    while more := {d for s, d in arcs if s in expected} - expected:
        expected |= more
    start = np.arange(6) == first
    assert set(np.flatnonzero(reachable(src, dst, start)).tolist()) == expected


@given(st.lists(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_membership(values, members):
    found = isin_sorted(np.array(values, dtype=int), np.array(sorted(members), dtype=int))
    assert found.tolist() == [value in members for value in values]
