"""The log of a training: JSON lines, and TensorBoard files if TensorBoard is installed."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm

from asr_hlg.files import replaced

NAME = "log.jsonl"


def to_stderr(line: str) -> None:
    """Write a line for the user above a progress bar."""
    tqdm.write(line, file=sys.stderr)


class Log:
    """Writer of ``log.jsonl`` in the folder of a training, and of the same scalars for TensorBoard.

    Each line has ``kind`` (``step`` or ``epoch``), ``step``, ``epoch``, ``loss`` and others.
    """

    def __init__(self, folder: Path, first_step: int):
        """Open for appending; lines of an interrupted run from ``first_step`` on are removed."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        if path.exists():
            kept = [entry for entry in read(path) if entry["step"] < first_step]
            with replaced(path) as part:
                part.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._file = path.open("a", encoding="utf-8")
        self._tensorboard = _tensorboard_writer(folder / "tensorboard", first_step)

    def write(self, kind: str, step: int, scalars: dict[str, Any]) -> None:
        """Write the scalars of a step, or of an epoch that ended with it."""
        self._file.write(json.dumps({"kind": kind, "step": step, **scalars}) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in scalars.items():
                if isinstance(value, (int, float)):
                    self._tensorboard.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close the files."""
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


def _tensorboard_writer(folder: Path, first_step: int) -> Any:
    """Make a writer for TensorBoard; None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # in modules that torch imports here
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
    return SummaryWriter(str(folder), purge_step=first_step)


def read(path: Path) -> list[dict[str, Any]]:
    """Read all lines of a log, except a last one that is incomplete."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
