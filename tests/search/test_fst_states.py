"""Searches that compose states when they reach them, and forget them, find what others find."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg.graph.lookahead_records import read_only
from asr_hlg.search.fst_decoder import FstSearch
from asr_hlg.search.fst_records import allocate
from asr_hlg.search.fst_states import ComposedStates, PackedStates
from asr_hlg.search.incremental_lattice import Steps
from tests.support.lookahead import random_look_ahead

WORDS = np.arange(10, dtype=np.int32)
SPELLINGS = read_only(WORDS[1:]), read_only(np.append(np.int32(0), WORDS))
LIMITS = (10.0, 3.0, 20.0, 100.0)
FEW = 6  # states, far less than a search visits


class Counted(ComposedStates):
    """Counts how often states are forgotten."""

    forgotten = 0

    def forget(self, tokens, larger=False):
        super().forget(tokens, larger)
        self.forgotten += 1


def searches(seed, limits=LIMITS, steps=None):
    """A search of the whole composition, one that composes, and one that forgets; and frames."""
    random = np.random.default_rng(seed)
    ahead = random_look_ahead(random, 9)
    frames = 2 * random.normal(size=(60, 3)).astype(np.float32)
    states = (
        PackedStates(ahead.packed()),
        Counted(ahead, SPELLINGS, 1 << 13),
        Counted(ahead, SPELLINGS, FEW),
    )
    made = [FstSearch(each, allocate(1 << 14), limits) for each in states]
    for search in made:
        search.ends_anywhere, search.steps = True, steps
    return made, frames


def assert_same(ours, theirs):
    assert ours.num_arcs == theirs.num_arcs > 0
    for field in fields(ours):
        if field.name != "compact":
            np.testing.assert_array_equal(
                getattr(ours, field.name), getattr(theirs, field.name), field.name
            )


@settings(max_examples=15)
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 60), max_size=4, unique=True))
def test_lattices_are_those_of_the_whole_composition(seed, cuts):
    (whole, composing, forgetting), frames = searches(seed)
    for part in np.split(frames, sorted(cuts)):
        for search in (whole, composing, forgetting):
            search.accept(part)
        if len(part):
            assert composing.best_scores() == forgetting.best_scores() == whole.best_scores()
            expected = whole.last_frames(len(part))[0]
            found = [search.last_frames(len(part)) for search in (composing, forgetting)]
            for phones, _ in found:
                np.testing.assert_array_equal(phones, expected)
            np.testing.assert_array_equal(found[0][1], found[1][1])  # states keep their names
        for search in (composing, forgetting):
            assert_same(search.lattice(everywhere=True), whole.lattice(everywhere=True))
            assert_same(search.lattice(), whole.lattice())
    assert composing._states.forgotten == 0
    assert forgetting._states.forgotten > 0


@settings(max_examples=15)
@given(st.integers(0, 1 << 32))
def test_frames_that_are_searched_ahead_leave_no_trace(seed):
    (whole, _, forgetting), frames = searches(seed)
    for begin in range(0, 40, 10):
        for search in (whole, forgetting):
            search.accept(frames[begin : begin + 10])
        ahead = frames[begin + 10 : begin + 30]
        assert_same(forgetting.lattice_ahead(ahead), whole.lattice_ahead(ahead))
    assert forgetting._states.forgotten > 0
    assert_same(forgetting.lattice(), whole.lattice())


@settings(max_examples=5)
@given(st.integers(0, 1 << 32))
def test_lattices_over_words_are_those_of_the_whole_composition(seed):
    (whole, _, forgetting), frames = searches(seed, (8.0, 1.0, 20.0, 100.0), Steps(7, 1.5))
    lattices = []
    for search in (whole, forgetting):
        for part in np.split(np.concatenate([frames, frames]), 4):
            search.accept(part)
        lattices.append(search.lattice().compact)
    assert forgetting._states.forgotten > 0
    assert lattices[0] == lattices[1]


@given(st.integers(0, 1 << 32))
def test_states_are_kept_of_tokens_and_arcs_of_links_only(seed):
    (_, composing, _), frames = searches(seed)
    composing.accept(frames)
    states = composing._states
    before = composing.lattice()
    visited = states._composition.size.copy()
    composing._forget(True)
    tokens = composing._tokens()
    used = [
        np.unique(np.append(0, tokens.tokens["state"][: tokens.frames["token"][-1]])),
        np.unique(tokens.links["arc"][: tokens.frames["link"][-1]]),
        np.unique(tokens.eps_links["arc"][: tokens.frames["eps_link"][-1]]),
    ]
    assert states._composition.size.tolist() == [len(each) for each in used]
    assert (states._composition.size <= visited).all()
    assert len(states._composition.pairs) == 2 << 13
    assert_same(composing.lattice(), before)
    composing._forget(False)
    assert len(states._composition.pairs) == 1 << 13
    assert_same(composing.lattice(), before)
