"""The training loop: what it computes, and that nothing is lost when it is killed."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asr_hlg.errors import OptionError, TrainingError
from asr_hlg.output.scoring import Errors
from asr_hlg.train import OptimiserOptions, TrainingOptions, checkpoints, log
from tests.support.training_toys import Batches, Objective, dev_errors, trainer, weights

TOYS = Path(__file__).parents[1] / "support" / "training_toys.py"
_PATIENCE = 600  # seconds: the machine may be busy


def _entries(folder, kind):
    return [entry for entry in log.read(folder / log.NAME) if entry["kind"] == kind]


def test_the_loss_falls(tmp_path):
    outcome = trainer(tmp_path, epochs=30, learning_rate=0.03).run()
    losses = [entry["loss"] for entry in outcome.progress.epochs]
    assert losses[-1] < losses[0] / 4
    assert [entry["loss"] for entry in _entries(tmp_path, "epoch")] == losses


def test_one_step_is_adamw_on_the_mean_loss_of_a_frame(tmp_path):
    objective, batches = Objective(), Batches(16)
    trainer(tmp_path, objective, batches, epochs=1, average=1, clip=0.5).run()
    other = Objective()
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in other.parameters() if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in other.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=(0.9, 0.98),
    )
    [batch] = batches
    (other(batch).sum() / batch.lengths.sum()).backward()
    norm = nn.utils.clip_grad_norm_(other.parameters(), 0.5)
    optimiser.step()
    assert float(norm) > 0.5
    np.testing.assert_allclose(weights(objective), weights(other), rtol=1e-6)
    [step] = _entries(tmp_path, "step")
    assert step["gradient_norm"] == pytest.approx(float(norm), rel=1e-6)


def test_learning_rate_is_a_ramp_and_half_a_cosine():
    options = OptimiserOptions(learning_rate=2.0, warm_up=0.2)
    rates = [options.rate(step, 100) for step in range(101)]
    for step in range(20):
        assert rates[step] == pytest.approx(2.0 * (step + 1) / 20)
    for step in range(20, 101):
        assert rates[step] == pytest.approx(1 + math.cos(math.pi * (step - 20) / 80))
    assert options.rate(150, 100) == 0
    assert OptimiserOptions(learning_rate=2.0, warm_up=0).rate(0, 100) == 2.0


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = trainer(tmp_path / name, Objective(dropout=0.5), seed=seed)
        random.random(), torch.rand(3)  # what came before must not matter
        run.run()
        files.append(
            checkpoints.write(tmp_path / name, "final", checkpoints.arrays_of(run.objective), {})
        )
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes() != files[2].read_bytes()


def test_final_weights_are_the_mean_of_the_last_epochs(tmp_path):
    run = trainer(tmp_path, epochs=5, average=3)
    after = {}
    end = run._end_epoch

    def remember():
        after[run.progress.epoch + 1] = weights(run.objective)
        end()

    run._end_epoch = remember
    outcome = run.run()
    assert outcome.averaged == (3, 4, 5)
    expected = np.mean([after[3], after[4], after[5]], axis=0, dtype=np.float64)
    np.testing.assert_allclose(weights(run.objective), expected, rtol=1e-6)
    assert len(checkpoints.numbered(tmp_path / "checkpoints", "epoch")) == 3


def test_with_a_dev_set_the_best_epochs_are_averaged_and_training_stops(tmp_path):
    rates = iter([50, 30, 20, 40, 25, 45, 10, 7])  # the last is that of the mean
    run = trainer(
        tmp_path,
        epochs=20,
        average=2,
        patience=3,
        evaluate=lambda objective: Errors(0, 0, next(rates), 100),
    )
    outcome = run.run()
    assert [entry["wer"] for entry in outcome.progress.epochs] == [0.5, 0.3, 0.2, 0.4, 0.25, 0.45]
    assert outcome.averaged == (3, 5)
    assert outcome.dev == Errors(0, 0, 10, 100)
    assert not run.objective.training


def test_a_mean_that_is_worse_than_the_best_epoch_is_not_taken(tmp_path):
    rates = iter([50, 20, 30, 25, 20])  # three epochs, their mean, the best once more
    run = trainer(tmp_path, evaluate=lambda objective: Errors(0, 0, next(rates), 100))
    outcome = run.run()
    assert outcome.averaged == (2,)
    assert outcome.dev == Errors(0, 0, 20, 100)
    path = checkpoints.numbered(tmp_path / "checkpoints", "epoch")[2]
    after = checkpoints.read(path).arrays
    for name, tensor in run.objective.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), after[name])


def test_scalars_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer(tmp_path, epochs=2).run()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [event.value for event in events.Scalars("step/loss")]
    np.testing.assert_allclose(losses, [e["loss"] for e in _entries(tmp_path, "step")], rtol=1e-6)
    assert len(losses) == 8


def test_frames_may_be_subsampled(tmp_path):
    plain = trainer(tmp_path / "plain", epochs=1).run().progress
    objective = Objective()
    objective.inputs_per_frame = 2.0
    halved = trainer(tmp_path / "halved", objective, epochs=1).run().progress
    assert halved.frames == plain.frames == 0  # an epoch's sums do not leak into the next
    steps = [_entries(tmp_path / name, "step")[0]["loss"] for name in ("plain", "halved")]
    assert steps[1] == pytest.approx(2 * steps[0])


# ---- non-finite losses


@pytest.mark.parametrize("norm", [False, True])
def test_a_batch_without_a_finite_loss_is_named_and_changes_nothing(tmp_path, norm):
    lines = []
    objective = Objective(norm=norm)
    batches = Batches(1, bad=frozenset(["u3"]))
    outcome = trainer(tmp_path, objective, batches, epochs=2, report=lines.append).run()
    assert sum(line == "skipped a batch, its loss is not finite: u3" for line in lines) == 2
    assert all(torch.isfinite(t).all() for t in objective.state_dict().values())
    assert outcome.progress.step == 32
    assert len(_entries(tmp_path, "step")) == 30


class _SteepRoot(Objective):
    """A finite loss with an infinite gradient."""

    def forward(self, batch):
        return (super().forward(batch) * 0).sqrt()


def test_a_gradient_that_is_not_finite_is_skipped_too(tmp_path):
    lines = []
    with pytest.raises(TrainingError, match="10 batches in a row have no finite gradient"):
        trainer(tmp_path, _SteepRoot(), Batches(1), report=lines.append).run()
    assert len(lines) == 10


def test_ten_in_a_row_are_an_error_and_nine_are_not(tmp_path):
    bad = frozenset(f"u{number}" for number in range(16))
    with pytest.raises(TrainingError, match=r"10 batches in a row .* u\d+ \(lower the learning"):
        trainer(tmp_path / "ten", batches=Batches(1, bad=bad)).run()

    class Nine(Batches):
        def set_epoch(self, epoch, skip=0):
            super().set_epoch(epoch, skip)
            self.inputs = np.where(np.isnan(self.inputs), 0, self.inputs)
            self.inputs[self.order[:9]] = np.nan

    outcome = trainer(tmp_path / "nine", batches=Nine(1), epochs=2).run()
    assert outcome.progress.step == 32


def test_no_batches_are_an_error(tmp_path):
    class Empty(Batches):
        def __iter__(self):
            return iter(())

    with pytest.raises(TrainingError, match="no batch to train on"):
        trainer(tmp_path, batches=Empty()).run()


# ---- checkpoints


def _program(folder, **settings):
    return subprocess.Popen(
        [sys.executable, str(TOYS), str(folder), json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    settings = {"epochs": 4, "dropout": 0.3, "checkpoint_seconds": 0.0, "average": 2}
    undisturbed = _program(tmp_path / "whole", **settings)
    assert undisturbed.wait(_PATIENCE) == 0
    moments = random.Random(3)
    for _ in range(3):  # a life lasts four steps at most, and there are sixteen
        doomed = _program(tmp_path / "killed", doomed_after=moments.uniform(0, 0.1), **settings)
        assert doomed.wait(_PATIENCE) == -signal.SIGKILL
    last = _program(tmp_path / "killed", **settings)
    printed = last.communicate(timeout=_PATIENCE)[0]
    assert last.returncode == 0
    assert "continuing from checkpoint-" in printed
    expected = (tmp_path / "whole" / "weights.npy").read_bytes()
    assert (tmp_path / "killed" / "weights.npy").read_bytes() == expected
    steps = [
        [(e["step"], e["loss"]) for e in _entries(tmp_path / name, "step")]
        for name in ("whole", "killed")
    ]
    assert steps[0] == steps[1]
    assert len(steps[0]) == 16


class _Stop(Exception):
    pass


def _interrupted(folder, after, **fields):
    """A training that breaks off after some steps."""
    run = trainer(folder, checkpoint_seconds=0.0, **fields)
    save = run._save

    def count():
        save()
        if run.progress.step >= after:
            raise _Stop

    run._save = count
    with pytest.raises(_Stop):
        run.run()


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage):
    whole = trainer(tmp_path / "whole")
    whole.run()
    folder = tmp_path / "damaged"
    _interrupted(folder, 6)
    *_, previous, newest = checkpoints.numbered(folder / "checkpoints", "checkpoint").values()
    content = bytearray(newest.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 3] ^= 4
    newest.write_bytes(content)
    lines = []
    again = trainer(folder, report=lines.append)
    again.run()
    assert "is damaged" in lines[0]
    assert newest.name in lines[0]
    assert lines[1].startswith(f"continuing from {previous.name}")
    np.testing.assert_array_equal(weights(again.objective), weights(whole.objective))


def test_only_so_many_checkpoints_are_kept(tmp_path):
    trainer(tmp_path, checkpoint_seconds=0.0, keep_checkpoints=3).run()
    files = checkpoints.numbered(tmp_path / "checkpoints", "checkpoint")
    assert len(files) == 3
    assert not list(tmp_path.glob("checkpoints/*.part"))


def test_another_config_does_not_continue(tmp_path):
    _interrupted(tmp_path, 2, config={"network": {"dim": 16}})
    with pytest.raises(TrainingError, match=r"trained with network\.dim = 16, now it is 17"):
        trainer(tmp_path, config={"network": {"dim": 17}}).run()
    with pytest.raises(TrainingError, match=r"trained with training\.seed = 0, now it is 5"):
        trainer(tmp_path, config={"network": {"dim": 16}}, seed=5).run()
    trainer(tmp_path, config={"network": {"dim": 16}}, keep_checkpoints=4).run()


def test_another_network_does_not_continue(tmp_path):
    _interrupted(tmp_path, 2)
    with pytest.raises(TrainingError, match=r"does not fit the network: .*norm"):
        trainer(tmp_path, Objective(norm=True)).run()


def test_a_full_disk_is_an_error_and_the_old_checkpoint_stays(tmp_path):
    _interrupted(tmp_path, 2)
    before = {
        path: path.read_bytes()
        for path in checkpoints.numbered(tmp_path / "checkpoints", "checkpoint").values()
    }
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"cannot write a checkpoint: .* \(free disk space"):
            checkpoints.write(
                tmp_path / "checkpoints", "checkpoint-000000009", {"a": np.zeros(1000)}, {}
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in before} == before
    assert list(before) == list(
        checkpoints.numbered(tmp_path / "checkpoints", "checkpoint").values()
    )
    assert not list(tmp_path.glob("checkpoints/*.part"))


def test_damaged_weights_of_an_epoch_are_left_out_of_the_mean(tmp_path):
    trainer(tmp_path, epochs=3).run()
    path = checkpoints.numbered(tmp_path / "checkpoints", "epoch")[2]
    path.write_bytes(path.read_bytes()[:-1])
    lines = []
    outcome = trainer(tmp_path, epochs=3, report=lines.append).run()
    assert outcome.averaged == (1, 3)
    assert any("averaging without it" in line for line in lines)


# ---- several processes


def _free_port() -> int:
    """A free port below those of clients, which could connect to themselves before it listens."""
    for port in range(21_000 + os.getpid() % 1_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def _two(folder, **settings):
    port = _free_port()
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, str(TOYS), str(folder), json.dumps(settings)], env=environment
            )
        )
    return [process.wait(_PATIENCE) for process in processes]


def test_two_processes_do_what_one_does(tmp_path):
    run = trainer(tmp_path / "one", epochs=3, evaluate=dev_errors)
    run.run()
    assert _two(tmp_path / "two", epochs=3) == [0, 0]
    one, two = (
        [entry["loss"] for entry in _entries(tmp_path / name, "step")] for name in ("one", "two")
    )
    np.testing.assert_allclose(two, one, rtol=1e-5)
    np.testing.assert_allclose(
        np.load(tmp_path / "two" / "weights.npy"), weights(run.objective), rtol=1e-4, atol=1e-6
    )


# ---- options


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (OptimiserOptions, {"learning_rate": 0.0}, "learning_rate must be above 0"),
        (OptimiserOptions, {"learning_rate": math.nan}, "learning_rate must be above 0"),
        (OptimiserOptions, {"warm_up": 1.0}, "warm_up must be at least 0 and below 1, not 1.0"),
        (OptimiserOptions, {"weight_decay": -1.0}, "weight_decay"),
        (OptimiserOptions, {"betas": (0.9,)}, "betas"),
        (TrainingOptions, {"epochs": 0}, "epochs must be positive, not 0"),
        (TrainingOptions, {"patience": -1}, "patience must be 0 or more, not -1"),
    ],
)
def test_options_out_of_range(kind, fields, message):
    with pytest.raises(OptionError, match=message):
        kind(**fields)
