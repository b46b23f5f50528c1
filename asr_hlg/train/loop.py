"""The training loop: batches in, better weights out, and nothing lost when it is killed."""

from __future__ import annotations

import hashlib
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from asr_hlg.errors import TrainingError
from asr_hlg.output.scoring import Errors
from asr_hlg.train import checkpoints, log, parallel
from asr_hlg.train.optimiser import OptimiserOptions, adamw
from asr_hlg.train.options import TrainingOptions
from asr_hlg.train.progress import Clock, Outcome, Progress

if TYPE_CHECKING:
    from asr_hlg.data import Batch

_MOST_SKIPPED = 10  # batches in a row without a finite loss before training gives up


class Batches(Protocol):
    """What the loop needs of a loader."""

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the order of an epoch, without its first ``skip`` batches."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int:
        """Batches of an epoch, or nearly."""


class Trainer:
    """Trains an objective; afterwards it holds the averaged weights, in the first process.

    Where ``folder`` has checkpoints of the same config, training goes on from the newest and
    ends with the weights that it would have had without the interruption. Every step seeds its
    random numbers from ``(seed, step, rank)``, so that none of their state needs to be kept.

    Under ``torchrun``, build it inside :func:`asr_hlg.train.parallel.processes`, and give every
    process its share of the batches: gradients are those of all losses together.

    Parameters
    ----------
    objective : nn.Module
        ``objective(batch)`` gives the losses ``(B,)`` of a batch in nats. Where inputs are not
        frames (waveforms) or are subsampled, ``objective.inputs_per_frame`` says how many of
        ``batch.lengths`` make one output frame; losses are reported and optimised a frame.
    batches : Batches
        The training data.
    folder : Path
        Gets ``checkpoints/`` and ``log.jsonl``; all processes must see it.
    options : TrainingOptions
    optimiser : OptimiserOptions
    evaluate : callable, optional
        From the objective, in evaluation mode, to word errors on a dev set.
    device : torch.device
    config : mapping, optional
        Whatever must be the same for a checkpoint to fit, in JSON's types.
    report : callable, optional
        Takes lines for the user; default: standard error.

    Raises
    ------
    TrainingError
        From :meth:`run`: if the losses of ten batches in a row are not finite, a checkpoint
        does not fit, or the disk is full.
    """

    def __init__(
        self,
        objective: nn.Module,
        batches: Batches,
        folder: Path,
        options: TrainingOptions,
        optimiser: OptimiserOptions,
        evaluate: Callable[[nn.Module], Errors] | None = None,
        device: str | torch.device = "cpu",
        config: Mapping[str, Any] | None = None,
        report: Callable[[str], None] | None = None,
    ):
        self.objective = objective.to(device)
        self.batches = batches
        self.folder = folder
        # Apart, for a folder with several .npz files is no model folder.
        self._checkpoints = folder / "checkpoints"
        self.options = options
        self.optimiser_options = optimiser
        self.evaluate = evaluate
        self.device = torch.device(device)
        self.config = {
            "training": asdict(options),
            "optimiser": asdict(optimiser),
            **(config or {}),
        }
        self.progress = Progress()
        self.rank, self.processes = parallel.world()
        self.report = report or log.to_stderr
        if self.rank > 0:
            self.report = lambda line: None
        self.inputs_per_frame = float(getattr(objective, "inputs_per_frame", 1.0))
        self._optimiser = adamw(objective, optimiser)
        self._last_checkpoint = time.monotonic()

    def run(self) -> Outcome:
        """Train to the end, from the start or from the newest checkpoint."""
        self._resume()
        if not self.progress.planned_steps:
            self.progress.planned_steps = self.options.epochs * max(1, len(self.batches))
        self._parallel = parallel.wrap(self.objective)
        self._log = log.Log(self.folder, self.progress.step) if self.rank == 0 else None
        try:
            while not self._finished:
                self._epoch()
            return self._average()
        finally:
            if self._log is not None:
                self._log.close()

    @property
    def _finished(self) -> bool:
        progress = self.progress
        return progress.epoch >= self.options.epochs or progress.stalled(self.options.patience)

    def _epoch(self) -> None:
        progress = self.progress
        self.batches.set_epoch(progress.epoch, skip=progress.batch)
        batches = iter(self.batches)
        hidden = self.rank > 0 or not sys.stderr.isatty()
        with tqdm(
            desc=f"epoch {progress.epoch + 1}",
            total=len(self.batches),
            initial=progress.batch,
            unit="batch",
            disable=hidden,
            leave=False,
        ) as bar:
            while True:
                with Clock(progress):
                    # Before the batch is drawn: what makes it may need random numbers too.
                    _seed(self.options.seed, progress.step, self.rank)
                    batch = next(batches, None)
                    if batch is None:
                        break
                    loss = self._step(batch.to(self.device))
                bar.update()
                bar.set_postfix(loss=f"{loss:.3f}")
                if time.monotonic() - self._last_checkpoint >= self.options.checkpoint_seconds:
                    self._save()
        self._end_epoch()

    def _step(self, batch: Batch) -> float:
        """One update from one batch; gives its loss a frame, over all processes."""
        progress = self.progress
        rate = self.optimiser_options.rate(progress.step, progress.planned_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.objective.train()
        self._optimiser.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self.objective.buffers()]
        losses = self._losses(batch)
        loss_sum, frames = self._totals(losses, batch)
        norm = math.nan
        if math.isfinite(loss_sum):
            # DistributedDataParallel averages gradients, a sum is meant.
            (losses.sum() * (self.processes / frames)).backward()
            norm = float(nn.utils.clip_grad_norm_(self._trainable(), self.optimiser_options.clip))
        progress.step += 1
        progress.batch += 1
        if not math.isfinite(norm):
            self._skip(batch, before, "loss" if not math.isfinite(loss_sum) else "gradient")
            return loss_sum / frames
        self._optimiser.step()
        progress.skipped = 0
        progress.loss_sum += loss_sum
        progress.frames += frames
        self._note("step", loss=loss_sum / frames, learning_rate=rate, gradient_norm=norm)
        return loss_sum / frames

    def _losses(self, batch: Batch) -> Tensor:
        mixed = self.options.mixed_precision and self.device.type == "cuda"
        with torch.autocast(
            self.device.type,
            dtype=torch.bfloat16,
            enabled=mixed and torch.cuda.is_bf16_supported(),
        ):
            return self._parallel(batch)

    def _totals(self, losses: Tensor, batch: Batch) -> tuple[float, float]:
        """Loss and frames of all processes together."""
        own = torch.zeros(2, dtype=torch.float64, device=self.device)
        own[0] = losses.detach().double().sum()
        own[1] = batch.lengths.double().sum() / self.inputs_per_frame
        loss_sum, frames = parallel.total(own).tolist()
        return loss_sum, max(1.0, frames)

    def _skip(self, batch: Batch, before: list[Tensor], what: str) -> None:
        """Go on without a batch, as if it had not been there."""
        for buffer, old in zip(self.objective.buffers(), before, strict=True):
            buffer.copy_(old)  # running means would carry a NaN into every later batch
        self.progress.skipped += 1
        names = ", ".join(batch.ids)
        others = " (or a batch of another process)" if self.processes > 1 else ""
        self.report(f"skipped a batch{others}, its {what} is not finite: {names}")
        if self.progress.skipped >= _MOST_SKIPPED:
            raise TrainingError(
                f"{_MOST_SKIPPED} batches in a row have no finite {what}, the last of them {names}",
                remedy="lower the learning rate, and look at the utterances that were named",
            )

    def _end_epoch(self) -> None:
        progress = self.progress
        if progress.frames == 0:
            raise TrainingError(
                f"epoch {progress.epoch + 1} had no batch to learn from",
                remedy="check the training data: it is empty, or every batch was skipped",
            )
        entry: dict[str, Any] = {"loss": progress.loss_sum / progress.frames}
        dev = self._evaluated()
        if dev is not None:
            entry.update(wer=dev.rate, dev=asdict(dev))
        progress.epochs.append(entry)
        progress.epoch += 1
        progress.batch, progress.loss_sum, progress.frames = 0, 0.0, 0.0
        if self.rank == 0:
            weights = checkpoints.arrays_of(self.objective)
            checkpoints.write(self._checkpoints, f"epoch-{progress.epoch:04d}", weights, entry)
        self._save()
        self._tidy_epochs()
        seconds = {"wall_seconds": progress.wall_seconds, "cpu_seconds": progress.cpu_seconds}
        self._note("epoch", **entry, **seconds)
        self.report(self._epoch_line(entry))

    def _epoch_line(self, entry: dict[str, Any]) -> str:
        line = f"epoch {self.progress.epoch:3} of {self.options.epochs}  loss {entry['loss']:.4f}"
        if "wer" in entry:
            mark = ", the best" if self.progress.best(1) == [self.progress.epoch - 1] else ""
            line += f"  dev WER {entry['wer']:.2%}{mark}"
        return line + f"  after {self.progress.wall_seconds:.0f} s"

    def _evaluated(self) -> Errors | None:
        """Word errors on the dev set; the first process counts them for all."""
        if self.evaluate is None:
            return None
        counts = torch.zeros(4, dtype=torch.int64, device=self.device)
        if self.rank == 0:
            counts[:] = torch.tensor(list(asdict(self._errors(self.evaluate)).values()))
        return Errors(*parallel.from_first(counts).tolist())

    def _errors(self, evaluate: Callable[[nn.Module], Errors]) -> Errors:
        self.objective.eval()
        with torch.no_grad(), Clock(self.progress):
            return evaluate(self.objective)

    def _average(self) -> Outcome:
        """Put the mean of the best epochs' weights into the objective, or the best alone.

        The first process does so; what the others have is of no use any more.
        """
        if self.rank > 0:
            return Outcome(self.progress, (), None)
        parts = self._epoch_weights(self.progress.best(self.options.average))
        if not parts:
            raise TrainingError(
                "no epoch's weights are left to average",
                path=self._checkpoints,
                remedy="remove the folder and train again",
            )
        dev = self._evaluate_mean(parts)
        [best] = self.progress.best(1)
        if dev is not None and best in parts and dev.rate > self.progress.epochs[best]["wer"]:
            parts = {best: parts[best]}
            dev = self._evaluate_mean(parts)
        return Outcome(self.progress, tuple(epoch + 1 for epoch in parts), dev)

    def _evaluate_mean(self, parts: dict[int, dict[str, np.ndarray]]) -> Errors | None:
        mean = checkpoints.mean(list(parts.values()))
        checkpoints.load_arrays(self.objective, mean, self._checkpoints)
        self.objective.eval()
        if self.evaluate is None:
            return None
        dev = self._errors(self.evaluate)
        numbers = ", ".join(str(epoch + 1) for epoch in parts)
        self.report(f"weights of epochs {numbers}: dev WER {dev.rate:.2%}")
        return dev

    def _epoch_weights(self, epochs: list[int]) -> dict[int, dict[str, np.ndarray]]:
        """The weights after some epochs, as far as their files are whole."""
        parts = {}
        for path in checkpoints.found(self._checkpoints, "epoch"):
            epoch = int(path.stem.split("-")[1]) - 1
            if epoch in epochs:
                try:
                    parts[epoch] = checkpoints.read(path).arrays
                except TrainingError as error:
                    self.report(f"{error}; averaging without it")
        return parts

    def _tidy_epochs(self) -> None:
        """Drop the weights of epochs that no average will want."""
        if self.rank == 0:
            wanted = self.progress.best(self.options.average)
            for path in checkpoints.found(self._checkpoints, "epoch"):
                if int(path.stem.split("-")[1]) - 1 not in wanted:
                    path.unlink(missing_ok=True)

    def _save(self) -> None:
        """Write a checkpoint; the oldest ones go once it is safe."""
        self._last_checkpoint = time.monotonic()
        if self.rank > 0:
            return
        model = checkpoints.arrays_of(self.objective)
        optimiser = checkpoints.optimiser_arrays(self._optimiser)
        arrays = {
            **{f"model/{name}": array for name, array in model.items()},
            **{f"optimiser/{name}": array for name, array in optimiser.items()},
        }
        meta = {"progress": asdict(self.progress), "config": self.config}
        # The epoch's end has a checkpoint of its own, even where its last step wrote one.
        number = self.progress.step + self.progress.epoch
        checkpoints.write(self._checkpoints, f"checkpoint-{number:09d}", arrays, meta)
        for path in checkpoints.found(self._checkpoints, "checkpoint")[
            : -self.options.keep_checkpoints
        ]:
            path.unlink(missing_ok=True)

    def _resume(self) -> None:
        newest = checkpoints.latest(self._checkpoints, "checkpoint", self.report)
        if newest is None:
            return
        checkpoints.check_config(newest.meta["config"], self.config, newest.path)
        parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimiser": {}}
        for name, array in newest.arrays.items():
            kind, rest = name.split("/", 1)
            parts[kind][rest] = array
        checkpoints.load_arrays(self.objective, parts["model"], newest.path)
        checkpoints.load_optimiser_arrays(self._optimiser, parts["optimiser"])
        self.progress = Progress(**newest.meta["progress"])
        self.report(
            f"going on from {newest.path.name}: epoch {self.progress.epoch + 1}, "
            f"batch {self.progress.batch + 1}"
        )

    def _note(self, kind: str, **scalars: Any) -> None:
        if self._log is not None:
            self._log.write(kind, self.progress.step - 1, {"epoch": self.progress.epoch, **scalars})

    def _trainable(self) -> list[nn.Parameter]:
        return [p for p in self.objective.parameters() if p.requires_grad]


def _seed(seed: int, step: int, rank: int) -> None:
    """Seed every library's random numbers for one step of one process."""
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    number = int.from_bytes(digest[:4], "little")
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
