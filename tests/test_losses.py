"""Losses against enumeration of every reading and alignment, torch, and finite differences."""

from __future__ import annotations

import itertools
import math
import pickle

import k2
import numpy as np
import pytest
import torch
from brute_force import Machine, ctc_alignments, hmm_alignments, log_sum, path_scores, transductions
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg import topology
from asr_hlg.errors import DataError, LexiconError, OptionError
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses import (
    UNALIGNED,
    CrossEntropy,
    Ctc,
    HmmFullSum,
    LfMmi,
    TranscriptGraphs,
    phone_bigram,
)

PRONUNCIATIONS = {
    "cat": [(("k", "t"), 1.0)],
    "at": [(("t",), 0.75), (("k", "k"), 0.25)],
    "kit": [(("k", "i", "t"), 1.0)],
}
SILENCE_PROB = 0.3
TEXTS = ["", "at", "cat", "at at", "kit", "at kit"]


def make_lexicon(silence: str | None = "SIL") -> Lexicon:
    entries = [(word, *p) for word, prons in PRONUNCIATIONS.items() for p in prons]
    return Lexicon(entries, silence=silence, silence_prob=SILENCE_PROB)


def readings(text: str, lexicon: Lexicon):
    """Every way to say a text: (token ids, log probability in L)."""
    words = text.split()
    pauses = (False, True) if lexicon.silence else (False,)
    for prons in itertools.product(*(PRONUNCIATIONS[word] for word in words)):
        for where in itertools.product(pauses, repeat=len(words) + 1):
            tokens = ["SIL"] * where[0]
            score = sum(math.log(probability) for _, probability in prons)
            for (phones, _), pause in zip(prons, where[1:], strict=True):
                tokens += [*phones, *["SIL"] * pause]
            if lexicon.silence:
                score += sum(math.log(SILENCE_PROB if p else 1 - SILENCE_PROB) for p in where)
            yield tuple(lexicon.tokens[token] for token in tokens), score


def random_log_probs(num_frames: int, num_columns: int, seed: int = 0) -> torch.Tensor:
    logits = np.random.default_rng(seed).normal(size=(1, num_frames, num_columns))
    return torch.from_numpy(2 * logits).log_softmax(dim=2)


def one(loss, log_probs, text: str) -> float:
    return loss(log_probs, torch.tensor([log_probs.shape[1]]), [text]).item()


@pytest.mark.parametrize("silence", [None, "SIL"])
@pytest.mark.parametrize("text", TEXTS)
def test_ctc_sums_over_every_reading_and_alignment(text, silence):
    lexicon = make_lexicon(silence)
    loss = Ctc(topology.ctc(lexicon.num_tokens), lexicon)
    log_probs = random_log_probs(5, lexicon.num_tokens)
    paths = [
        score + value
        for tokens, score in readings(text, lexicon)
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
    for tokens, score in readings(text, lexicon):
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
    own = {tokens for tokens, _ in readings(text, lexicon)}
    machine, weigher = Machine.of(H), Machine.of(bigram)
    everything, numerator = [], []
    for labels in itertools.product(range(num_columns), repeat=4):
        acoustic = path_scores(log_probs[0].numpy(), [labels])[0]
        for tokens, scores in transductions(machine, labels).items():
            prior = [p for ps in transductions(weigher, tokens).values() for p in ps]
            total = acoustic + log_sum(scores) + log_sum(prior)
            everything.append(total)
            if tokens in own:
                numerator.append(total)
    expected = log_sum(everything) - log_sum(numerator)
    assert one(loss, log_probs, text) == pytest.approx(expected, abs=1e-5)


def test_the_bigram_is_a_distribution_over_phone_sequences():
    bigram = phone_bigram(make_lexicon(), ["at cat", "kit"])
    machine = Machine.of(bigram)
    for state in range(int(bigram.shape[0]) - 1):
        leaving = sum(math.exp(arc[3]) for arc in machine.leaving[state])
        ending = sum(math.exp(score) for _, score in machine.final[state])
        assert leaving + ending == pytest.approx(1, abs=1e-5)


def test_the_bigram_counts_pronunciations_as_often_as_they_are_said():
    lexicon = Lexicon([("a", ("x",), 0.9), ("a", ("y",), 0.1)])
    bigram = phone_bigram(lexicon, ["a"] * 2000)
    starts = {lexicon.tokens[arc[1]]: math.exp(arc[3]) for arc in Machine.of(bigram).leaving[0]}
    assert starts["x"] == pytest.approx(0.9, abs=0.03)
    assert starts["y"] == pytest.approx(0.1, abs=0.03)
    with pytest.raises(LexiconError, match="no transcript"):
        phone_bigram(lexicon, ["", " "])


@settings(max_examples=40, deadline=None)
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
SAID = ["at kit", "cat", "at at"]


def batch(loss, dtype=torch.float64, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    num_columns = loss.graphs.num_columns
    return torch.randn(3, max(NUM_FRAMES), num_columns, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_against_finite_differences(name):
    loss = LOSSES[name]
    lengths = torch.tensor(NUM_FRAMES)
    logits = batch(loss).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x.log_softmax(2), lengths, SAID), logits)
    # Frames need not be normalised for the sum to have a gradient.
    assert torch.autograd.gradcheck(lambda x: loss(x, lengths, SAID), logits)


def test_cross_entropys_gradient_against_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    alignments = [torch.tensor([0, 1, 2, 2]), torch.tensor([1, UNALIGNED])]
    lengths = torch.tensor([4, 2])
    assert torch.autograd.gradcheck(
        lambda x: CrossEntropy()(x.log_softmax(2), lengths, alignments), logits
    )


@pytest.mark.parametrize("name", LOSSES)
def test_padding_and_batching_change_nothing(name):
    loss = LOSSES[name]
    log_probs = batch(loss).log_softmax(2)
    together = loss(log_probs, torch.tensor(NUM_FRAMES), SAID)
    alone = [
        one(loss, log_probs[i : i + 1, :n], text)
        for i, (n, text) in enumerate(zip(NUM_FRAMES, SAID, strict=True))
    ]
    assert together.tolist() == alone
    padded = torch.full((3, 12, log_probs.shape[2]), math.nan, dtype=torch.float64)
    for i, n in enumerate(NUM_FRAMES):
        padded[i, :n] = log_probs[i, :n]
    padded.requires_grad_()
    again = loss(padded, torch.tensor(NUM_FRAMES, dtype=torch.int32), SAID)
    assert again.tolist() == alone
    again.sum().backward()
    for i, n in enumerate(NUM_FRAMES):
        assert torch.isfinite(padded.grad[i, :n]).all() and not padded.grad[i, n:].any()


@pytest.mark.parametrize("name", LOSSES)
def test_dtype_follows_the_network(name):
    loss = LOSSES[name]
    double = batch(loss).log_softmax(2)
    exact = loss(double, torch.tensor(NUM_FRAMES), SAID)
    assert exact.dtype == torch.float64
    single = double.float().requires_grad_()
    found = loss(single, torch.tensor(NUM_FRAMES), SAID)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-5)
    found.sum().backward()
    assert single.grad.dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in LOSSES if name.startswith("lf-mmi")])
@settings(max_examples=25, deadline=None)
@given(
    words=st.lists(st.sampled_from(list(PRONUNCIATIONS)), max_size=3),
    seed=st.integers(0, 1000),
    sharpness=st.sampled_from([0.1, 1.0, 20.0]),
)
def test_lf_mmi_is_never_negative(name, words, seed, sharpness):
    """Even where the network is sure of just this transcript, and for words never seen so."""
    loss = LOSSES[name]
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 20, loss.graphs.num_columns)
    logits = sharpness * torch.randn(shape, generator=generator, dtype=torch.float64)
    assert one(loss, logits.log_softmax(2), " ".join(words)) >= -1e-9


def test_an_ambiguous_reading_counts_each_way_in_ctc_and_once_in_lf_mmi():
    """``a b`` is x y z by two divisions."""
    lexicon = Lexicon([("a", "xy"), ("a", "x"), ("b", "z"), ("b", "yz")])
    H = topology.ctc(lexicon.num_tokens)
    certain = torch.full((1, 3, 4), -math.inf, dtype=torch.float64)
    certain[0, range(3), [lexicon.tokens[t] for t in "xyz"]] = 0.0
    assert one(Ctc(H, lexicon), certain, "a b") == pytest.approx(-math.log(2))
    mmi = LfMmi(H, lexicon, phone_bigram(lexicon, ["a b"]))
    assert one(mmi, certain, "a b") == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_an_utterance_too_short_is_infinitely_improbable(name):
    loss = LOSSES[name]
    logits = batch(loss).requires_grad_()
    lengths = torch.tensor([9, 0, 1])
    found = loss(logits.log_softmax(2), lengths, ["at kit", "cat", "kit at"])
    assert torch.isfinite(found).tolist() == [True, False, False]
    assert found[1:].tolist() == [math.inf, math.inf]
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0].any() and not logits.grad[1:].any()


@pytest.mark.parametrize("name", ["ctc", "hmm", "lf-mmi chain"])
def test_a_network_gone_wrong_is_not_hidden(name):
    loss = LOSSES[name]
    log_probs = batch(loss).log_softmax(2)
    log_probs[0, 2, 1] = math.nan
    found = loss(log_probs, torch.tensor(NUM_FRAMES), SAID)
    assert torch.isfinite(found).tolist() == [False, True, True]
    assert math.isnan(found[0])


def test_certain_posteriors_of_a_long_text_do_not_underflow():
    lexicon = make_lexicon(None)
    loss = Ctc(topology.ctc(lexicon.num_tokens), lexicon)
    log_probs = torch.full((1, 500, lexicon.num_tokens), -40.0, dtype=torch.float64)
    log_probs[:, :, 0] = 0.0  # all blank, as a network that has just begun to learn
    log_probs.requires_grad_()
    found = loss(log_probs, torch.tensor([500]), [" ".join(["cat"] * 100)])
    # 200 tokens of one frame each, placed anywhere; longer ones are e^-40 as probable.
    expected = 200 * 40 - (math.lgamma(501) - math.lgamma(201) - math.lgamma(301))
    assert found.item() == pytest.approx(expected, rel=1e-6)
    found.backward()
    assert -log_probs.grad.sum().item() == pytest.approx(500)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("text", ["at", "cat cat", "kit at"])
def test_least_frames_is_where_the_loss_becomes_finite(name, text):
    loss = LOSSES[name]
    least = loss.graphs.of(text).least_frames
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
    # Seven faults are counted, five named.
    many = [f"u{n}" for n in range(7)]
    with pytest.raises(DataError, match=r"u4: .*and 2 more") as caught:
        loss.check(many, ["kit"] * 7, [2] * 7)
    assert "u5" not in str(caught.value)


def test_what_does_not_fit_says_why():
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


def test_cross_entropy_is_the_alignments_log_probability():
    log_probs = random_log_probs(4, 3).repeat(3, 1, 1)
    alignments = [torch.tensor([2, 1, 0, 0]), torch.tensor([1, UNALIGNED, 2]), torch.tensor([])]
    found = CrossEntropy()(log_probs, torch.tensor([4, 4, 0]), [a.long() for a in alignments])
    frames = log_probs[0].tolist()
    assert found.tolist() == pytest.approx(
        [
            -(frames[0][2] + frames[1][1] + frames[2][0] + frames[3][0]),
            -(frames[0][1] + frames[2][2]),
            0.0,
        ]
    )
    assert found.dtype == torch.float64
    assert CrossEntropy()(log_probs.float(), torch.tensor([4, 4, 0]), alignments).dtype == (
        torch.float32
    )


def test_alignments_that_do_not_fit_are_an_error():
    log_probs = random_log_probs(8, 3)
    with pytest.raises(OptionError, match=r"utterance 0 .* 8 frames, its alignment 5"):
        CrossEntropy()(log_probs, torch.tensor([8]), [torch.ones(5, dtype=torch.int64)])
    with pytest.raises(OptionError, match=r"labels from 3 to 3.*columns 0 to 2"):
        CrossEntropy()(log_probs, torch.tensor([8]), [torch.full((8,), 3)])
    with pytest.raises(DataError, match="u2: the alignment has 5 frames, the network gives 8"):
        fits, short = torch.ones(7), torch.ones(5)
        CrossEntropy().check(["u1", "u2"], [fits, short], [8, 8])


def test_alignment_and_full_sum_agree_where_only_one_alignment_is_possible():
    lexicon = Lexicon([("cat", ("k", "t"))])
    log_probs = random_log_probs(2, 3)
    loss = HmmFullSum(topology.hmm(2, 1), lexicon, prior_scale=0.0)
    frames = CrossEntropy()(log_probs, torch.tensor([2]), [torch.tensor([1, 2])]).item()
    # Two exits of probability 1/2 besides.
    assert one(loss, log_probs, "cat") == pytest.approx(frames + 2 * math.log(2))


def test_transcripts_are_compiled_once_and_travel_between_processes():
    graphs = TranscriptGraphs(topology.ctc(5), make_lexicon())
    assert graphs.of("at  cat") is graphs.of("at cat ")
    loss = pickle.loads(pickle.dumps(LOSSES["lf-mmi chain"]))
    log_probs = random_log_probs(6, loss.graphs.num_columns)
    assert one(loss, log_probs, "at") == one(LOSSES["lf-mmi chain"], log_probs, "at")
