"""Trainings in turn, each starting from the model of the one before.

A transducer on a trained encoder, for instance, first trains the new layers::

    [[stage]]
    network.trainable = ["joiner", "prediction", "simple", "output"]
    training.epochs = 2

    [[stage]]
    training.epochs = 8

A stage may set any key of the config; other keys are as in the rest of the file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from asr_hlg.errors import OptionError
from asr_hlg.train import parallel
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.prepare import ReportLine
from asr_hlg.train.result import NAME, Result
from asr_hlg.train.single import MODEL, train_single


def train_stages(config: TrainingConfig, folder: Path, device: str, report: ReportLine) -> Result:
    """Train the stages of a config in ``folder/stage-1``, ``folder/stage-2`` and so on.

    Returns
    -------
    Result
        Of the last stage, with the epochs and the time of all of them.
    """
    folders = [folder / f"stage-{number + 1}" for number in range(len(config.stages))]

    def stage(number: int) -> TrainingConfig:
        stage_config = config.stages[number]
        if number == 0:
            return stage_config
        return stage_config.starting_from(folders[number - 1] / MODEL)

    return train_in_turn(config, folder, folders, stage, device, report)


def train_in_turn(
    config: TrainingConfig,
    folder: Path,
    parts: Sequence[Path],
    part_config: Callable[[int], TrainingConfig],
    device: str,
    report: ReportLine,
) -> Result:
    """Train several configs one after the other; a finished one is not trained again.

    Parameters
    ----------
    config : TrainingConfig
        Config of the whole training; its ``task`` is that of the result.
    folder : Path
        Gets the model of the last one, and the result with the time of all.
    parts : sequence of Path
        The folder of each.
    part_config : callable
        From a number, counted from 0, to the config; called when the earlier ones are finished.
    device, report :
        As for :func:`asr_hlg.train.run.train`.

    Raises
    ------
    OptionError
        Under ``torchrun``: only one process can decide which parts are finished.
    """
    if parallel.under_torchrun():
        raise OptionError(
            "rounds of alignment and stages run in one process",
            path=config.path,
            remedy="train without torchrun",
        )
    results = []
    for number, part in enumerate(parts):
        if (part / NAME).is_file():
            results.append(Result.read(part / NAME))
            continue
        current = part_config(number)
        # With another task, tables of results do not list a part as a model.
        current = replace(current, task=f"{config.task} {part.name.replace('-', ' ')}")
        if number < len(parts) - 1:
            current = replace(current, test=())
        results.append(train_single(current, part, device, report))
    shutil.copyfile(parts[-1] / MODEL, folder / MODEL)
    result = replace(
        results[-1],
        task=config.task,
        model=folder.resolve().name,
        epochs=sum(result.epochs for result in results),
        wall_seconds=sum(result.wall_seconds for result in results),
        cpu_seconds=sum(result.cpu_seconds for result in results),
    )
    result.write(folder)
    return result
