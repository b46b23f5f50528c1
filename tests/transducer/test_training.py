"""The training objective of transducers: weights of the two passes, checks, and training."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import pytest
import torch

from asr_hlg.data import Batch
from asr_hlg.errors import DataError, LexiconError, ModelError, OptionError
from asr_hlg.lexicon import Lexicon
from asr_hlg.train import OptimiserOptions, Trainer, TrainingOptions
from asr_hlg.transducer import (
    PrunedLossOptions,
    Targets,
    Transducer,
    TransducerConfig,
    TransducerObjective,
    TransducerOptions,
    loss,
    make_decoder,
    transcripts,
)
from asr_hlg.transducer.targets import LATTICES

LEXICON = Lexicon([("hi", ("h", "i")), ("hi", ("i",)), ("ho", ("h", "o")), ("oh", ("o", "h"))])
TOKENS = ("<blk>", "h", "i", "o")


def objective_of(lattice="modified", prediction="stateless", **options):
    torch.manual_seed(0)
    encoder = {"dim": 24, "dilations": [1], "fbank": {"num_filters": 4}, "dropout": 0.0}
    shape = {"prediction_dim": 12, "joiner_dim": 24, "dropout": 0.0, "prediction": prediction}
    config = TransducerConfig(TOKENS, "tdnn", encoder, lattice=lattice, **shape)
    return TransducerObjective(Transducer(config), LEXICON, PrunedLossOptions(**options))


def batch_of(*texts, seed=0):
    """Filter banks in which every token has high energy in one filter for nine frames."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for text in texts:
        tokens = [TOKENS.index(t) for w in text.split() for t in LEXICON.pronunciations(w)[0]]
        marks = torch.zeros(9 * len(tokens) + 9, 4)
        for place, token in enumerate(tokens):
            marks[9 * place + 3 : 9 * place + 9, token] = 3.0
        rows.append(marks + 0.3 * torch.randn(marks.shape, generator=generator))
    lengths = torch.tensor([len(row) for row in rows])
    inputs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    ids = tuple(f"u{number}" for number in range(len(texts)))
    return Batch(ids, inputs, lengths, texts)


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_objective_is_the_weighted_sum_of_two_passes(lattice):
    objective = objective_of(lattice, warm_up=10, prune_range=3, am_scale=0.1).eval()
    batch = batch_of("hi ho oh", "ho")
    network = objective.network
    features, lengths = network.encode(batch.inputs, batch.lengths)
    tokens = torch.tensor([[1, 2, 1, 3, 3, 1], [1, 3, 1, 1, 1, 1]])
    targets = Targets(tokens, torch.tensor([6, 2]), lengths, lattice)
    prediction = network.prediction(tokens)
    am, lm = network.encoder_simple(features), network.prediction_simple(prediction)
    simple, ranges = loss.prune_ranges(am, lm, targets, 3, 0.1, 0.25)
    pruned = loss.pruned(
        network.encoded(features), network.predicted(tokens), ranges, network.logits, targets
    )
    torch.testing.assert_close(objective(batch), 0.5 * simple + pruned)
    objective.train()
    for step in range(12):
        done = min(1.0, step / 10)
        expected = (1 - 0.5 * done) * simple + (0.1 + 0.9 * done) * pruned
        torch.testing.assert_close(objective(batch), expected)
    assert int(objective.steps) == 12


def test_the_warm_up_goes_on_from_a_checkpoint():
    objective, again = objective_of(), objective_of()
    objective.train()(batch_of("hi"))
    again.load_state_dict(objective.state_dict())
    assert int(again.steps) == 1
    # Evaluation does not count as a step.
    again.eval()(batch_of("hi"))
    assert int(again.steps) == 1


@pytest.mark.parametrize("lattice", LATTICES)
def test_compared_with_the_full_loss(lattice):
    objective = objective_of(lattice, prune_range=2).eval()
    batch = batch_of("hi ho oh oh", "ho", "")
    pruned, full = objective.compare(batch)
    assert bool((pruned >= full - 1e-4).all())
    assert pruned[0] > full[0]
    wide = objective_of(lattice, prune_range=50).eval()
    torch.testing.assert_close(*wide.compare(batch), rtol=1e-5, atol=1e-4)


def test_words_are_their_first_pronunciation():
    objective = objective_of()
    assert objective.tokens("hi oh") == [1, 2, 3, 1]
    assert objective.tokens("") == []
    targets = objective.targets(["hi", ""], torch.tensor([5, 5], dtype=torch.int32))
    assert targets.num_tokens.tolist() == [2, 0]


def test_the_check_before_training():
    objective = objective_of()
    objective.check(["a", "b"], ["hi ho", ""], [4, 0])
    with pytest.raises(LexiconError, match=r"b: .*'hey'"):
        objective.check(["a", "b"], ["hi", "hey ho"], [9, 9])
    with pytest.raises(DataError, match="b: 3 frames, 'hi ho' needs 4"):
        objective.check(["a", "b"], ["hi", "hi ho"], [2, 3])
    objective_of("regular").check(["b"], ["hi ho"], [1])
    with pytest.raises(DataError, match="b: 0 frames"):
        objective_of("regular").check(["b"], ["hi ho"], [0])


def test_a_lexicon_of_other_tokens_is_refused():
    network = objective_of().network
    with pytest.raises(ModelError, match="lacks 'x'"):
        TransducerObjective(network, Lexicon([("x", ("x",))]))


@pytest.mark.parametrize(
    "wrong", [{"prune_range": 1}, {"warm_up": -1}, {"am_scale": 0.6, "lm_scale": 0.5}]
)
def test_options_out_of_range(wrong):
    with pytest.raises(OptionError):
        PrunedLossOptions(**wrong)


class Batches(list):
    def set_epoch(self, epoch, skip=0):
        pass


@pytest.mark.parametrize(
    ("lattice", "prediction"),
    [("modified", "stateless"), ("modified", "lstm"), ("regular", "stateless")],
)
def test_a_trained_transducer_recognises(tmp_path, lattice, prediction):
    """Marks in filter banks are learnt within seconds, and every search then reads them."""
    objective = objective_of(lattice, prediction, warm_up=20)
    words = ("hi ho oh", "oh oh hi", "ho", "hi hi ho oh", "oh ho hi", "ho ho oh")
    batches = Batches(batch_of(*words, seed=seed) for seed in range(5))
    trainer = Trainer(
        objective,
        batches,
        tmp_path,
        TrainingOptions(epochs=20, average=1),
        OptimiserOptions(learning_rate=0.01),
        report=lambda line: None,
    )
    epochs = trainer.run().progress.epochs
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 4
    assert int(objective.steps) == 100
    pruned, full = objective.compare(batches[0])
    assert float(pruned.sum() / full.sum()) == pytest.approx(1.0, abs=0.02)
    searches = ["greedy", "beam"] + (["graph"] if prediction == "stateless" else [])
    test = batch_of("oh hi ho", "ho ho hi", seed=99)
    for search in searches:
        decoder = make_decoder(objective.network, options=TransducerOptions(search))
        features = decoder.network.encode(test.inputs, test.lengths)
        lattice = decoder.decode(decoder.network.posteriors(*features))
        found = transcripts(lattice, test.ids, [1, 1], LEXICON)
        assert [transcript.text for transcript in found] == list(test.texts)


@pytest.mark.slow
def test_the_pruned_loss_needs_a_tenth_of_the_memory(root):
    """At 15 s, 30 characters and 10,000 types; needs 5 GB and half a minute."""
    script = root / "benchmarks" / "transducer_loss.py"
    memory = {}
    for method in ("full", "pruned"):
        command = [sys.executable, str(script), "--case", f"{method},750,30,10000"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        memory[method] = json.loads(done.stdout)["memory"]
    assert memory["full"] > 750 * 31 * 10_000 * 4
    assert memory["pruned"] < memory["full"] / 10


def test_the_examples_of_the_documentation(root, monkeypatch):
    monkeypatch.chdir(root)
    script = runpy.run_path(str(root / "scripts" / "draw_lecture.py"))
    text = (root / "docs" / "transducer.md").read_text(encoding="utf-8")
    assert script["run"](text) == text
