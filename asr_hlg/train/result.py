"""Result of a training: ``result.json``, from which tables are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr_hlg.errors import TrainingError
from asr_hlg.files import write_json
from asr_hlg.output.scoring import Errors
from asr_hlg.versions import installed

NAME = "result.json"
_PACKAGES = ("asr-hlg", "torch", "k2", "lhotse", "numpy")


@dataclass(frozen=True)
class Result:
    """A trained model, its errors and its training time.

    Attributes
    ----------
    task : str
        Name of the table to which the result belongs, such as ``digits``.
    model : str
        Name of the model in tables.
    network, loss : str
        Kind of network and of loss.
    parameters : int
        Number of the network's parameters.
    tests : dict of str to Errors
        Word errors by test set.
    epochs : int
        Passes over the training data.
    wall_seconds, cpu_seconds : float
        Training time, with evaluations on the dev set and without interruptions.
    device : str
    threads : int
        Threads of torch.
    processes : int
    versions : dict of str to str
        Versions of Python and of the packages that affect the result.
    """

    task: str
    model: str
    network: str
    loss: str
    parameters: int
    tests: dict[str, Errors]
    epochs: int
    wall_seconds: float
    cpu_seconds: float
    device: str = "cpu"
    threads: int = field(default_factory=torch.get_num_threads)
    processes: int = 1
    versions: dict[str, str] = field(default_factory=lambda: installed(_PACKAGES))

    def write(self, folder: Path) -> Path:
        """Write ``result.json`` into a folder, atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        content = asdict(self)
        content["tests"] = {name: _with_rate(errors) for name, errors in self.tests.items()}
        write_json(path, content)
        return path

    @staticmethod
    def read(path: Path) -> Result:
        """Read a file of :meth:`write`.

        Raises
        ------
        TrainingError
            If the file is not a result.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            tests = {name: _errors(counts) for name, counts in content.pop("tests").items()}
            return Result(tests=tests, **content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(f"is not a result: {error}", path=path) from None


def _with_rate(errors: Errors) -> dict[str, float | int | None]:
    rate = None if errors.length == 0 else errors.rate
    return {"wer": rate, **asdict(errors)}


def _errors(counts: Mapping[str, Any]) -> Errors:
    return Errors(**{name: value for name, value in counts.items() if name != "wer"})
