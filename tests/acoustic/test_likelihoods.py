"""Scaled likelihoods are the posteriors over the priors, and columns follow the graph's order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.acoustic.likelihoods import count_priors, map_tokens, scale
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import ModelError, OptionError
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions, decode
from tests.support.examples import examples


def posteriors(probabilities, tokens=("<blk>", "a", "b"), priors=None) -> Posteriors:
    log_probs = torch.tensor([probabilities], dtype=torch.float32).log()
    lengths = torch.tensor([len(probabilities)], dtype=torch.int32)
    priors = None if priors is None else torch.tensor(priors)
    return Posteriors(log_probs, lengths, 0.02, tuple(tokens), priors)


def test_defaults_leave_the_scores_unchanged():
    given_ = posteriors([[0.5, 0.25, 0.25]])
    scaled = scale(given_)
    torch.testing.assert_close(scaled.log_probs, given_.log_probs)
    assert scaled.tokens == given_.tokens
    assert scaled.frame_shift == 0.02


def test_priors_are_divided_out():
    # p(φ|y) / p(φ): 0.5 / 0.5, 0.25 / 0.4, 0.25 / 0.1.
    scaled = scale(posteriors([[0.5, 0.25, 0.25]]), torch.tensor([0.5, 0.4, 0.1]))
    torch.testing.assert_close(scaled.log_probs.exp(), torch.tensor([[[1.0, 0.625, 2.5]]]))


def test_prior_scale_weights_the_priors():
    scaled = scale(
        posteriors([[0.5, 0.25, 0.25]]), torch.tensor([0.25, 0.5, 0.25]), prior_scale=0.5
    )
    expected = torch.tensor([[[1.0, 0.25 / math.sqrt(0.5), 0.5]]])
    torch.testing.assert_close(scaled.log_probs.exp(), expected)


def test_scores_are_not_divided_twice():
    scaled = scale(posteriors([[0.5, 0.25, 0.25]], priors=[0.5, 0.25, 0.25]))
    assert scaled.priors is None


def test_blank_penalty_and_acoustic_scale():
    scaled = scale(posteriors([[0.5, 0.25, 0.25]]), acoustic_scale=0.8, blank_penalty=1.5)
    expected = [0.8 * (math.log(0.5) - 1.5), 0.8 * math.log(0.25), 0.8 * math.log(0.25)]
    torch.testing.assert_close(scaled.log_probs, torch.tensor([[expected]]))


def test_the_floor_comes_before_priors_and_penalty():
    scaled = scale(
        posteriors([[1.0, 0.0, 0.0]]),
        priors=torch.tensor([0.5, 0.25, 0.25]),
        blank_penalty=1.0,
        floor=1e-7,
    )
    expected = [math.log(2.0) - 1.0, math.log(4e-7), math.log(4e-7)]
    torch.testing.assert_close(scaled.log_probs, torch.tensor([[expected]]))


def test_zero_probabilities_stay_zero_without_a_floor():
    assert scale(posteriors([[1.0, 0.0, 0.0]])).log_probs[0, 0, 1] == -math.inf


def test_blank_free_models_have_no_blank_to_penalise_and_never_emit_epsilon():
    free = posteriors([[0.5, 0.25, 0.25]], tokens=("<eps>", "a", "b"))
    scaled = scale(free, blank_penalty=1.5, floor=1e-7)
    torch.testing.assert_close(scaled.log_probs[..., 1:], free.log_probs[..., 1:])
    assert scaled.log_probs[0, 0, 0] < -1e8


def test_scaling_does_not_change_its_argument():
    given_ = posteriors([[0.5, 0.25, 0.25]], tokens=("<eps>", "a", "b"))
    before = given_.log_probs.clone()
    scale(given_, torch.tensor([0.5, 0.4, 0.1]), 0.5, 1.0, 1e-7)
    assert torch.equal(given_.log_probs, before)


@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3))
def test_uniform_priors_shift_every_path_alike(weights):
    probabilities = (torch.tensor(weights) / sum(weights)).tolist()
    plain = scale(posteriors([probabilities])).log_probs
    divided = scale(posteriors([probabilities]), torch.full((3,), 1 / 3)).log_probs
    torch.testing.assert_close(divided - plain, torch.full_like(plain, math.log(3.0)))


@pytest.mark.parametrize(
    "priors", [torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5, 0.0]), torch.tensor([1.0, -1, 1])]
)
def test_priors_that_do_not_fit_are_an_error(priors):
    with pytest.raises(OptionError, match="3 positive numbers"):
        scale(posteriors([[0.5, 0.25, 0.25]]), priors)


def test_columns_follow_the_graph():
    mapped = map_tokens(posteriors([[0.5, 0.3, 0.2]]), ["<blk>", "b"])
    assert mapped.tokens == ("<blk>", "b")
    torch.testing.assert_close(mapped.log_probs.exp(), torch.tensor([[[0.5, 0.2]]]))
    swapped = map_tokens(posteriors([[0.5, 0.3, 0.2]]), ["b", "a", "<blk>"])
    torch.testing.assert_close(swapped.log_probs.exp(), torch.tensor([[[0.2, 0.3, 0.5]]]))


def test_equal_tokens_need_no_copy():
    given_ = posteriors([[0.5, 0.3, 0.2]])
    assert map_tokens(given_, given_.tokens) is given_


def test_missing_tokens_are_named():
    with pytest.raises(ModelError, match=r"lacks tokens of the graph: x, y .*lexicon"):
        map_tokens(posteriors([[0.5, 0.3, 0.2]]), ["<blk>", "x", "a", "y"])


def test_epsilon_need_not_be_in_the_model():
    mapped = map_tokens(posteriors([[0.6, 0.4]], tokens=("a", "b")), ["<eps>", "b", "a"])
    assert mapped.tokens == ("<eps>", "b", "a")
    torch.testing.assert_close(mapped.log_probs[0, 0, 1:].exp(), torch.tensor([0.4, 0.6]))


def test_silence_counts_as_blank_where_the_graph_has_none():
    given_ = posteriors([[0.5, 0.3, 0.2]], tokens=("<blk>", "SIL", "a"))
    mapped = map_tokens(given_, ["<blk>", "a"])
    torch.testing.assert_close(mapped.log_probs.exp(), torch.tensor([[[0.8, 0.2]]]))
    torch.testing.assert_close(given_.log_probs.exp(), torch.tensor([[[0.5, 0.3, 0.2]]]))


def test_priors_follow_the_graph():
    given_ = posteriors([[0.5, 0.3, 0.2]], ("<blk>", "SIL", "a"), priors=[0.5, 0.3, 0.2])
    mapped = map_tokens(given_, ["<blk>", "a"])
    np.testing.assert_allclose(mapped.priors, [0.8, 0.2], rtol=1e-6)  # silence is blank
    np.testing.assert_allclose(given_.priors, [0.5, 0.3, 0.2], rtol=1e-6)
    swapped = map_tokens(given_, ["a", "<blk>"])
    np.testing.assert_allclose(swapped.priors, [0.2, 0.5], rtol=1e-6)
    free = map_tokens(posteriors([[0.6, 0.4]], ("a", "b"), priors=[0.7, 0.3]), ["<eps>", "b", "a"])
    np.testing.assert_allclose(free.priors[1:], [0.3, 0.7], rtol=1e-6)
    assert bool((free.priors > 0).all())


def test_posteriors_keep_their_priors():
    given_ = posteriors([[0.5, 0.3, 0.2]], priors=[0.5, 0.3, 0.2])
    assert given_.to("cpu").priors is given_.priors
    with pytest.raises(ModelError, match="3 positive numbers"):
        posteriors([[0.5, 0.3, 0.2]], priors=[0.5, 0.5])
    with pytest.raises(ModelError, match="3 positive numbers"):
        posteriors([[0.5, 0.3, 0.2]], priors=[0.5, 0.0, 0.5])


@examples(50)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.0, 1e-4]))
def test_arrays_and_tensors_give_the_same_scores(seed, hybrid, floor):
    random = np.random.default_rng(seed)
    tokens = ("<blk>", "SIL", "a", "b")
    log_probs = np.log(random.dirichlet([0.3] * 4, (2, 5)) + 1e-12).astype(np.float32)
    priors = random.dirichlet([5.0] * 4).astype(np.float32) if hybrid else None
    in_numpy, in_torch = (
        Posteriors(scores, [5, 3], 0.02, tokens, priors)
        for scores in (log_probs, torch.from_numpy(log_probs))
    )
    for order in (["b", "a", "SIL", "<blk>"], ["<blk>", "b", "a"], ["<blk>", "a"]):
        ours, theirs = (map_tokens(given_, order) for given_ in (in_numpy, in_torch))
        assert isinstance(ours.scores, np.ndarray)
        assert isinstance(theirs.scores, torch.Tensor)
        np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-5, atol=1e-6)
        ours, theirs = (
            scale(mapped, mapped.priors, 0.7, 0.3, floor, 0.9) for mapped in (ours, theirs)
        )
        np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-5, atol=1e-6)
    assert np.array_equal(in_numpy.array, log_probs)  # unchanged
    assert np.array_equal(in_torch.array, log_probs)


@pytest.mark.parametrize("seed", range(5))
def test_decoding_a_hybrid_model_is_decoding_the_likelihoods(seed):
    """Bayes' rule backwards: posteriors made of likelihoods and priors give those likelihoods.

    The path is that of log p(y|φ), and its score differs by Σ_t log p(y_t), which no path changes.
    """
    random = torch.Generator().manual_seed(seed)
    lexicon = Lexicon([("cat", ("k", "t")), ("tack", ("t", "k")), ("at", ("a", "t"))])
    H = topology.hmm(lexicon.num_tokens - 1, 2)
    graph = compile_hlg(H, lexicon, None)
    columns = graph.columns
    likelihood = torch.rand(1, 12, len(columns), generator=random) ** 3 + 1e-3
    priors = torch.rand(len(columns), generator=random) ** 2 + 0.01
    likelihood[:, :, 0] = priors[0] = 1e-6  # <eps> is no state
    joint = likelihood * (priors / priors.sum())
    evidence = joint.sum(dim=2, keepdim=True)
    lengths = torch.tensor([12], dtype=torch.int32)
    options = SearchOptions(floor=0, search_beam=100, output_beam=10)
    plain = Posteriors(likelihood.log(), lengths, 0.02, columns)
    hybrid = Posteriors((joint / evidence).log(), lengths, 0.02, columns, priors / priors.sum())
    expected = decode(graph, plain, options).best_path()[0]
    found = decode(graph, hybrid, options).best_path()[0]
    assert (found.text, found.tokens) == (expected.text, expected.tokens)
    assert found.score == pytest.approx(expected.score - evidence.log().sum().item(), abs=1e-3)
    without = decode(graph, hybrid, SearchOptions(floor=0, search_beam=100, prior_scale=0))
    raw = Posteriors(hybrid.log_probs, lengths, 0.02, columns)
    assert without.best_path()[0].score == pytest.approx(
        decode(graph, raw, options).best_path()[0].score, abs=1e-3
    )


def test_priors_are_counted():
    priors = count_priors([[1, 1, 2], torch.tensor([2, -1, 2]), []], 4, smoothing=0.5)
    np.testing.assert_allclose(priors, np.array([0.5, 2.5, 3.5, 0.5]) / 7, rtol=1e-6)
    assert priors.dtype == np.float32
    scale(posteriors([[0.1, 0.2, 0.3]]), count_priors([], 3))  # all positive, so they are valid
    with pytest.raises(OptionError, match="alignment 2 has column 4, the network has 4"):
        count_priors([[1], [4]], 4)
    with pytest.raises(OptionError, match="smoothing must be above 0"):
        count_priors([[1]], 4, smoothing=0)
