"""The training loop: epochs of AdamW steps, with checkpoints, evaluation and averaging."""

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
from asr_hlg.train.checkpoints import Arrays
from asr_hlg.train.optimiser import OptimiserOptions, adamw
from asr_hlg.train.options import TrainingOptions
from asr_hlg.train.precision import LossScale, autocast_dtype
from asr_hlg.train.progress import Clock, Outcome, Progress

if TYPE_CHECKING:
    from asr_hlg.data import Batch

_MAX_SKIPPED = 10  # consecutive batches without a finite loss, after which training fails


class Batches(Protocol):
    """The interface of a loader that the loop uses."""

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Select an epoch, and leave out its first ``skip`` batches."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int:
        """Approximate number of batches in an epoch."""


class Trainer:
    """Trains an objective, which has the averaged weights afterwards (in the first process).

    If ``folder`` has checkpoints of the same config, training continues from the newest and ends
    with the weights that it would have had without the interruption. Every step seeds its
    random numbers from ``(seed, step, rank)``, so that checkpoints need not contain their state.

    Under ``torchrun``, build it inside :func:`asr_hlg.train.parallel.processes`, and give every
    process its share of the batches; gradients are those of the sum of all losses.

    Parameters
    ----------
    objective : nn.Module
        ``objective(batch)`` gives the losses ``(B,)`` of a batch in nats. Its attribute
        ``inputs_per_frame``, by default 1, is the number of inputs (samples or filter-bank
        frames, as ``batch.lengths`` counts them) per output frame; the loss that is optimised
        and reported is the mean per output frame.
    batches : Batches
        The training data.
    folder : Path
        Gets ``checkpoints/`` and ``log.jsonl``; all processes must have access to it.
    options : TrainingOptions
    optimiser : OptimiserOptions
    evaluate : callable, optional
        Computes word errors on a dev set from the objective in evaluation mode.
    device : torch.device
    config : mapping, optional
        Values of JSON's types that must be the same in a checkpoint to continue from it.
    report : callable, optional
        Takes lines for the user; default: standard error.

    Raises
    ------
    TrainingError
        From :meth:`run`, if ten consecutive batches have no finite loss, a checkpoint does not
        fit, or the disk is full.
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
        # A subfolder, since a model folder must not have several .npz files.
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
        self._weights = [weight for weight in objective.parameters() if weight.requires_grad]
        self._optimiser = adamw(objective, optimiser)
        self._last_checkpoint = time.monotonic()
        self._autocast_dtype = autocast_dtype(options.precision, self.device)

    def run(self) -> Outcome:
        """Train to the end, from the start or from the newest checkpoint."""
        self._resume()
        if not self.progress.planned_steps:
            self.progress.planned_steps = self.options.epochs * max(1, len(self.batches))
        self._scale = LossScale(self.progress, self._autocast_dtype == torch.float16)
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
                    # Before the batch is loaded, since loading may use random numbers, too.
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
        """Update the weights from one batch; returns the loss per frame over all processes."""
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
            # DistributedDataParallel averages gradients over processes; their sum is needed.
            (losses.sum() * (self._scale.factor * self.processes / frames)).backward()
            self._scale.unscale(self._weights)
            norm = float(nn.utils.clip_grad_norm_(self._weights, self.optimiser_options.clip))
        progress.step += 1
        progress.batch += 1
        if not math.isfinite(loss_sum):
            self._skip(batch, before, "loss")
            return loss_sum / frames
        if math.isfinite(norm):
            self._optimiser.step()
            self._scale.count_step()
        elif not self._scale.lowered():
            self._skip(batch, before, "gradient")
            return loss_sum / frames
        progress.skipped = 0
        progress.loss_sum += loss_sum
        progress.frames += frames
        loss = loss_sum / frames
        if math.isfinite(norm):
            self._log_scalars("step", loss=loss, learning_rate=rate, gradient_norm=norm)
        return loss

    def _losses(self, batch: Batch) -> Tensor:
        dtype = self._autocast_dtype
        with torch.autocast(
            self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None
        ):
            losses: Tensor = self._parallel(batch)
            return losses

    def _totals(self, losses: Tensor, batch: Batch) -> tuple[float, float]:
        """Sum of the losses and number of output frames, over all processes."""
        frames = batch.lengths.double().sum() / self.inputs_per_frame
        totals = torch.stack([losses.detach().double().sum(), frames.to(losses.device)])
        loss_sum, num_frames = parallel.total(totals).tolist()
        return loss_sum, max(1.0, num_frames)

    def _skip(self, batch: Batch, before: list[Tensor], what: str) -> None:
        """Undo the effects of a batch, and report it."""
        for buffer, old in zip(self.objective.buffers(), before, strict=True):
            buffer.copy_(old)  # a NaN in running means would affect every later batch
        self.progress.skipped += 1
        names = ", ".join(batch.ids)
        others = " (or a batch of another process)" if self.processes > 1 else ""
        self.report(f"skipped a batch{others}, its {what} is not finite: {names}")
        if self.progress.skipped >= _MAX_SKIPPED:
            raise TrainingError(
                f"{_MAX_SKIPPED} batches in a row have no finite {what}, the last of them {names}",
                remedy="lower the learning rate, and look at the utterances that were named",
            )

    def _end_epoch(self) -> None:
        """Evaluate, write the epoch's weights and a checkpoint, and report."""
        progress = self.progress
        if progress.frames == 0:
            raise TrainingError(
                f"epoch {progress.epoch + 1} had no batch to train on",
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
        if self.rank == 0:
            self._remove_epochs()
        seconds = {"wall_seconds": progress.wall_seconds, "cpu_seconds": progress.cpu_seconds}
        self._log_scalars("epoch", **entry, **seconds)
        self.report(self._epoch_line(entry))

    def _epoch_line(self, entry: dict[str, Any]) -> str:
        line = f"epoch {self.progress.epoch:3} of {self.options.epochs}  loss {entry['loss']:.4f}"
        if "wer" in entry:
            mark = ", the best" if self.progress.best(1) == [self.progress.epoch - 1] else ""
            line += f"  dev WER {entry['wer']:.2%}{mark}"
        return line + f"  after {self.progress.wall_seconds:.0f} s"

    def _evaluated(self) -> Errors | None:
        """Word errors on the dev set, computed by the first process."""
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
        """Load the mean of the best epochs' weights into the objective, or the best alone.

        Only in the first process; the weights of the others are not used any more.
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

    def _evaluate_mean(self, parts: dict[int, Arrays]) -> Errors | None:
        """Load the mean of several epochs' weights, and evaluate it on the dev set."""
        mean = checkpoints.mean(list(parts.values()))
        checkpoints.load_arrays(self.objective, mean, self._checkpoints)
        self.objective.eval()
        if self.evaluate is None:
            return None
        dev = self._errors(self.evaluate)
        numbers = ", ".join(str(epoch + 1) for epoch in parts)
        self.report(f"weights of epochs {numbers}: dev WER {dev.rate:.2%}")
        return dev

    def _epoch_weights(self, epochs: list[int]) -> dict[int, Arrays]:
        """Weights after some epochs, without those whose files are damaged."""
        parts = {}
        for number, path in checkpoints.numbered(self._checkpoints, "epoch").items():
            if number - 1 in epochs:
                try:
                    parts[number - 1] = checkpoints.read(path).arrays
                except TrainingError as error:
                    self.report(f"{error}; averaging without it")
        return parts

    def _remove_epochs(self) -> None:
        """Remove the weights of epochs that are not among the best so far."""
        best = self.progress.best(self.options.average)
        for number, path in checkpoints.numbered(self._checkpoints, "epoch").items():
            if number - 1 not in best:
                path.unlink(missing_ok=True)

    def _save(self) -> None:
        """Write a checkpoint, then remove the oldest ones."""
        self._last_checkpoint = time.monotonic()
        if self.rank > 0:
            return
        parts = {
            "model": checkpoints.arrays_of(self.objective),
            "optimiser": checkpoints.optimiser_arrays(self._optimiser),
        }
        arrays = {f"{part}/{name}": a for part in parts for name, a in parts[part].items()}
        meta = {"progress": asdict(self.progress), "config": self.config}
        # The end of an epoch has its own checkpoint, even if its last step wrote one.
        number = self.progress.step + self.progress.epoch
        checkpoints.write(self._checkpoints, f"checkpoint-{number:09d}", arrays, meta)
        written = list(checkpoints.numbered(self._checkpoints, "checkpoint").values())
        for path in written[: -self.options.keep_checkpoints]:
            path.unlink(missing_ok=True)

    def _resume(self) -> None:
        """Load the newest undamaged checkpoint, if there is one."""
        newest = checkpoints.latest(self._checkpoints, "checkpoint", self.report)
        if newest is None:
            return
        checkpoints.check_config(newest.meta["config"], self.config, newest.path)
        parts: dict[str, Arrays] = {"model": {}, "optimiser": {}}
        for name, array in newest.arrays.items():
            part, key = name.split("/", 1)
            parts[part][key] = array
        checkpoints.load_arrays(self.objective, parts["model"], newest.path)
        checkpoints.load_optimiser_arrays(self._optimiser, parts["optimiser"])
        self.progress = Progress(**newest.meta["progress"])
        self.report(
            f"continuing from {newest.path.name}: epoch {self.progress.epoch + 1}, "
            f"batch {self.progress.batch + 1}"
        )

    def _log_scalars(self, kind: str, **scalars: Any) -> None:
        if self._log is not None:
            self._log.write(kind, self.progress.step - 1, {"epoch": self.progress.epoch, **scalars})


def _seed(seed: int, step: int, rank: int) -> None:
    """Seed the random numbers of Python, numpy and torch for one step of one process."""
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    number = int.from_bytes(digest[:4], "little")
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
