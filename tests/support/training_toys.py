"""A small regression task that trains as speech does, for tests of the loop itself.

Run as a program, it trains in the folder of its first argument, for tests that kill it or run
several of it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from asr_hlg.output.scoring import Errors
from asr_hlg.train import OptimiserOptions, Outcome, Trainer, TrainingOptions, parallel


@dataclass(frozen=True)
class Batch:
    """The fields of a batch that the loop and the toy objective look at."""

    ids: tuple[str, ...]
    inputs: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Batch:
        return replace(self, inputs=self.inputs.to(device), lengths=self.lengths.to(device))


class Batches:
    """Sixteen utterances of random numbers in an order of their own every epoch."""

    def __init__(self, size: int = 4, bad: frozenset[str] = frozenset(), seed: int = 0):
        self.rank, self.processes = parallel.world()
        self.size = size
        generator = np.random.default_rng(seed)
        self.lengths = generator.integers(3, 9, 16)
        self.inputs = generator.normal(size=(16, 8, 3)).astype(np.float32)
        for number in range(16):
            self.inputs[number, self.lengths[number] :] = 0
            if f"u{number}" in bad:
                self.inputs[number] = np.nan

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        self.order = np.random.default_rng(epoch).permutation(16)
        self.skip = skip

    def __len__(self) -> int:
        return 16 // self.size

    def __iter__(self):
        for start in range(self.skip * self.size, 16, self.size):
            chosen = self.order[start : start + self.size][self.rank :: self.processes]
            yield Batch(
                tuple(f"u{number}" for number in chosen),
                torch.from_numpy(self.inputs[chosen]),
                torch.from_numpy(self.lengths[chosen]),
            )


class Objective(nn.Module):
    """Predicts the sum of every frame's numbers; losses are squared errors of an utterance."""

    def __init__(self, dropout: float = 0.0, norm: bool = False):
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(dropout))
        self.norm = nn.BatchNorm1d(16) if norm else nn.Identity()
        self.head = nn.Linear(16, 1)

    def forward(self, batch: Batch) -> Tensor:
        hidden = self.body(batch.inputs)
        hidden = self.norm(hidden.transpose(1, 2)).transpose(1, 2)
        errors = (self.head(hidden).squeeze(2) - batch.inputs.sum(2)) ** 2
        real = torch.arange(errors.shape[1])[None] < batch.lengths[:, None]
        return (errors * real).sum(1)


def trainer(folder: Path, objective: nn.Module | None = None, batches=None, **fields) -> Trainer:
    """A trainer of the toy task; fields of both options classes may be given by name."""
    rates = {name: fields.pop(name) for name in ("learning_rate", "clip") if name in fields}
    others = {name: fields.pop(name) for name in ("evaluate", "config", "report") if name in fields}
    others.setdefault("report", lambda line: None)
    return Trainer(
        objective or Objective(),
        batches or Batches(),
        folder,
        TrainingOptions(**{"epochs": 3, **fields}),
        OptimiserOptions(**{"learning_rate": 0.01, **rates}),
        **others,
    )


def weights(module: nn.Module) -> np.ndarray:
    """All weights in one array."""
    return torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()


def dev_errors(objective: nn.Module) -> Errors:
    """Deterministic "word errors" that depend on the weights."""
    wrong = int(100 * float(objective(next(_dev())).mean()))
    return Errors(0, 0, min(wrong, 10_000), 10_000)


def _dev():
    batches = Batches(16, seed=5)
    batches.rank, batches.processes = 0, 1  # only the first process evaluates
    batches.set_epoch(0)
    return iter(batches)


class _Doomed(Batches):
    """Some time after its first step the process is killed, whatever it is doing."""

    def __init__(self, seconds: float):
        super().__init__()
        self.timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        self.timer.daemon = True

    def __iter__(self):
        for batch in super().__iter__():
            time.sleep(0.05)
            yield batch
            if not self.timer.is_alive():
                self.timer.start()


def main(folder: Path, settings: dict) -> Outcome:
    torch.set_num_threads(1)
    doomed_after = settings.pop("doomed_after", None)
    dropout = settings.pop("dropout", 0.0)
    with parallel.processes("cpu"):
        run = trainer(
            folder,
            Objective(dropout=dropout),
            Batches() if doomed_after is None else _Doomed(doomed_after),
            evaluate=dev_errors,
            report=lambda line: print(line, flush=True),
            **settings,
        )
        outcome = run.run()
        if run.rank == 0:
            np.save(folder / "weights.npy", weights(run.objective))
        return outcome


if __name__ == "__main__":
    faulthandler.dump_traceback_later(500, exit=True)  # says where a hang is
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
