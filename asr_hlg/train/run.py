"""Training as a config describes it: one training, several in turn, or a hybrid model's rounds."""

from __future__ import annotations

from pathlib import Path

from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.hybrid import train_hybrid
from asr_hlg.train.log import to_stderr
from asr_hlg.train.prepare import ReportLine
from asr_hlg.train.result import Result
from asr_hlg.train.single import train_single
from asr_hlg.train.stages import train_stages


def train(
    config: TrainingConfig, folder: Path, device: str = "cpu", report: ReportLine | None = None
) -> Result:
    """Train what a config describes, or continue a training that was interrupted.

    Parameters
    ----------
    config : TrainingConfig
    folder : Path
        Gets ``model.npz`` (for :func:`asr_hlg.acoustic.load`), ``result.json``, ``log.jsonl``,
        ``config.json`` and ``checkpoints/``; with ``[hybrid]`` or ``[[stage]]``, the last three
        are in a folder for each round or stage.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``. Under ``torchrun``, ``cuda`` is the GPU of each process.
    report : callable, optional
        Takes lines for the user; default: standard error.

    Raises
    ------
    AsrHlgError
        Before training if data, network, loss and graph do not fit each other; for errors later on
        see :class:`asr_hlg.train.Trainer`.
    """
    report = report or to_stderr
    if config.hybrid is not None:
        return train_hybrid(config, folder, device, report)
    if config.stages:
        return train_stages(config, folder, device, report)
    return train_single(config, folder, device, report)
