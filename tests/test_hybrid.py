"""Scaled likelihoods are the posteriors over the priors, and columns follow the graph's order."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import ModelError, OptionError
from asr_hlg.hybrid import map_tokens, scale
from asr_hlg.posteriors import Posteriors


def posteriors(probabilities, tokens=("<blk>", "a", "b")) -> Posteriors:
    log_probs = torch.tensor([probabilities], dtype=torch.float32).log()
    lengths = torch.tensor([len(probabilities)], dtype=torch.int32)
    return Posteriors(log_probs, lengths, 0.02, tuple(tokens))


def test_nothing_asked_for_changes_nothing():
    given_ = posteriors([[0.5, 0.25, 0.25]])
    scaled = scale(given_)
    torch.testing.assert_close(scaled.log_probs, given_.log_probs)
    assert scaled.tokens == given_.tokens and scaled.frame_shift == 0.02


def test_priors_are_divided_out():
    # p(φ|y) / p(φ): 0.5 / 0.5, 0.25 / 0.4, 0.25 / 0.1.
    scaled = scale(posteriors([[0.5, 0.25, 0.25]]), torch.tensor([0.5, 0.4, 0.1]))
    torch.testing.assert_close(scaled.log_probs.exp(), torch.tensor([[[1.0, 0.625, 2.5]]]))


def test_blank_pays_its_penalty_and_everything_is_weighted():
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


def test_without_a_floor_the_impossible_stays_so():
    assert scale(posteriors([[1.0, 0.0, 0.0]])).log_probs[0, 0, 1] == -math.inf


def test_blank_free_models_have_no_blank_to_penalise_and_never_emit_epsilon():
    free = posteriors([[0.5, 0.25, 0.25]], tokens=("<eps>", "a", "b"))
    scaled = scale(free, blank_penalty=1.5, floor=1e-7)
    torch.testing.assert_close(scaled.log_probs[..., 1:], free.log_probs[..., 1:])
    assert scaled.log_probs[0, 0, 0] < -1e8


def test_scaling_leaves_the_posteriors_alone():
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
