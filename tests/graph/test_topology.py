from __future__ import annotations

import itertools
import math
from collections import defaultdict

import k2
import kaldifst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import OptionError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import topology
from tests.support.brute_force import collapse, log_sum, transductions
from tests.support.examples import examples
from tests.support.topologies import to_openfst


def strings(labels, longest):
    for length in range(longest + 1):
        yield from itertools.product(labels, repeat=length)


def readings_as_runs(labels):
    """Modified CTC: every way to cut each run of a token into tokens, blanks dropped."""
    runs = [(label, len(list(group))) for label, group in itertools.groupby(labels)]
    ways = [[()] if label == 0 else cuts(label, length) for label, length in runs]
    return [sum(choice, ()) for choice in itertools.product(*ways)]


def cuts(label, length):
    """A run of n frames may be parted at each of its n - 1 seams."""
    seams = itertools.product([False, True], repeat=length - 1)
    return [(label,) * (1 + sum(parted)) for parted in seams]


@pytest.mark.parametrize("num_tokens", [2, 3, 4])
def test_ctc_reads_every_string_as_what_it_collapses_to(num_tokens):
    H = topology.ctc(num_tokens)
    for string in strings(range(num_tokens), 4):
        assert transductions(H, string) == {collapse(string): [0.0]}


@pytest.mark.parametrize("num_tokens", [2, 3])
def test_modified_ctc_reads_a_run_as_any_number_of_tokens(num_tokens):
    H = topology.ctc(num_tokens, modified=True)
    for string in strings(range(num_tokens), 5):
        expected = defaultdict(list)
        for tokens in readings_as_runs(string):
            expected[tokens].append(0.0)
        assert transductions(H, string) == expected


@pytest.mark.parametrize("modified", [False, True])
def test_ctc_is_the_language_of_k2(modified):
    ours, theirs = topology.ctc(4, modified), k2.ctc_topo(3, modified)
    for string in strings(range(4), 4):
        assert transductions(ours, string) == transductions(theirs, string)


def test_modified_ctc_grows_linearly():
    assert topology.ctc(5000, modified=True).num_arcs < 25_000


def hmm_readings(pdfs, transitions):
    """Phone sequences of a pdf string with the log-probability of each path, by definition."""
    if not pdfs:
        return [((), 0.0)]
    num_states = transitions.shape[1]
    found = []
    for end in range(1, len(pdfs) + 1):
        phones, states = zip(*(divmod(pdf - 1, num_states) for pdf in pdfs[:end]), strict=True)
        if len(set(phones)) > 1 or states[0] != 0:
            continue
        path = itertools.pairwise([*states, num_states])
        probability = math.prod(transitions[phones[0]][step] for step in path)
        if probability > 0:
            for rest, score in hmm_readings(pdfs[end:], transitions):
                found.append(((phones[0] + 1, *rest), math.log(probability) + score))
    return found


def assert_reads_like(H, num_pdfs, transitions, longest):
    accepted = 0
    for string in strings(range(1, num_pdfs + 1), longest):
        expected = defaultdict(list)
        for phones, score in hmm_readings(string, transitions):
            expected[phones].append(score)
        got = transductions(H, string)
        assert got.keys() == expected.keys()
        for phones, scores in expected.items():
            assert sorted(got[phones]) == pytest.approx(sorted(scores), abs=1e-5)
        accepted += bool(expected)
    assert accepted > longest


@pytest.mark.parametrize(
    ("num_phones", "num_states", "self_loop", "skip", "longest"),
    [(2, 1, 0.3, 0.0, 5), (1, 3, 0.5, 0.0, 6), (2, 2, 0.6, 0.1, 5), (1, 3, 0.5, 0.2, 6)],
)
def test_hmm_is_the_product_of_its_transitions(num_phones, num_states, self_loop, skip, longest):
    H = topology.hmm(num_phones, num_states, self_loop, skip)
    matrix = topology.left_to_right(num_states, self_loop, skip)
    transitions = np.tile(matrix, (num_phones, 1, 1))
    assert_reads_like(H, num_phones * num_states, transitions, longest)
    assert H.num_tokens == 1 + num_phones * num_states


def test_hmm_takes_transition_probabilities_of_each_phone():
    transitions = np.array(
        [[[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]], [[0.6, 0.4, 0.0], [0.0, 0.25, 0.75]]]
    )
    H = topology.hmm(2, 2, transitions=transitions)
    assert_reads_like(H, 4, transitions, 5)


@examples(20)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_hmm_takes_any_transition_matrix(num_phones, num_states, seed):
    random = np.random.default_rng(seed)
    transitions = random.dirichlet(np.ones(num_states + 1), size=(num_phones, num_states))
    H = topology.hmm(num_phones, num_states, transitions=transitions)
    length = {1: 5, 2: 4, 3: 3}[num_states] - (num_phones == 3)
    assert_reads_like(H, num_phones * num_states, transitions, length)


def test_every_hmm_state_shares_out_its_probability():
    """What leaves a state sums to one when a phone, once left, is entered with probability 1/N."""
    H = Arcs.from_k2(topology.hmm(3, 3, 0.7, 0.1))
    for state in range(1, H.num_states):
        inside = (H.src == state) & (H.olabel == 0)
        entry = (H.src == state) & (H.olabel > 0)
        assert len(set(H.score[entry])) <= 1
        total = np.exp(H.score[inside]).sum() + (np.exp(H.score[entry][0]) if entry.any() else 0)
        assert total == pytest.approx(1, abs=1e-6)


def test_left_to_right_by_hand():
    expected = [[0.5, 0.3, 0.2, 0], [0, 0.5, 0.3, 0.2], [0, 0, 0.5, 0.5]]
    assert topology.left_to_right(3, 0.5, 0.2) == pytest.approx(np.array(expected))


def test_chain_gives_the_first_frame_a_pdf_of_its_own():
    H = topology.chain(2, self_loop=0.4)
    stay, leave = math.log(0.4), math.log(0.6)
    assert H.num_tokens == 5
    for pdfs, phones, score in [
        ((1,), (1,), leave),
        ((1, 2, 2, 3), (1, 2), 2 * stay + 2 * leave),
        ((1, 1), (1, 1), 2 * leave),
        ((3, 4, 3), (2, 2), stay + 2 * leave),
    ]:
        assert transductions(H, pdfs) == {phones: [pytest.approx(score, abs=1e-6)]}
    for refused in [(2,), (1, 4), (4, 4)]:
        assert transductions(H, refused) == {}


def test_chain_is_an_hmm_whose_second_state_repeats():
    matrix = np.tile([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]], (2, 1, 1))
    assert_reads_like(topology.chain(2), 4, matrix, 4)


@pytest.mark.parametrize(
    ("H", "offset"),
    [
        (topology.ctc(3), 1),
        (topology.ctc(3, True), 1),
        (topology.hmm(2), 0),
        (topology.chain(2), 0),
    ],
)
def test_openfst_reads_the_text(H, offset):
    theirs = Arcs.from_openfst(kaldifst.compile(to_openfst(H, offset)))
    accepted = 0
    for string in strings(range(H.num_tokens), 4):
        expected = transductions(H, string)
        got = transductions(theirs, [label + offset for label in string])
        assert got == {output: pytest.approx(scores) for output, scores in expected.items()}
        accepted += bool(expected)
    assert accepted > 1


@pytest.mark.parametrize(
    ("H", "shortest"),
    [
        (topology.ctc(4), 4),  # a blank must part the twos
        (topology.ctc(4, True), 3),
        (topology.hmm(3), 9),
        (topology.hmm(3, skip=0.1), 6),
        (topology.chain(3), 3),
    ],
)
def test_composed_with_phones_it_counts_their_frames(H, shortest):
    graph = k2.connect(k2.compose(H, k2.linear_fst([1, 2, 2], [1, 2, 2])))
    assert next(n for n in range(20) if accepts_length(graph, n)) == shortest


def accepts_length(graph, length):
    states = {0}
    arcs = Arcs.from_k2(graph)
    for _ in range(length):
        states = {int(d) for s, d in zip(arcs.src, arcs.dst, strict=True) if int(s) in states}
    return any(arcs.final[state] > -np.inf for state in states)


@pytest.mark.parametrize(
    "call",
    [
        lambda: topology.ctc(1),
        lambda: topology.hmm(0),
        lambda: topology.hmm(1, 0),
        lambda: topology.hmm(1, 3, self_loop=1.0),
        lambda: topology.hmm(1, 3, self_loop=0.5, skip=0.5),
        lambda: topology.hmm(1, 3, self_loop=-0.1),
        lambda: topology.hmm(2, 1, transitions=np.ones((2, 1, 2))),
        lambda: topology.hmm(2, 1, transitions=np.full((1, 1, 2), 0.5)),
        lambda: topology.chain(0),
        lambda: topology.chain(1, self_loop=0.0),
    ],
)
def test_impossible_options(call):
    with pytest.raises(OptionError):
        call()


def test_total_probability_of_all_strings_is_one_phone():
    """Over all durations, one phone's paths sum to 1: P(exit at some time) = 1."""
    H = topology.hmm(1, 2, 0.4)
    total = log_sum(
        score
        for string in strings([1, 2], 12)
        for phones, scores in transductions(H, string).items()
        if phones == (1,)
        for score in scores
    )
    assert math.exp(total) == pytest.approx(1, abs=2e-3)


def test_names_of_the_columns_that_a_topology_reads():
    tokens = ["<blk>", "a", "b", "#0"]
    assert topology.column_names(topology.ctc(3), tokens) == ("<blk>", "a", "b")
    assert topology.column_names(topology.hmm(2, 1), tokens) == ("<eps>", "a", "b")
    names = ("<eps>", "a_0", "a_1", "b_0", "b_1")
    assert topology.column_names(topology.hmm(2, 2), tokens) == names
    assert topology.column_names(topology.chain(2), tokens) == names
