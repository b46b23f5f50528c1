"""Trees of tied states against the definition of likelihood, and in a hybrid training."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch

from asr_hlg.acoustic import nets
from asr_hlg.acoustic.features import fbank
from asr_hlg.errors import OptionError
from asr_hlg.graph import topology
from asr_hlg.graph.tied_states import TiedStates
from asr_hlg.losses.frame_graph import FramePath
from asr_hlg.losses.graphs import TranscriptGraphs
from asr_hlg.train import decision_tree, tree
from asr_hlg.train.decision_tree import Gaussian, read_questions
from asr_hlg.train.options import TreeOptions
from tests.support.cat_hat import LEXICON, random_log_probs

PHONES = ["<eps>", "SIL", "a", "e", "m", "t"]
SETS = "set vowel = a e\nset other = m t\nset foreign = a zh\n"


def log_density(frames):
    """Log-likelihood of frames under the Gaussian of their mean and variances, frame by frame."""
    mean, variance = frames.mean(0), np.maximum(frames.var(0), 1e-4)
    each = -0.5 * (np.log(2 * np.pi * variance) + (frames - mean) ** 2 / variance)
    return each.sum()


def gaussian(frames):
    return Gaussian(len(frames), frames.sum(0), (frames**2).sum(0))


def test_log_likelihood_is_that_of_the_frames():
    frames = np.random.default_rng(0).normal(2, 3, (50, 4))
    assert gaussian(frames).log_likelihood() == pytest.approx(log_density(frames))
    assert Gaussian(0.0, np.zeros(4), np.zeros(4)).log_likelihood() == pytest.approx(0, abs=1e-6)


def random_frames(random, mean_of):
    """Frames of state 0 of "t" in every context, around ``mean_of(left, right)``."""
    return {
        (left, right): random.normal(mean_of(left, right), 1.0, (random.integers(5, 40), 2))
        for left, right in itertools.product(range(6), repeat=2)
    }


def grown(frames, questions, options, tmp_path, **others):
    statistics = {(5, 0): {around: gaussian(part) for around, part in frames.items()}}
    text = decision_tree.grow(statistics, PHONES, 1, questions, options, **others)
    path = tmp_path / "tree.txt"
    path.write_text(text)
    return text, TiedStates.read(path, PHONES, 1, 3)


@pytest.fixture
def questions(tmp_path):
    (tmp_path / "questions.txt").write_text(SETS)
    return read_questions(tmp_path / "questions.txt", PHONES, "SIL")


def test_questions_are_sets_and_phones(questions):
    names = {question.name: sorted(question.members) for question in questions}
    assert names == {
        "SIL,<eps>": [0, 1], "a": [2], "e": [3], "m": [4], "t": [5],
        "vowel": [2, 3], "other": [4, 5], "foreign": [2],
    }  # fmt: skip
    assert {question.side for question in questions} == {0, 1}


@pytest.mark.parametrize("line", ["vowel = a", "set vowel a e", "set a = a e", "set x ="])
def test_a_faulty_question_is_named(tmp_path, line):
    (tmp_path / "questions.txt").write_text("# sets\n" + line + "\n")
    with pytest.raises(OptionError, match="is not a question") as error:
        read_questions(tmp_path / "questions.txt", PHONES)
    assert error.value.line == 2


def test_the_tree_finds_the_classes_that_made_the_frames(questions, tmp_path):
    random = np.random.default_rng(1)
    truth = {}
    for left, right in itertools.product(range(6), repeat=2):
        truth[left, right] = 0 if left in (2, 3) else 8 if right in (0, 1) else -8
    frames = random_frames(random, lambda left, right: truth[left, right])
    text, states = grown(frames, questions, TreeOptions(min_frames=10, min_gain=50), tmp_path)
    table = states.table[5, 0]
    for one, other in itertools.combinations(truth, 2):
        assert (table[one] == table[other]) == (truth[one] == truth[other])
    assert "t   0 vowel" in text
    assert len({int(table[around]) for around in truth}) == 3


def naive(frames, questions, options):
    """Leaves of greedy divisions, from the frames themselves."""

    def total(contexts):
        return log_density(np.concatenate([frames[around] for around in contexts]))

    leaves = [sorted(frames)]
    while True:
        best = options.min_gain, None
        for number, leaf in enumerate(leaves):
            for question in questions:
                parts = [
                    [c for c in leaf if (c[question.side] in question.members) == answer]
                    for answer in (True, False)
                ]
                if min(sum(len(frames[c]) for c in part) for part in parts) < options.min_frames:
                    continue
                gain = sum(map(total, parts)) - total(leaf)
                if gain > best[0]:
                    best = gain, (number, parts)
        if best[1] is None or len(leaves) + 4 >= options.max_leaves:
            break
        number, parts = best[1]
        leaves[number : number + 1] = parts
    while len(leaves) > 1:
        pairs = itertools.combinations(range(len(leaves)), 2)
        loss, a, b = min(
            (total(leaves[a]) + total(leaves[b]) - total(leaves[a] + leaves[b]), a, b)
            for a, b in pairs
        )
        if loss >= options.min_gain:
            break
        leaves[a] = leaves[a] + leaves.pop(b)
    return {frozenset(leaf) for leaf in leaves}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        TreeOptions(min_frames=30, min_gain=10),
        TreeOptions(min_frames=150, min_gain=1),
        TreeOptions(min_frames=30, min_gain=10, max_leaves=8),
    ],
)
def test_growing_is_greedy_by_definition(questions, tmp_path, options, seed):
    random = np.random.default_rng(seed)
    means = random.normal(0, 1.0, (6, 6))
    frames = random_frames(random, lambda left, right: means[left, right])
    _, states = grown(frames, questions, options, tmp_path)
    leaves = defaultdict(set)
    for around in frames:
        leaves[int(states.table[5, 0][around])].add(around)
    assert {frozenset(leaf) for leaf in leaves.values()} == naive(frames, questions, options)


def test_silence_and_unseen_phones_have_one_pdf(questions, tmp_path):
    frames = random_frames(np.random.default_rng(2), lambda left, right: 5 * left - 3 * right)
    text, _ = grown(frames, questions, TreeOptions(), tmp_path, independent=[5])
    assert [line.split()[1:] for line in text.splitlines()[1:]] == [
        ["0", "*", "*", f"{phone}_0"] for phone in PHONES[1:]
    ]


def test_context_2_asks_about_the_left_alone(questions, tmp_path):
    frames = random_frames(np.random.default_rng(3), lambda left, right: 5 * left - 9 * right)
    statistics = {(5, 0): {around: gaussian(part) for around, part in frames.items()}}
    options = TreeOptions(context=2, min_frames=20, min_gain=20)
    path = tmp_path / "tree.txt"
    path.write_text(decision_tree.grow(statistics, PHONES, 1, questions, options))
    states = TiedStates.read(path, PHONES, 1, 2)
    assert states.table.shape[3] == 1
    assert len(np.unique(states.table[5, 0])) > 1


def test_statistics_and_labels_follow_the_alignment():
    """SIL a a t with two states each: the second "a" is a phone of its own."""
    phones = [(1, 2), (2, 3), (2, 2), (5, 4)]
    labels, tokens, expected = [], [], []
    for place, (phone, duration) in enumerate(phones):
        left = phones[place - 1][0] if place else 0
        right = phones[place + 1][0] if place < 3 else 0
        for frame in range(duration):
            state = int(frame >= duration // 2)
            labels.append(1 + (phone - 1) * 2 + state)
            tokens.append(phone if frame == 0 else 0)
            expected.append((phone, state, left, right))
    path = FramePath(np.array(labels), np.array(tokens, dtype=np.int32), 0.0)
    features = np.random.default_rng(4).normal(size=(len(labels), 3))
    found = tree.collect([tree.Aligned(features, path)] * 2, 2)
    sums = defaultdict(list)
    for row, (phone, state, left, right) in zip(features, expected, strict=True):
        sums[phone, state, left, right].append(row)
    assert {(*s, *c) for s, contexts in found.items() for c in contexts} == set(sums)
    for (phone, state, left, right), rows in sums.items():
        got, once = found[phone, state][left, right], gaussian(np.array(rows))
        assert got.count == 2 * once.count
        assert got.sum == pytest.approx(2 * once.sum)
        assert got.squares == pytest.approx(2 * once.squares)
    table = np.random.default_rng(5).integers(1, 9, (6, 2, 6, 6)).astype(np.int32)
    states = TiedStates(tuple(map(str, range(9))), table)
    assert tree.tied_labels(path, states).tolist() == [table[around] for around in expected]


def test_a_path_names_the_phones_that_begin():
    graphs = TranscriptGraphs(topology.hmm(6, 2), LEXICON)
    log_probs = random_log_probs(20, 13, 6).numpy()
    path = graphs.of("cat hat").best_path(log_probs)
    phones = [LEXICON.tokens[k] for k in path.tokens if k]
    assert phones == ["k", "ae", "t", "h", "ae", "t"]
    running = np.maximum.accumulate(np.where(path.tokens > 0, np.arange(20), 0))
    assert np.array_equal((path.labels - 1) // 2 + 1, path.tokens[running])


def test_cepstra_are_cosine_transforms_of_the_filter_banks():
    network = nets.create("tdnn", ("<eps>", "a"), subsampling=3, fbank={"num_filters": 20})
    waveform = torch.from_numpy(np.random.default_rng(7).normal(size=8000).astype(np.float32))
    [banks] = fbank([waveform], 16000, network.config.fbank)
    found = tree.cepstra(waveform, network, 17)
    assert found.shape == (17, 26)
    n = np.arange(20)
    for frame, k in [(0, 0), (3, 1), (16, 12)]:
        row = banks.double().numpy()
        cosines = np.sqrt(2 / 20) * np.cos(np.pi / 20 * (n + 0.5) * k)
        assert found[frame, k] == pytest.approx(row[3 * frame] @ cosines)
        before, after = row[max(0, 3 * frame - 1)], row[min(len(row) - 1, 3 * frame + 1)]
        assert found[frame, 13 + k] == pytest.approx((after - before) @ cosines / 2)


def test_outputs_in_context_share_out_those_of_their_states():
    torch.manual_seed(0)
    network = nets.create("tdnn", ("<eps>", "SIL", "a", "e", "m", "t"), dim=16, dropout=0.0)
    table = np.arange(1, 6)[:, None, None, None] * np.ones((5, 1, 6, 6), np.int32)
    table = np.concatenate([np.zeros((1, 1, 6, 6), np.int32), table.astype(np.int32)])
    table[2, 0, :3], table[2, 0, 3] = 6, 7
    states = TiedStates(tuple(map(str, range(8))), table)
    other = tree.with_outputs(network.eval(), states).eval()
    assert other.config.tokens == states.pdfs
    inputs = torch.randn(1, 40, 80), torch.tensor([40])
    before, after = (each(*inputs)[0].exp() for each in (network, other))
    assert torch.allclose(before[..., 2], after[..., [2, 6, 7]].sum(-1), atol=1e-6)
    assert torch.allclose(after[..., 6], after[..., 7])
    assert torch.allclose(before[..., 5], after[..., 5], atol=1e-6)
    with pytest.raises(OptionError, match="cannot be given outputs"):
        tree.with_outputs(nets.create("conformer", ("<eps>", "a")), states)
