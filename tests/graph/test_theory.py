"""Paths of "cat and hat": compiled graphs against sums over every path, taken one by one."""

from __future__ import annotations

import itertools
import math

import k2
import numpy as np
import pytest
import torch

from asr_hlg.acoustic import likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import topology
from tests.support.brute_force import (
    collapse,
    compositions,
    ctc_alignments,
    hmm_alignments,
    log_sum,
    occupancies,
    path_scores,
)
from tests.support.cat_hat import (
    COLUMNS,
    best_score,
    composite,
    intersect,
    label_strings,
    phone_ids,
    random_log_probs,
    total_score,
)


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


def test_compositions_by_hand():
    assert sorted(compositions(4, [1, 0])) == [(1, 3), (2, 2), (3, 1), (4, 0)]
    assert list(compositions(1, [1, 1])) == []
    assert list(compositions(0, [])) == [()]
