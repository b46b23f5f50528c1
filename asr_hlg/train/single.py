"""One training: prepare, run the loop, write the model, test it and write the result."""

from __future__ import annotations

from pathlib import Path

import torch

from asr_hlg.files import write_json
from asr_hlg.train import parallel
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.loop import Trainer
from asr_hlg.train.prepare import Parts, ReportLine, prepare
from asr_hlg.train.progress import Outcome
from asr_hlg.train.result import Result

MODEL = "model.npz"


def train_single(config: TrainingConfig, folder: Path, device: str, report: ReportLine) -> Result:
    """Train a config without rounds or stages; see :func:`asr_hlg.train.run.train`."""
    with parallel.processes(device) as process_device:
        if parallel.world()[0] > 0:
            report = lambda line: None  # noqa: E731
        parts = prepare(config, report)
        report(parts.network.describe())
        dev = parts.dev
        trainer = Trainer(
            parts.objective,
            parts.batches,
            folder,
            config.training,
            config.optimiser,
            evaluate=None if dev is None else lambda _: dev(parts.network, process_device),
            device=process_device,
            config={**config.identity(), "cuts": parts.summary},
            report=report,
        )
        outcome = trainer.run()
        return _finish(config, folder, parts, outcome, process_device, report)


def _finish(
    config: TrainingConfig,
    folder: Path,
    parts: Parts,
    outcome: Outcome,
    device: torch.device,
    report: ReportLine,
) -> Result:
    """Write the model, test it, and write the result; all in the first process."""
    rank, processes = parallel.world()
    network = parts.network
    tests = {} if outcome.dev is None else {"dev": outcome.dev}
    if rank == 0:
        write_json(folder / "config.json", dict(config.content))
        network.save(folder / MODEL)
        report(f"the model is {folder / MODEL}")
        for name, evaluation in parts.tests.items():
            errors = tests[name] = evaluation(network, device)
            report(f"{name}: WER {errors.rate:.2%}, {errors.total} of {errors.length} words")
    cuda = device.type == "cuda"
    result = Result(
        task=config.task,
        model=folder.resolve().name,
        network=network.kind,
        loss=config.loss.kind,
        parameters=network.num_parameters,
        tests=tests,
        epochs=outcome.progress.epoch,
        wall_seconds=outcome.progress.wall_seconds,
        cpu_seconds=outcome.progress.cpu_seconds,
        device=torch.cuda.get_device_name(device) if cuda else device.type,
        processes=processes,
    )
    if rank == 0:
        result.write(folder)
    return result
