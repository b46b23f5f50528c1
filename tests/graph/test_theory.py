"""The theory on "cat and hat": compiled graphs against sums over every path, taken one by one."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import k2
import kaldifst
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg.acoustic import likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.graph.prefix_tree import DELTA
from asr_hlg.lexicon import Lexicon
from tests.support.brute_force import (
    Machine,
    collapse,
    compositions,
    ctc_alignments,
    hmm_alignments,
    log_sum,
    occupancies,
    path_scores,
    random_string,
    transductions,
)
from tests.support.topologies import to_openfst

LEXICON = Lexicon.read(Path(__file__).resolve().parents[2] / "lang/cat_hat/lexicon.txt")
COLUMNS = tuple(symbols.names(LEXICON.tokens)[: LEXICON.num_tokens])
PHONES = {"cat": "k ae t", "and": "ae n d", "hat": "h ae t"}

# Determinization and minimisation take weights nearer than DELTA for equal, on each of 12 arcs.
ROUNDING = 2 * 12 * DELTA


def phone_ids(words):
    return [LEXICON.tokens[phone] for word in words.split() for phone in PHONES[word].split()]


def sentence(words):
    return k2.linear_fsa([LEXICON.words[word] for word in words.split()])


def random_log_probs(num_frames, num_tokens, seed=0, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(num_frames, num_tokens)) * sharpness
    return torch.from_numpy(logits).log_softmax(dim=1)


def intersect(graph, log_probs):
    """All paths of a graph with as many frames as ``log_probs`` has; nothing is pruned."""
    fsa = getattr(graph, "fsa", graph)
    dense = k2.DenseFsaVec(
        log_probs.float()[None], torch.tensor([[0, 0, len(log_probs)]], dtype=torch.int32)
    )
    return k2.intersect_dense(k2.create_fsa_vec([fsa]), dense, output_beam=1e4)


def total_score(lattice):
    return lattice.get_tot_scores(use_double_scores=True, log_semiring=True)[0]


def best_score(lattice):
    return lattice.get_tot_scores(use_double_scores=True, log_semiring=False)[0]


def label_strings(lattice):
    """Every path of a lattice, as its labels without the final one."""
    machine = Machine.of(lattice[0])
    found, stack = [], [(0, ())]
    while stack:
        state, labels = stack.pop()
        found += [labels] * len(machine.final.get(state, ()))
        stack += [(arc[0], (*labels, arc[1])) for arc in machine.leaving.get(state, ())]
    return found


def composite(words, topo="ctc", num_states=1, **options):
    """The composite HMM of a word sequence: H∘L∘G where G is that one sentence."""
    if topo == "ctc":
        H = topology.ctc(LEXICON.num_tokens)
    else:
        H = topology.hmm(LEXICON.num_tokens - 1, num_states, **options)
    return compile_hlg(H, LEXICON, sentence(words))


# The sets of sequences.


@pytest.mark.parametrize(("phones", "num_frames"), [([4, 1], 4), ([1, 1], 5), ([2], 3), ([], 2)])
def test_the_ctc_strings_of_the_definition_are_all_that_collapse_to_it(phones, num_frames):
    """The enumeration used below is the inverse image B⁻¹ of the definition."""
    everything = itertools.product(range(5), repeat=num_frames)
    expected = {string for string in everything if collapse(string) == tuple(phones)}
    found = ctc_alignments(phones, num_frames)
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(("words", "num_frames"), [("cat", 6), ("hat", 3), ("cat and hat", 11)])
def test_ctc_symbol_sequences(words, num_frames):
    lattice = intersect(composite(words), random_log_probs(num_frames, 7))
    found = label_strings(lattice)
    assert set(found) == set(ctc_alignments(phone_ids(words), num_frames))
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("words", "num_frames", "num_states"),
    [("cat", 6, 1), ("cat", 11, 3), ("and", 9, 3), ("cat and hat", 12, 1)],
)
def test_hmm_state_sequences(words, num_frames, num_states):
    graph = composite(words, "hmm", num_states)
    found = label_strings(intersect(graph, random_log_probs(num_frames, 6 * num_states + 1)))
    expected = [pdfs for pdfs, _ in hmm_alignments(phone_ids(words), num_frames, num_states)]
    assert len(expected) == math.comb(num_frames - 1, len(phone_ids(words)) * num_states - 1)
    assert sorted(found) == sorted(expected)


# Sums and maxima over them.


def hmm_paths(words, log_probs, num_states=1, transitions=None):
    """All state sequences of a sentence with log P(A|S) P(S|W)."""
    phones = phone_ids(words)
    if transitions is None:
        transitions = np.tile(topology.left_to_right(num_states), (6, 1, 1))
    paths, scores = [], []
    for pdfs, durations in hmm_alignments(phones, len(log_probs), num_states):
        score = path_scores(log_probs, [pdfs])[0]
        states = itertools.product(phones, range(num_states))
        for (phone, state), duration in zip(states, durations, strict=True):
            row = transitions[phone - 1, state]
            score += (duration - 1) * math.log(row[state]) + math.log(row[state + 1])
        paths.append(pdfs)
        scores.append(score)
    return paths, scores


CASES = [
    ("ctc", "cat", 6, 1),
    ("ctc", "cat and", 9, 1),
    ("ctc", "cat and hat", 12, 1),
    ("hmm", "cat", 7, 1),
    ("hmm", "hat", 12, 3),
    ("hmm", "cat and hat", 12, 1),
]


def paths_and_lattice(topo, words, num_frames, num_states, seed):
    num_tokens = 7 if topo == "ctc" else 6 * num_states + 1
    log_probs = random_log_probs(num_frames, num_tokens, seed)
    if topo == "ctc":
        paths = ctc_alignments(phone_ids(words), num_frames)
        scores = path_scores(log_probs.numpy(), paths)
    else:
        paths, scores = hmm_paths(words, log_probs.numpy(), num_states)
    leaf = log_probs.float().requires_grad_()
    lattice = intersect(composite(words, topo, num_states), leaf)
    return log_probs, leaf, paths, scores, lattice


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("topo", "words", "num_frames", "num_states"), CASES)
def test_forward_viterbi_and_occupancies(topo, words, num_frames, num_states, seed):
    log_probs, leaf, paths, scores, lattice = paths_and_lattice(
        topo, words, num_frames, num_states, seed
    )
    assert total_score(lattice).item() == pytest.approx(log_sum(scores), abs=1e-4)

    best = int(np.argmax(scores))
    assert best_score(lattice).item() == pytest.approx(scores[best], abs=1e-4)
    path = k2.shortest_path(lattice, use_double_scores=True)
    assert tuple(path.labels.tolist()[:-1]) == paths[best]

    gamma = occupancies(log_probs.numpy(), paths, scores)
    assert gamma.sum(axis=1) == pytest.approx(np.ones(num_frames))
    assert occupancy_by_arcs(lattice, gamma.shape) == pytest.approx(gamma, abs=1e-5)
    # ∂ log P(A|W) / ∂ log p_t(s) = γ_t(s): the gradient is forward–backward.
    total_score(lattice).backward()
    assert leaf.grad.numpy() == pytest.approx(gamma, abs=1e-5)


def occupancy_by_arcs(lattice, shape):
    """γ_t(s) by forward–backward: arc posteriors added up by frame and label."""
    posteriors = lattice._get_arc_post(use_double_scores=True, log_semiring=True).exp()
    labels = lattice.labels.tolist()
    frame_of_state = {0: 0}
    gamma = np.zeros(shape)
    arcs = zip(lattice.arcs.values()[:, :2].tolist(), labels, posteriors.tolist(), strict=True)
    for (src, dst), label, posterior in arcs:
        if label >= 0:
            gamma[frame_of_state[src], label] += posterior
            frame_of_state[dst] = frame_of_state[src] + 1
    return gamma


# The CTC loss and its gradient.


@pytest.mark.parametrize(("words", "num_frames"), [("cat", 6), ("cat and", 8), ("cat and hat", 12)])
@pytest.mark.parametrize("seed", range(3))
def test_ctc_loss_is_torchs(words, num_frames, seed):
    logits = torch.randn(
        num_frames, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.double
    )
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    loss = -total_score(intersect(composite(words), ours.log_softmax(dim=1)))
    expected = torch.nn.functional.ctc_loss(
        theirs.log_softmax(dim=1)[:, None],
        torch.tensor([phone_ids(words)]),
        [num_frames],
        [len(phone_ids(words))],
        reduction="sum",
    )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    loss.backward()
    expected.backward()
    assert ours.grad.numpy() == pytest.approx(theirs.grad.numpy(), abs=1e-5)


@pytest.mark.parametrize(("words", "num_frames"), [("cat", 6), ("cat and", 8)])
def test_gradient_of_the_loss_is_minus_occupancy_over_probability(words, num_frames):
    """∂(−log P(W|A)) / ∂p_t(s) = −γ_t(s) / p_t(s), by enumeration, autograd and the graph."""
    probs = random_log_probs(num_frames, 7, seed=5).exp()
    paths = ctc_alignments(phone_ids(words), num_frames)
    gamma = occupancies(probs.numpy(), paths, path_scores(probs.log().numpy(), paths))

    enumerated = probs.clone().requires_grad_()
    picked = enumerated[torch.arange(num_frames), torch.tensor(paths)]
    (-picked.log().sum(dim=1).logsumexp(dim=0)).backward()
    assert enumerated.grad.numpy() == pytest.approx(-gamma / probs.numpy(), rel=1e-9)

    leaf = probs.clone().requires_grad_()
    (-total_score(intersect(composite(words), leaf.log()))).backward()
    assert leaf.grad.numpy() == pytest.approx(-gamma / probs.numpy(), rel=1e-4, abs=1e-5)


# HMMs: transition probabilities and the hybrid scaling.


@pytest.mark.parametrize(("words", "num_frames", "num_states"), [("cat", 8, 2), ("cat hat", 10, 1)])
def test_hmm_full_sum_with_transition_probabilities_of_each_phone(words, num_frames, num_states):
    random = np.random.default_rng(9)
    transitions = np.zeros((6, num_states, num_states + 1))
    for phone, state in itertools.product(range(6), range(num_states)):
        transitions[phone, state, state : state + 2] = random.dirichlet([1, 1])
    log_probs = random_log_probs(num_frames, 6 * num_states + 1, seed=3)
    _, scores = hmm_paths(words, log_probs.numpy(), num_states, transitions)
    graph = composite(words, "hmm", num_states, transitions=transitions)
    lattice = intersect(graph, log_probs)
    assert total_score(lattice).item() == pytest.approx(log_sum(scores), abs=1e-4)
    assert best_score(lattice).item() == pytest.approx(max(scores), abs=1e-4)


def test_an_hmm_generates_every_length_with_probability_one():
    """With P(y|s) = 1 the full sum over all lengths is Σ_T P(T) = 1: P(S|W) is a distribution."""
    graph = composite("cat", "hmm", self_loop=0.3)
    totals = [total_score(intersect(graph, torch.zeros(t, 7))).item() for t in range(3, 25)]
    assert sum(math.exp(total) for total in totals) == pytest.approx(1, abs=1e-5)


def test_hybrid_scaling_turns_posteriors_into_likelihoods():
    """With p(φ|y) from Bayes' rule, log p(φ|y) − log p(φ) is log p(y|φ) up to a constant a frame.

    So the best path and the occupancies are those of the generative model, and the forward score
    differs by Σ log p(y_t).
    """
    random = np.random.default_rng(8)
    likelihood = random.dirichlet(np.ones(20), size=7)  # p(y|φ), 20 kinds of frames
    prior = random.dirichlet(np.ones(7))
    evidence = prior @ likelihood  # p(y)
    frames = random.integers(0, 20, size=8)
    posterior = torch.from_numpy((likelihood * prior[:, None] / evidence)[:, frames].T)
    assert posterior.sum(dim=1).numpy() == pytest.approx(np.ones(8))

    given = Posteriors(posterior.log()[None], torch.tensor([8], dtype=torch.int32), 0.01, COLUMNS)
    scaled = likelihoods.scale(given, torch.from_numpy(prior)).log_probs[0]
    true = torch.from_numpy(likelihood[:, frames].T).log()
    constant = torch.from_numpy(np.log(evidence[frames]))
    assert (true - scaled).numpy() == pytest.approx(np.tile(constant[:, None], (1, 7)))

    paths, scores = hmm_paths("cat", true.numpy())
    lattice = intersect(composite("cat", "hmm"), scaled)
    best = k2.shortest_path(lattice, use_double_scores=True)
    assert tuple(best.labels.tolist()[:-1]) == paths[int(np.argmax(scores))]
    expected = log_sum(scores) - constant.sum().item()
    assert total_score(lattice).item() == pytest.approx(expected, abs=1e-4)
    gamma = occupancies(true.numpy(), paths, scores)
    assert occupancy_by_arcs(lattice, gamma.shape) == pytest.approx(gamma, abs=1e-5)


# Decoding: the best word sequence of all.


def word_sequences(words, longest):
    for length in range(longest + 1):
        yield from itertools.product(words, repeat=length)


def sentence_scores(words, entries, log_probs, topo, language):
    """log P(A|S) P(S|W) P(W) of every alignment and pronunciation of a word sequence.

    ``entries`` maps words to ``[(phone ids, probability), …]``, ``language`` is log P(W).
    """
    scores = []
    for choice in itertools.product(*(entries[word] for word in words)):
        phones = [phone for pronunciation, _ in choice for phone in pronunciation]
        prior = language + sum(math.log(probability) for _, probability in choice)
        if topo == "ctc":
            paths, structure = ctc_alignments(phones, len(log_probs)), 0.0
        else:
            # One state a phone: every frame either repeats the state or leaves it.
            paths = [pdfs for pdfs, _ in hmm_alignments(phones, len(log_probs))]
            structure = len(log_probs) * math.log(0.5)
        scores += (path_scores(log_probs, paths) + structure + prior).tolist()
    return scores


class Bigram:
    """P(W) with a probability for every pair, as a definition and as G."""

    def __init__(self, table, words):
        self.table = np.asarray(table)  # rows: start, words; columns: words, end
        self.words = words

    def log_prob(self, sequence):
        states = [0, *(1 + self.words.index(word) for word in sequence)]
        columns = [*(self.words.index(word) for word in sequence), len(self.words)]
        return sum(math.log(self.table[s, c]) for s, c in zip(states, columns, strict=True))

    def arcs(self, table):
        rows, columns = np.divmod(np.arange(self.table[:, :-1].size), len(self.words))
        labels = np.array([table[word] for word in self.words], dtype=np.int32)[columns]
        return Arcs(
            rows.astype(np.int32),
            (columns + 1).astype(np.int32),
            labels,
            labels,
            np.log(self.table[rows, columns]).astype(np.float32),
            np.log(self.table[:, -1]).astype(np.float32),
        )


def decoded_words(path, table):
    return tuple(table[word] for word in path.aux_labels.values.tolist() if word > 0)


def assert_decodes_to_the_argmax(lexicon, bigram, topo, log_probs, longest):
    entries = {word: [] for word in bigram.words}
    for word, phones, probability, _, _ in lexicon.entries:
        entries[word].append(([lexicon.tokens[phone] for phone in phones], probability))
    scores = {
        words: sentence_scores(words, entries, log_probs.numpy(), topo, bigram.log_prob(words))
        for words in word_sequences(bigram.words, longest)
    }
    scores = {words: found for words, found in scores.items() if found}
    H = (
        topology.ctc(lexicon.num_tokens)
        if topo == "ctc"
        else topology.hmm(lexicon.num_tokens - 1, 1)
    )
    lattice = intersect(compile_hlg(H, lexicon, bigram.arcs(lexicon.words)), log_probs)
    if not scores:
        assert lattice.num_arcs == 0
        return
    viterbi = {words: max(found) for words, found in scores.items()}
    best = max(viterbi.values())
    assert best_score(lattice).item() == pytest.approx(best, abs=ROUNDING)
    winner = decoded_words(k2.shortest_path(lattice, use_double_scores=True), lexicon.words)
    # Homophones may tie; whichever wins must score as the brute-force winner does.
    assert viterbi[winner] == pytest.approx(best, abs=ROUNDING)
    forward = log_sum(score for found in scores.values() for score in found)
    assert total_score(lattice).item() == pytest.approx(forward, abs=ROUNDING)


@pytest.mark.parametrize("topo", ["ctc", "hmm"])
@pytest.mark.parametrize("num_frames", [6, 9, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_best_path_is_the_argmax_over_all_sentences_of_cat_and_hat(topo, num_frames, seed):
    table = np.random.default_rng(seed).dirichlet(np.ones(4), size=4)
    bigram = Bigram(table, ["cat", "and", "hat"])
    log_probs = random_log_probs(num_frames, 7, seed, sharpness=3)
    # Three phones a word: twelve frames hold four words and no more.
    assert_decodes_to_the_argmax(LEXICON, bigram, topo, log_probs, longest=4)


lexicons = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(tuple),
        st.sampled_from([1.0, 0.5, 0.1]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda entry: entry[:2],
).map(lambda entries: Lexicon(entries, tokens=["<blk>", "a", "b"]))


def random_bigram(lexicon, random):
    words = sorted({entry.word for entry in lexicon.entries})
    return Bigram(random.dirichlet(np.ones(len(words) + 1), size=len(words) + 1), words)


@settings(max_examples=40, deadline=None)
@given(lexicons, st.sampled_from(["ctc", "hmm"]), st.integers(1, 4), st.integers(0, 10**6))
def test_best_path_is_the_argmax_for_any_lexicon_and_bigram(lexicon, topo, num_frames, seed):
    """Homophones, prefixes, words of one phone, doubled phones; four frames hold four words."""
    bigram = random_bigram(lexicon, np.random.default_rng(seed))
    log_probs = random_log_probs(num_frames, 3, seed)
    assert_decodes_to_the_argmax(lexicon, bigram, topo, log_probs, longest=4)


# The compiled graph and OpenFst's composition of the same parts.


def openfst_hlg(H, lexicon, G):
    """H∘L∘G by kaldifst, composed and nothing else; input labels are moved up by one."""
    up = kaldifst.compile(to_openfst(H, label_offset=1))
    lg = openfst_compose(lexicon.arcs().to_openfst(), G.to_openfst())
    return Arcs.from_openfst(openfst_compose(up, lg))


def openfst_compose(a, b):
    kaldifst.arcsort(a, "olabel")
    return kaldifst.compose(a, b)


def assert_equal_languages(graph, reference, random, exact_sums=True):
    """Strings from either are accepted by the other, with the same words and scores."""
    ours, theirs = Machine.of(graph.fsa), Machine.of(reference)
    drawn = [random_string(ours, random, 8) for _ in range(20)]
    for walk in (random_string(theirs, random, 12) for _ in range(20)):
        if walk is not None:
            drawn.append([label - 1 for label in walk if label > 0])
    strings = {tuple(labels) for labels in drawn if labels is not None}
    for labels in strings:
        got = transductions(ours, labels)
        expected = transductions(theirs, [label + 1 for label in labels], epsilon=0)
        assert got.keys() == expected.keys() != set()
        for words in expected:
            assert max(got[words]) == pytest.approx(max(expected[words]), abs=ROUNDING)
            if exact_sums:
                assert log_sum(got[words]) == pytest.approx(log_sum(expected[words]), abs=ROUNDING)
    return len(strings)


TOPOLOGIES = {
    "ctc": lambda num_tokens: topology.ctc(num_tokens),
    "modified": lambda num_tokens: topology.ctc(num_tokens, modified=True),
    "hmm": lambda num_tokens: topology.hmm(num_tokens - 1, 2, skip=0.1),
    "chain": lambda num_tokens: topology.chain(num_tokens - 1),
}


@pytest.mark.parametrize("topo", TOPOLOGIES)
def test_compiled_graph_is_openfsts_for_cat_and_hat(topo):
    H = TOPOLOGIES[topo](LEXICON.num_tokens)
    random = np.random.default_rng(2)
    G = random_bigram(LEXICON, random).arcs(LEXICON.words)
    graph = compile_hlg(H, LEXICON, G)
    assert assert_equal_languages(graph, openfst_hlg(H, LEXICON, G), random) > 5


@settings(max_examples=40, deadline=None)
@given(lexicons, st.sampled_from(sorted(TOPOLOGIES)), st.booleans(), st.integers(0, 10**6))
def test_compiled_graph_is_openfsts_for_any_lexicon(lexicon, topo, silence, seed):
    random = np.random.default_rng(seed)
    if silence:
        lexicon = Lexicon(
            [entry[:3] for entry in lexicon.entries],
            tokens=["<blk>", "a", "b", "SIL"],
            silence="SIL",
            silence_prob=0.3,
        )
    H = TOPOLOGIES[topo](lexicon.num_tokens)
    G = random_bigram(lexicon, random).arcs(lexicon.words)
    graph = compile_hlg(H, lexicon, G)
    assert_equal_languages(graph, openfst_hlg(H, lexicon, G), random)


@pytest.mark.parametrize("topo", TOPOLOGIES)
def test_without_a_grammar_any_word_may_follow_any(topo):
    H = TOPOLOGIES[topo](LEXICON.num_tokens)
    loop = np.zeros(3, dtype=np.int32)
    words = np.array([LEXICON.words[word] for word in PHONES], dtype=np.int32)
    zero = np.zeros(3, dtype=np.float32)
    G = Arcs(loop, loop, words, words, zero, zero[:1])
    random = np.random.default_rng(6)
    assert assert_equal_languages(compile_hlg(H, LEXICON), openfst_hlg(H, LEXICON, G), random) > 3


def back_off_bigram(table):
    """A G with back-off arcs: a word is reached by its bigram or through state 2."""
    cat, hat, pause = table["cat"], table["hat"], table["#0"]
    arcs = [
        (0, 1, cat, 0.6), (0, 2, pause, 0.4),
        (1, 0, hat, 0.5), (1, 2, pause, 0.3),
        (2, 1, cat, 0.2), (2, 0, hat, 0.3), (2, 0, table["and"], 0.4),
    ]  # fmt: skip
    src, dst, label, probability = (np.array(column) for column in zip(*arcs, strict=True))
    src, dst, label = (column.astype(np.int32) for column in (src, dst, label))
    final = np.log([0.1, 0.2, 0.1]).astype(np.float32)
    words = np.where(label == pause, 0, label)
    return Arcs(src, dst, label, words, np.log(probability).astype(np.float32), final)


@pytest.mark.parametrize("topo", TOPOLOGIES)
def test_compiled_graph_with_back_off_is_openfsts(topo):
    G = back_off_bigram(LEXICON.words)
    H = TOPOLOGIES[topo](LEXICON.num_tokens)
    graph = compile_hlg(H, LEXICON, G)
    reference = openfst_hlg(H, LEXICON, replace(G, ilabel=G.olabel))
    random = np.random.default_rng(4)
    # A bigram and its back-off may end in one arc, the better of the two: sums may differ.
    assert assert_equal_languages(graph, reference, random, exact_sums=False) > 5


def test_compositions_by_hand():
    assert sorted(compositions(4, [1, 0])) == [(1, 3), (2, 2), (3, 1), (4, 0)]
    assert list(compositions(1, [1, 1])) == []
    assert list(compositions(0, [])) == [()]
