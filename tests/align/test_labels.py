"""Frame labels: flat start, realignment, and their convergence to the true HMM states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr_hlg.acoustic import likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align import Aligner, flat_start, realign, share_changed
from asr_hlg.errors import AsrHlgError, DataError, LexiconError
from asr_hlg.graph import topology
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses import HmmFullSum
from tests.support.topologies import estimate_transitions

NUM_STATES = 2


def make_lexicon(silence: str | None = "SIL") -> Lexicon:
    # Ids: SIL 1, a 2, k 3, t 4.
    entries = [("cat", ("k", "a", "t")), ("at", ("a", "t")), ("tack", ("t", "a", "k"))]
    tokens = ["<blk>", "SIL", "a", "k", "t"]
    return Lexicon(entries, tokens=tokens, silence=silence, silence_prob=0.5)


def test_flat_start_gives_every_state_its_share():
    # SIL 1 2, a 3 4, t 7 8, SIL 1 2: eight states, two frames each.
    labels = flat_start(make_lexicon(), "at", 16, NUM_STATES)
    assert labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 7, 7, 8, 8, 1, 1, 2, 2]
    assert labels.dtype == torch.int64
    # Eleven frames are shared so that no state has more than one above another.
    uneven = flat_start(make_lexicon(), "at", 11, NUM_STATES).tolist()
    states = [1, 2, 3, 4, 7, 8, 1, 2]
    runs = [k for i, k in enumerate(uneven) if i == 0 or uneven[i - 1] != k]
    assert runs == states
    assert len(uneven) == 11


def test_flat_start_without_silence_or_with_too_few_frames_for_it():
    assert flat_start(make_lexicon(None), "at", 4, NUM_STATES).tolist() == [3, 4, 7, 8]
    assert flat_start(make_lexicon(), "at", 5, NUM_STATES).tolist() == [3, 3, 4, 7, 8]
    assert flat_start(make_lexicon(), "", 5, NUM_STATES).tolist() == [1, 1, 1, 2, 2]
    assert flat_start(make_lexicon(), "", 0, NUM_STATES).tolist() == []


def test_flat_start_is_a_path_of_the_topology():
    lexicon = make_lexicon()
    prior = np.tile(topology.left_to_right(NUM_STATES), (4, 1, 1))
    labels = [flat_start(lexicon, text, 230, NUM_STATES) for text in ("cat at", "tack")]
    counted = estimate_transitions(labels, prior)  # refuses labels that are no path
    assert (counted[:, :, :NUM_STATES].sum(axis=2) > 0.9).all()


def test_errors_of_flat_start():
    with pytest.raises(DataError, match=r"3 frames cannot be divided among the 4 states of 'at'"):
        flat_start(make_lexicon(), "at", 3, NUM_STATES)
    with pytest.raises(DataError, match="0 states of"):
        flat_start(make_lexicon(None), "", 3, NUM_STATES)
    with pytest.raises(LexiconError, match="dog"):
        flat_start(make_lexicon(), "dog", 30, NUM_STATES)


def test_share_changed():
    before = {"a": torch.tensor([1, 2, 3]), "b": torch.tensor([1, 1]), "c": torch.tensor([9])}
    after = {"a": torch.tensor([1, 2, 2]), "b": torch.tensor([1, 2])}
    assert share_changed(before, after) == pytest.approx(2 / 5)
    assert share_changed({}, after) == 0


class Recordings:
    """Utterances sampled from a hidden Markov model, with their states.

    Every state emits its own symbol with probability 0.7 and any other one otherwise.
    """

    def __init__(self, seed: int, number: int):
        self.random = np.random.default_rng(seed)
        self.lexicon = make_lexicon()
        self.num_pdfs = 4 * NUM_STATES
        stay = self.random.uniform(0.6, 0.85, size=(4, NUM_STATES))
        self.transitions = np.zeros((4, NUM_STATES, NUM_STATES + 1))
        for state in range(NUM_STATES):
            self.transitions[:, state, state] = stay[:, state]
            self.transitions[:, state, state + 1] = 1 - stay[:, state]
        self.texts, self.states, self.observed = {}, {}, {}
        words = [entry.word for entry in self.lexicon.entries]
        for index in range(number):
            sampled = self.random.choice(words, size=self.random.integers(1, 3))
            id = f"u{index}"
            self.texts[id] = " ".join(sampled)
            self.states[id] = torch.tensor(self._sample(sampled))
            noise = self.random.integers(1, self.num_pdfs + 1, size=len(self.states[id]))
            correct = self.random.random(len(noise)) < 0.7
            self.observed[id] = np.where(correct, self.states[id].numpy(), noise)

    def _sample(self, words) -> list[int]:
        tokens = [1] * int(self.random.random() < 0.5)
        for word in words:
            tokens += [self.lexicon.tokens[phone] for phone in self.lexicon.spellings(word)[0]]
            tokens += [1] * int(self.random.random() < 0.5)
        states = []
        for token in tokens:
            for state in range(NUM_STATES):
                leave = self.transitions[token - 1, state, state + 1]
                pdf = 1 + (token - 1) * NUM_STATES + state
                states += [pdf] * int(self.random.geometric(leave))
        return states

    def posteriors(self, id: str, table: np.ndarray, priors: torch.Tensor) -> Posteriors:
        """Posteriors of a network whose p(pdf | symbol) are the columns of a table."""
        log_probs = torch.from_numpy(np.log(table[:, self.observed[id]].T)).float()[None]
        lengths = torch.tensor([log_probs.shape[1]], dtype=torch.int32)
        names = [self.lexicon.tokens[i] for i in range(5)]
        columns = topology.column_names(topology.hmm(4, NUM_STATES), names)
        return Posteriors(log_probs, lengths, 0.01, columns, priors)

    def agreement(self, labels: dict[str, torch.Tensor]) -> float:
        return 1 - share_changed(self.states, labels)

    def best_network(self, labels: dict[str, torch.Tensor]) -> np.ndarray:
        """The p(pdf | symbol) with the least cross-entropy on labels: smoothed counts."""
        counts = np.full((self.num_pdfs + 1, self.num_pdfs + 1), 0.1)
        for id, states in labels.items():
            np.add.at(counts, (states.numpy(), self.observed[id]), 1)
        return counts / counts.sum(axis=0)


def test_realignment_with_the_true_emissions_finds_the_states():
    speech = Recordings(seed=0, number=60)
    table = speech.best_network(speech.states)
    priors = likelihoods.count_priors(speech.states.values(), speech.num_pdfs + 1)
    transitions = estimate_transitions(speech.states.values(), speech.transitions)
    np.testing.assert_allclose(transitions, speech.transitions, atol=0.1)
    aligner = Aligner(topology.hmm(4, transitions=transitions, num_states=2), speech.lexicon)
    labels = realign(
        aligner,
        [(id, speech.posteriors(id, table, priors), text) for id, text in speech.texts.items()],
    )
    assert labels.keys() == speech.texts.keys()
    assert speech.agreement(labels) > 0.9


@pytest.mark.parametrize("seed", [1, 2])
def test_alternating_training_and_alignment_finds_the_states(seed):
    speech = Recordings(seed, number=150)
    prior = np.tile(topology.left_to_right(NUM_STATES, 0.7), (4, 1, 1))
    labels, failed = {}, {}
    for id, text in speech.texts.items():
        labels[id] = flat_start(speech.lexicon, text, len(speech.states[id]), NUM_STATES)
    at_first = speech.agreement(labels)
    changes = []
    for _ in range(8):
        table = speech.best_network(labels)
        priors = likelihoods.count_priors(labels.values(), speech.num_pdfs + 1)
        transitions = estimate_transitions(labels.values(), prior)
        aligner = Aligner(topology.hmm(4, NUM_STATES, transitions=transitions), speech.lexicon)
        utterances = (
            (i, speech.posteriors(i, table, priors), text) for i, text in speech.texts.items()
        )
        after = realign(aligner, utterances, lambda id, error: failed.update({id: error}))
        changes.append(share_changed(labels, after))
        labels = after
    assert not failed
    assert at_first < 0.6
    assert speech.agreement(labels) > 0.85
    assert changes[-1] < 0.05 < changes[0]


@pytest.mark.parametrize("follow", [True, False])
def test_the_full_sum_finds_the_states_if_priors_follow_the_network(follow):
    """With fixed uniform priors the network collapses to one state."""
    speech = Recordings(seed=1, number=60)
    ids = list(speech.texts)
    lengths = torch.tensor([len(speech.observed[id]) for id in ids])
    inputs = torch.zeros(len(ids), int(lengths.max()), speech.num_pdfs + 1)
    for row, id in enumerate(ids):
        inputs[row, torch.arange(lengths[row]), torch.from_numpy(speech.observed[id])] = 1
    H = topology.hmm(4, NUM_STATES, self_loop=0.7)
    loss = HmmFullSum(H, speech.lexicon, prior_momentum=0.9 if follow else None)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv1d(speech.num_pdfs + 1, 32, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv1d(32, speech.num_pdfs + 1, 1),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(100):
        log_probs = network(inputs.transpose(1, 2)).transpose(1, 2).log_softmax(2)
        optimiser.zero_grad()
        (loss(log_probs, lengths, list(speech.texts.values())).sum() / lengths.sum()).backward()
        optimiser.step()
    aligner = Aligner(H, speech.lexicon)
    frames = log_probs.detach()
    labels = {
        id: aligner.labels(
            Posteriors(
                frames[row : row + 1],
                lengths[row : row + 1].int(),
                0.01,
                aligner.columns,
                loss.priors,
            ),
            speech.texts[id],
        )
        for row, id in enumerate(ids)
    }
    all_frames = torch.cat([frames[row, :length] for row, length in enumerate(lengths)])
    share_of_one_state = all_frames.exp().mean(dim=0).max()
    if follow:
        assert speech.agreement(labels) > 0.6
        assert share_of_one_state < 0.4
    else:
        assert speech.agreement(labels) < 0.4
        assert share_of_one_state > 0.6


def test_an_utterance_that_cannot_be_aligned_is_named_and_the_others_go_on():
    speech = Recordings(seed=0, number=3)
    table = speech.best_network(speech.states)
    priors = likelihoods.count_priors(speech.states.values(), speech.num_pdfs + 1)
    aligner = Aligner(topology.hmm(4, NUM_STATES), speech.lexicon)
    long = " ".join(["tack"] * 30)
    utterances = [
        ("u0", speech.posteriors("u0", table, priors), speech.texts["u0"]),
        ("u1", speech.posteriors("u1", table, priors), long),
        ("u2", speech.posteriors("u2", table, priors), speech.texts["u2"]),
    ]
    failed = {}
    labels = realign(aligner, utterances, lambda id, error: failed.update({id: str(error)}))
    assert labels.keys() == {"u0", "u2"}
    assert failed.keys() == {"u1"}
    assert "too few" in failed["u1"]
    with pytest.raises(AsrHlgError, match="too few"):
        realign(aligner, utterances)
