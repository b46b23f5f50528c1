"""Losses against enumeration of pronunciations and alignments, against torch and k2."""

from __future__ import annotations

import itertools
import math

import k2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import LexiconError
from asr_hlg.graph import topology
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses import CrossEntropy, Ctc, HmmFullSum, LfMmi, phone_bigram
from tests.support.brute_force import (
    Machine,
    ctc_alignments,
    hmm_alignments,
    log_sum,
    path_scores,
    transductions,
)
from tests.support.examples import examples
from tests.support.tiny_lexicon import loss_of_one as one
from tests.support.tiny_lexicon import make_lexicon, random_log_probs, token_readings

TEXTS = ["", "at", "cat", "at at", "kit", "at kit"]


@pytest.mark.parametrize("silence", [None, "SIL"])
@pytest.mark.parametrize("text", TEXTS)
def test_ctc_sums_over_all_pronunciations_and_alignments(text, silence):
    lexicon = make_lexicon(silence)
    loss = Ctc(topology.ctc(lexicon.num_tokens), lexicon)
    log_probs = random_log_probs(5, lexicon.num_tokens)
    paths = [
        score + value
        for tokens, score in token_readings(text, lexicon)
        for value in path_scores(log_probs[0].numpy(), ctc_alignments(tokens, 5))
    ]
    assert one(loss, log_probs, text) == pytest.approx(-log_sum(paths), abs=1e-6)


@pytest.mark.parametrize("silence", [None, "SIL"])
@pytest.mark.parametrize("text", TEXTS[1:])
def test_full_sum_has_transitions_and_priors(text, silence):
    lexicon = make_lexicon(silence)
    num_phones = lexicon.num_tokens - 1
    loss = HmmFullSum(
        topology.hmm(num_phones, 2, self_loop=0.25),
        lexicon,
        priors=torch.arange(1.0, 2 * num_phones + 2) / 50,
        prior_scale=0.5,
        prior_momentum=None,
    )
    log_probs = random_log_probs(8, 2 * num_phones + 1)
    scores = log_probs[0].numpy() - 0.5 * np.log(np.arange(1, 2 * num_phones + 2) / 50)
    paths = []
    for tokens, score in token_readings(text, lexicon):
        alignments = hmm_alignments(tokens, 8, 2)
        # A state that lasts d frames repeats d − 1 times and then leaves.
        transitions = [
            sum((d - 1) * math.log(0.25) + math.log(0.75) for d in durations)
            for _, durations in alignments
        ]
        values = path_scores(scores, [pdfs for pdfs, _ in alignments])
        paths += (score + values + np.array(transitions)).tolist()
    assert one(loss, log_probs, text) == pytest.approx(-log_sum(paths), abs=1e-5)


TOPOLOGIES = {
    "ctc": lambda lexicon: topology.ctc(lexicon.num_tokens),
    "hmm": lambda lexicon: topology.hmm(lexicon.num_tokens - 1, 1, self_loop=0.3),
    "chain": lambda lexicon: topology.chain(lexicon.num_tokens - 1),
}


@pytest.mark.parametrize("kind", TOPOLOGIES)
@pytest.mark.parametrize("text", ["at", "cat", "at at"])
def test_lf_mmi_is_the_transcripts_share_of_all_phone_sequences(kind, text):
    """Every label sequence of four frames is transduced by H and weighed by the bigram."""
    lexicon = make_lexicon("SIL" if kind == "chain" else None)
    H = TOPOLOGIES[kind](lexicon)
    bigram = phone_bigram(lexicon, ["at cat", "cat at", "at at kit"])
    loss = LfMmi(H, lexicon, bigram)
    num_columns = int(H.labels.max()) + 1
    log_probs = random_log_probs(4, num_columns)
    readings = {tokens for tokens, _ in token_readings(text, lexicon)}
    machine, phone_grammar = Machine.of(H), Machine.of(bigram)
    denominator, numerator = [], []
    for labels in itertools.product(range(num_columns), repeat=4):
        acoustic = path_scores(log_probs[0].numpy(), [labels])[0]
        for tokens, scores in transductions(machine, labels).items():
            prior = [p for ps in transductions(phone_grammar, tokens).values() for p in ps]
            total = acoustic + log_sum(scores) + log_sum(prior)
            denominator.append(total)
            if tokens in readings:
                numerator.append(total)
    expected = log_sum(denominator) - log_sum(numerator)
    assert one(loss, log_probs, text) == pytest.approx(expected, abs=1e-5)


def test_the_bigram_is_a_distribution_over_phone_sequences():
    bigram = phone_bigram(make_lexicon(), ["at cat", "kit"])
    machine = Machine.of(bigram)
    for state in range(int(bigram.shape[0]) - 1):
        leaving = sum(math.exp(arc[3]) for arc in machine.leaving[state])
        ending = sum(math.exp(score) for _, score in machine.final[state])
        assert leaving + ending == pytest.approx(1, abs=1e-5)


def test_the_bigram_counts_pronunciations_by_their_probabilities():
    lexicon = Lexicon([("a", ("x",), 0.9), ("a", ("y",), 0.1)])
    bigram = phone_bigram(lexicon, ["a"] * 2000)
    starts = {lexicon.tokens[arc[1]]: math.exp(arc[3]) for arc in Machine.of(bigram).leaving[0]}
    assert starts["x"] == pytest.approx(0.9, abs=0.03)
    assert starts["y"] == pytest.approx(0.1, abs=0.03)
    with pytest.raises(LexiconError, match="no transcript"):
        phone_bigram(lexicon, ["", " "])


@examples(40)
@given(data=st.data())
def test_ctc_equals_torch_where_words_have_one_pronunciation(data):
    letters = "abcd"
    words = data.draw(
        st.lists(st.text(letters, min_size=1, max_size=4), min_size=1, max_size=4, unique=True)
    )
    lexicon = Lexicon([(word, tuple(word)) for word in words], tokens=["<blk>", *letters])
    texts = data.draw(
        st.lists(st.lists(st.sampled_from(words), max_size=4), min_size=1, max_size=3)
    )
    frames = data.draw(st.lists(st.integers(1, 30), min_size=len(texts), max_size=len(texts)))
    seed = data.draw(st.integers(0, 1000))
    logits = torch.randn(
        len(texts), max(frames), 5, generator=torch.manual_seed(seed), dtype=torch.float64
    ).requires_grad_()
    log_probs = logits.log_softmax(2)
    targets = [[lexicon.tokens[letter] for word in text for letter in word] for text in texts]
    arguments = (
        log_probs.transpose(0, 1),
        torch.tensor([label for target in targets for label in target], dtype=torch.int64),
        torch.tensor(frames),
        torch.tensor([len(target) for target in targets]),
    )
    ctc_loss = torch.nn.functional.ctc_loss
    reference = ctc_loss(*arguments, reduction="none")
    loss = Ctc(topology.ctc(5), lexicon)
    found = loss(log_probs, torch.tensor(frames), [" ".join(text) for text in texts])
    torch.testing.assert_close(found, reference, atol=1e-4, rtol=1e-4)
    finite = ctc_loss(*arguments, reduction="sum", zero_infinity=True)
    (expected,) = torch.autograd.grad(finite, logits, retain_graph=True)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("text", TEXTS)
def test_ctc_equals_k2(text):
    """Silence, two pronunciations, and k2's own intersection and forward-backward."""
    lexicon = make_lexicon()
    loss = Ctc(topology.ctc(lexicon.num_tokens), lexicon)
    frames = random_log_probs(20, lexicon.num_tokens).float().requires_grad_()
    graph = loss.graphs.arcs(text).to_k2()
    dense = k2.DenseFsaVec(frames, torch.tensor([[0, 0, 20]], dtype=torch.int32))
    lattice = k2.intersect_dense(k2.create_fsa_vec([graph]), dense, output_beam=1e5)
    total = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)[0]
    found = loss(frames, torch.tensor([20]), [text])[0]
    assert found.item() == pytest.approx(-total.item(), abs=1e-4)
    (expected,) = torch.autograd.grad(-total, frames)
    (gradient,) = torch.autograd.grad(found, frames)
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-3)


def test_two_spellings_of_the_same_tokens_count_twice_in_ctc_and_once_in_lf_mmi():
    """``a b`` is spelled x y z in two ways."""
    lexicon = Lexicon([("a", "xy"), ("a", "x"), ("b", "z"), ("b", "yz")])
    H = topology.ctc(lexicon.num_tokens)
    certain = torch.full((1, 3, 4), -math.inf, dtype=torch.float64)
    certain[0, range(3), [lexicon.tokens[t] for t in "xyz"]] = 0.0
    assert one(Ctc(H, lexicon), certain, "a b") == pytest.approx(-math.log(2))
    mmi = LfMmi(H, lexicon, phone_bigram(lexicon, ["a b"]))
    assert one(mmi, certain, "a b") == pytest.approx(0, abs=1e-6)


def test_certain_posteriors_of_a_long_text_do_not_underflow():
    lexicon = make_lexicon(None)
    loss = Ctc(topology.ctc(lexicon.num_tokens), lexicon)
    log_probs = torch.full((1, 500, lexicon.num_tokens), -40.0, dtype=torch.float64)
    log_probs[:, :, 0] = 0.0  # all blank, as at the start of training
    log_probs.requires_grad_()
    found = loss(log_probs, torch.tensor([500]), [" ".join(["cat"] * 100)])
    # 200 tokens of one frame each, placed anywhere; longer ones are e^-40 as probable.
    expected = 200 * 40 - (math.lgamma(501) - math.lgamma(201) - math.lgamma(301))
    assert found.item() == pytest.approx(expected, rel=1e-6)
    found.backward()
    assert -log_probs.grad.sum().item() == pytest.approx(500)


def test_alignment_and_full_sum_agree_where_only_one_alignment_is_possible():
    lexicon = Lexicon([("cat", ("k", "t"))])
    log_probs = random_log_probs(2, 3)
    loss = HmmFullSum(topology.hmm(2, 1), lexicon, prior_scale=0.0)
    frames = CrossEntropy()(log_probs, torch.tensor([2]), [torch.tensor([1, 2])]).item()
    # Two exits of probability 1/2 besides.
    assert one(loss, log_probs, "cat") == pytest.approx(frames + 2 * math.log(2))


def test_priors_follow_the_network_in_training_only():
    lexicon = make_lexicon(None)
    loss = HmmFullSum(topology.hmm(3, 1), lexicon, prior_momentum=0.75)
    log_probs = random_log_probs(6, 4).repeat(2, 1, 1)
    log_probs[1, 4:] = math.nan
    lengths = torch.tensor([6, 4])
    loss.eval()
    loss(log_probs, lengths, ["cat", "cat"])
    torch.testing.assert_close(loss.priors, torch.full((4,), 0.25))
    loss.train()
    found = loss(log_probs, lengths, ["cat", "cat"])
    frames = torch.cat([log_probs[0], log_probs[1, :4]]).exp()
    expected = 0.75 * 0.25 + 0.25 * frames.mean(dim=0)
    torch.testing.assert_close(loss.priors.double(), expected)
    # The batch that moved them is divided by what they are now.
    fixed = HmmFullSum(topology.hmm(3, 1), lexicon, loss.priors, prior_momentum=None)
    torch.testing.assert_close(fixed(log_probs, lengths, ["cat", "cat"]), found)
    # They are part of what a checkpoint holds.
    torch.testing.assert_close(loss.state_dict()["priors"], loss.priors)
