"""Properties of every loss on transcripts: gradients, padding, dtypes, and the check of data."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import DataError, LexiconError, OptionError
from asr_hlg.graph import topology
from asr_hlg.losses import Ctc, HmmFullSum, LfMmi, TranscriptGraphs, phone_bigram
from tests.support.examples import examples
from tests.support.tiny_lexicon import PRONUNCIATIONS, make_lexicon, random_log_probs
from tests.support.tiny_lexicon import loss_of_one as one


def losses():
    lexicon = make_lexicon()
    num_phones = lexicon.num_tokens - 1
    bigram = phone_bigram(lexicon, ["at cat", "kit at"])
    hmm = topology.hmm(num_phones, 2, skip=0.1)
    priors = torch.arange(1.0, 2 * num_phones + 2) / 50
    return {
        "ctc": Ctc(topology.ctc(lexicon.num_tokens), lexicon),
        "modified ctc": Ctc(topology.ctc(lexicon.num_tokens, modified=True), lexicon),
        "hmm": HmmFullSum(hmm, lexicon, priors, prior_momentum=None),
        "lf-mmi ctc": LfMmi(topology.ctc(lexicon.num_tokens), lexicon, bigram),
        "lf-mmi chain": LfMmi(topology.chain(num_phones), lexicon, bigram),
        "lf-mmi hmm": LfMmi(hmm, lexicon, bigram),
    }


LOSSES = losses()
NUM_FRAMES = [9, 6, 7]
TEXTS = ["at kit", "cat", "at at"]


def batch(loss, dtype=torch.float64, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    num_columns = loss.graphs.num_columns
    return torch.randn(3, max(NUM_FRAMES), num_columns, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_against_finite_differences(name):
    loss = LOSSES[name]
    lengths = torch.tensor(NUM_FRAMES)
    logits = batch(loss).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x.log_softmax(2), lengths, TEXTS), logits)
    # Frames need not be normalised for the sum to have a gradient.
    assert torch.autograd.gradcheck(lambda x: loss(x, lengths, TEXTS), logits)


@pytest.mark.parametrize("name", LOSSES)
def test_padding_and_batching_change_nothing(name):
    loss = LOSSES[name]
    log_probs = batch(loss).log_softmax(2)
    together = loss(log_probs, torch.tensor(NUM_FRAMES), TEXTS)
    alone = [
        one(loss, log_probs[i : i + 1, :n], text)
        for i, (n, text) in enumerate(zip(NUM_FRAMES, TEXTS, strict=True))
    ]
    assert together.tolist() == alone
    padded = torch.full((3, 12, log_probs.shape[2]), math.nan, dtype=torch.float64)
    for i, n in enumerate(NUM_FRAMES):
        padded[i, :n] = log_probs[i, :n]
    padded.requires_grad_()
    again = loss(padded, torch.tensor(NUM_FRAMES, dtype=torch.int32), TEXTS)
    assert again.tolist() == alone
    again.sum().backward()
    for i, n in enumerate(NUM_FRAMES):
        assert torch.isfinite(padded.grad[i, :n]).all()
        assert not padded.grad[i, n:].any()


@pytest.mark.parametrize("name", LOSSES)
def test_dtype_follows_the_network(name):
    loss = LOSSES[name]
    double = batch(loss).log_softmax(2)
    exact = loss(double, torch.tensor(NUM_FRAMES), TEXTS)
    assert exact.dtype == torch.float64
    single = double.float().requires_grad_()
    found = loss(single, torch.tensor(NUM_FRAMES), TEXTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-5)
    found.sum().backward()
    assert single.grad.dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in LOSSES if name.startswith("lf-mmi")])
@examples(25)
@given(
    words=st.lists(st.sampled_from(list(PRONUNCIATIONS)), max_size=3),
    seed=st.integers(0, 1000),
    sharpness=st.sampled_from([0.1, 1.0, 20.0]),
)
def test_lf_mmi_is_never_negative(name, words, seed, sharpness):
    """Even for nearly certain posteriors, and for words that the bigram was not estimated from."""
    loss = LOSSES[name]
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 20, loss.graphs.num_columns)
    logits = sharpness * torch.randn(shape, generator=generator, dtype=torch.float64)
    assert one(loss, logits.log_softmax(2), " ".join(words)) >= -1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_an_utterance_too_short_has_an_infinite_loss(name):
    loss = LOSSES[name]
    logits = batch(loss).requires_grad_()
    lengths = torch.tensor([9, 0, 1])
    found = loss(logits.log_softmax(2), lengths, ["at kit", "cat", "kit at"])
    assert torch.isfinite(found).tolist() == [True, False, False]
    assert found[1:].tolist() == [math.inf, math.inf]
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0].any()
    assert not logits.grad[1:].any()


@pytest.mark.parametrize("name", ["ctc", "hmm", "lf-mmi chain"])
def test_nan_log_probs_give_a_nan_loss(name):
    loss = LOSSES[name]
    log_probs = batch(loss).log_softmax(2)
    log_probs[0, 2, 1] = math.nan
    found = loss(log_probs, torch.tensor(NUM_FRAMES), TEXTS)
    assert torch.isfinite(found).tolist() == [False, True, True]
    assert math.isnan(found[0])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("text", ["at", "cat cat", "kit at"])
def test_min_frames_is_where_the_loss_becomes_finite(name, text):
    loss = LOSSES[name]
    least = loss.graphs.of(text).min_frames
    log_probs = random_log_probs(least, loss.graphs.num_columns)
    assert math.isfinite(one(loss, log_probs, text))
    assert one(loss, log_probs[:, : least - 1], text) == math.inf


def test_check_names_utterance_word_and_frames():
    loss = LOSSES["ctc"]
    loss.check(["u1", "u2"], ["at kit", ""], [4, 0])
    with pytest.raises(LexiconError, match=r"u2: no pronunciation for dog.*lexicon"):
        loss.check(["u1", "u2", "u3"], ["at", "dog cat", "kit"], [1, 9, 1])
    with pytest.raises(DataError, match=r"u3: 2 frames, 'kit' needs 3.*shorter frame shift"):
        loss.check(["u1", "u3"], ["at", "kit"], [1, 2])
    # Of seven faults five are named.
    many = [f"u{n}" for n in range(7)]
    with pytest.raises(DataError, match=r"u4: .*and 2 more") as caught:
        loss.check(many, ["kit"] * 7, [2] * 7)
    assert "u5" not in str(caught.value)


def test_errors_for_what_does_not_fit():
    lexicon = make_lexicon()
    with pytest.raises(OptionError, match="topology writes 2 tokens, the lexicon has 4"):
        Ctc(topology.ctc(3), lexicon)
    loss = LOSSES["ctc"]
    with pytest.raises(OptionError, match="7 outputs, the topology reads 5"):
        one(loss, random_log_probs(4, 7), "at")
    with pytest.raises(OptionError, match=r"expected .utterances, frames, columns"):
        loss(random_log_probs(4, 5), torch.tensor([4, 4]), ["at", "at"])
    with pytest.raises(LexiconError, match="no pronunciation for dog"):
        one(loss, random_log_probs(4, 5), "dog")
    with pytest.raises(OptionError, match="positive numbers"):
        HmmFullSum(topology.hmm(4), lexicon, torch.zeros(13))
    with pytest.raises(OptionError, match="prior_momentum"):
        HmmFullSum(topology.hmm(4), lexicon, prior_momentum=1.0)


def test_transcripts_are_compiled_once_and_losses_can_be_pickled():
    graphs = TranscriptGraphs(topology.ctc(5), make_lexicon())
    assert graphs.of("at  cat") is graphs.of("at cat ")
    loss = pickle.loads(pickle.dumps(LOSSES["lf-mmi chain"]))
    log_probs = random_log_probs(6, loss.graphs.num_columns)
    assert one(loss, log_probs, "at") == one(LOSSES["lf-mmi chain"], log_probs, "at")
