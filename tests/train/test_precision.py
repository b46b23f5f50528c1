"""Mixed precision: what is computed in half precision, and what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from asr_hlg.acoustic import nets
from asr_hlg.data import Batch
from asr_hlg.errors import OptionError, TrainingError
from asr_hlg.losses import CrossEntropy
from asr_hlg.train import FrameObjective, checkpoints, log, precision
from asr_hlg.train.precision import autocast_dtype
from asr_hlg.transducer import loss as transducer_loss
from tests.losses.test_common import LOSSES
from tests.support.networks import SMALL, inputs, run, small
from tests.support.training_toys import Batches, Objective, trainer, weights
from tests.transducer.test_loss import random_scores, targets_of

CPU = torch.device("cpu")


def bfloat16():
    return torch.autocast("cpu", dtype=torch.bfloat16)


class Seen(nn.Module):
    """A loss that keeps the log-probabilities that it is given, and their gradient."""

    def __init__(self, loss):
        super().__init__()
        self.loss, self.targets = loss, loss.targets

    def forward(self, log_probs, lengths, targets):
        log_probs.retain_grad()
        self.log_probs, self.lengths, self.of = log_probs, lengths, targets
        return self.loss(log_probs, lengths, targets)


@pytest.mark.parametrize("kind", SMALL)
def test_log_probabilities_are_in_float32(kind):
    network = small(kind)
    rows = inputs(network, 5, 2)
    with bfloat16():
        log_probs, _ = run(network, rows)
    assert log_probs.dtype == torch.float32
    # In bfloat16 a row of log-probabilities would sum to 1 within 2^-8 only.
    sums = log_probs.exp().sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)
    exact, _ = run(network, rows)
    assert not torch.equal(exact, log_probs)
    torch.testing.assert_close(exact, log_probs, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("name", [*LOSSES, "cross entropy"])
def test_losses_and_their_gradients_are_computed_in_float32(name):
    """They are those of the same log-probabilities in float64, outside of autocast."""
    loss = LOSSES.get(name, CrossEntropy())
    num_columns = 4 if name == "cross entropy" else loss.graphs.num_columns
    tokens = tuple(str(column) for column in range(num_columns))
    torch.manual_seed(0)
    network = nets.create("tdnn", tokens, dim=16, dilations=(1,), dropout=0.0)
    seen = Seen(loss)
    objective = FrameObjective(network, seen)
    lengths = torch.tensor([40, 31])
    alignments = tuple(torch.arange(int(n)) % 4 for n in network.output_lengths(lengths))
    frames = torch.randn(2, 40, network.config.fbank.num_filters)
    batch = Batch(("a", "b"), frames, lengths, ("at kit", "cat"), alignments)
    with bfloat16():
        losses = objective(batch)
    losses.sum().backward()
    assert losses.dtype == seen.log_probs.dtype == torch.float32
    double = seen.log_probs.detach().double().requires_grad_()
    expected = loss(double, seen.lengths, seen.of)
    expected.sum().backward()
    torch.testing.assert_close(losses.double(), expected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(seen.log_probs.grad.double(), double.grad, rtol=1e-5, atol=1e-6)
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in objective.parameters())


@pytest.mark.parametrize("lattice", ["regular", "modified"])
def test_the_pruned_loss_sums_in_float32(lattice):
    """Only the joiner's matrix product is in half precision: the sums are those of float64."""
    targets = targets_of([[1, 2, 3], [2, 1]], [6, 5], lattice)
    am, lm = (random_scores(2, n, 8, seed=n).float().requires_grad_() for n in (6, 4))
    joiner = nn.Linear(8, 4)
    _, ranges = transducer_loss.prune_ranges(
        random_scores(2, 6, 4), random_scores(2, 4, 4), targets, 3
    )
    with bfloat16():
        found = transducer_loss.pruned(am, lm, ranges, joiner, targets)
        found_grads = torch.autograd.grad(found.sum(), [am, lm])
        assert joiner(am).dtype == torch.bfloat16
        exact = transducer_loss.pruned(am, lm, ranges, lambda x: joiner(x).double(), targets)
        exact_grads = torch.autograd.grad(exact.sum(), [am, lm])
    assert found.dtype == torch.float32
    assert exact.dtype == torch.float64
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found_grads, exact_grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2**-6, atol=1e-3)  # bfloat16 on their way


def test_the_loss_falls_as_in_float32(tmp_path):
    losses = {}
    for name in ("float32", "bfloat16"):
        outcome = trainer(tmp_path / name, epochs=30, learning_rate=0.03, precision=name).run()
        losses[name] = [entry["loss"] for entry in outcome.progress.epochs]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"][-1] < losses["bfloat16"][0] / 4
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.1)


class _Stop(Exception):
    pass


@pytest.mark.parametrize("name", ["float32", "bfloat16", "scaled"])
def test_a_checkpoint_continues_to_the_same_bits(tmp_path, monkeypatch, name):
    def make(folder):
        run = trainer(
            folder,
            Objective(dropout=0.3),
            precision="bfloat16" if name == "bfloat16" else "float32",
            checkpoint_seconds=0.0,
        )
        if name == "scaled":  # the scale is that of float16, which the CPU lacks
            monkeypatch.setattr(precision, "_GROWTH_STEPS", 3)
            run.progress.loss_scale = 8.0
            _scaled(run, monkeypatch)
        return run

    whole = make(tmp_path / "whole")
    whole.run()
    first = make(tmp_path / "parts")
    save = first._save

    def stop():
        save()
        if first.progress.step == 5:
            raise _Stop

    first._save = stop
    with pytest.raises(_Stop):
        first.run()
    again = make(tmp_path / "parts")
    again.run()
    np.testing.assert_array_equal(weights(again.objective), weights(whole.objective))
    assert again.progress.loss_scale == whole.progress.loss_scale
    assert whole.progress.loss_scale == (8.0 * 2**4 if name == "scaled" else 65536.0)


def _scaled(run, monkeypatch):
    """Let a trainer scale its loss although it computes in float32."""
    original = precision.LossScale
    monkeypatch.setattr(
        "asr_hlg.train.loop.LossScale", lambda progress, _: original(progress, True)
    )


def test_the_scale_changes_no_gradient(tmp_path, monkeypatch):
    """It is a power of two, so that in float32 the weights are the same to the bit."""
    plain = trainer(tmp_path / "plain")
    plain.run()
    scaled = trainer(tmp_path / "scaled")
    _scaled(scaled, monkeypatch)
    scaled.run()
    assert scaled.progress.loss_scale == 65536.0
    np.testing.assert_array_equal(weights(scaled.objective), weights(plain.objective))


class _HalfRange(Objective):
    """Its gradient passes through float16, whose largest number is 65,504."""

    def forward(self, batch):
        return super().forward(batch).half().float()


def test_a_gradient_that_overflows_halves_the_scale_and_nothing_else(tmp_path, monkeypatch):
    lines = []
    run = trainer(tmp_path, _HalfRange(), Batches(16), epochs=12, report=lines.append)
    _scaled(run, monkeypatch)
    run.progress.loss_scale = 2.0**26
    before = weights(run.objective)
    steps = []
    step = run._step

    def noted(batch):
        loss = step(batch)
        steps.append((run.progress.loss_scale, weights(run.objective)))
        return loss

    run._step = noted
    outcome = run.run()
    factor = steps[-1][0]
    halvings = int(np.log2(2.0**26 / factor))
    assert 1 < halvings < 12
    assert [scale for scale, _ in steps[:halvings]] == [2.0 ** (25 - n) for n in range(halvings)]
    assert all((after == before).all() for _, after in steps[:halvings])
    assert (steps[halvings][1] != before).any()
    assert not any("skipped" in line for line in lines)
    assert outcome.progress.step == 12
    assert outcome.progress.skipped == 0
    entries = [e for e in log.read(tmp_path / log.NAME) if e["kind"] == "step"]
    assert len(entries) == 12 - halvings
    _, newest = checkpoints.numbered(tmp_path / "checkpoints", "checkpoint").popitem()
    assert checkpoints.read(newest).meta["progress"]["loss_scale"] == factor


def test_a_gradient_that_is_never_finite_is_an_error_all_the_same(tmp_path, monkeypatch):
    class Root(Objective):
        def forward(self, batch):
            return (super().forward(batch) * 0).sqrt()

    run = trainer(tmp_path, Root(), Batches(1))
    _scaled(run, monkeypatch)
    run.progress.loss_scale = 4.0
    with pytest.raises(TrainingError, match="10 batches in a row have no finite gradient"):
        run.run()
    assert run.progress.loss_scale == 1.0


def test_a_checkpoint_names_no_device(tmp_path):
    """Arrays of numpy and JSON: they are loaded on any device, by any torch."""
    trainer(tmp_path, epochs=1).run()
    _, newest = checkpoints.numbered(tmp_path / "checkpoints", "checkpoint").popitem()
    found = checkpoints.read(newest)
    assert all(array.dtype.kind in "fi" for array in found.arrays.values())
    assert not any(word in json.dumps(found.meta) for word in ("cpu:", "cuda", "device"))
    moments = [name for name in found.arrays if name.endswith("exp_avg_sq")]
    assert len(moments) == len(list(Objective().parameters()))


def test_the_state_of_the_optimiser_goes_to_the_device_of_the_weights(tmp_path):
    """Device "meta" stands for a GPU: it has shapes and no numbers."""
    run = trainer(tmp_path, epochs=1)
    run.run()
    arrays = checkpoints.optimiser_arrays(run._optimiser)
    elsewhere = Objective().to("meta")
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in elsewhere.parameters() if p.ndim > 1]},
            {"params": [p for p in elsewhere.parameters() if p.ndim <= 1]},
        ]
    )
    checkpoints.load_optimiser_arrays(optimiser, arrays)
    moments = [state["exp_avg"] for state in optimiser.state.values()]
    assert len(moments) == 4
    assert all(moment.device.type == "meta" for moment in moments)


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), None)]
)
def test_which_format_is_used_where_none_is_asked_for(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert autocast_dtype("auto", torch.device("cuda:1")) == expected
    assert autocast_dtype("auto", CPU) is None
    assert autocast_dtype("float16", torch.device("cuda")) == torch.float16
    assert autocast_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(OptionError, match="float16 is for GPUs"):
        autocast_dtype("float16", CPU)
