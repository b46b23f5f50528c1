"""The log of a training: a JSON object a line, and TensorBoard where that is installed."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm

NAME = "log.jsonl"


def to_stderr(line: str) -> None:
    """Write a line for the user above a progress bar."""
    tqdm.write(line, file=sys.stderr)


class Log:
    """``log.jsonl`` in the training's folder, and the same scalars for TensorBoard.

    Lines of steps have ``step``, ``epoch``, ``loss``, …; lines of epochs say so in ``kind``.
    """

    def __init__(self, folder: Path, first_step: int):
        """Open for appending; lines from ``first_step`` on, which a kill left behind, go."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        if path.exists():
            part = path.with_name(NAME + ".part")
            kept = [entry for entry in read(path) if entry["step"] < first_step]
            part.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
            os.replace(part, path)
        self._file = path.open("a", encoding="utf-8")
        self._board = _board(folder / "tensorboard", first_step)

    def write(self, kind: str, step: int, scalars: dict[str, Any]) -> None:
        """Note the scalars of a step, or of an epoch that ended with it."""
        self._file.write(json.dumps({"kind": kind, "step": step, **scalars}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in scalars.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Write out what is buffered."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _board(folder: Path, first_step: int) -> Any:
    """A writer for TensorBoard; None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what torch imports for it
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
    return SummaryWriter(str(folder), purge_step=first_step)


def read(path: Path) -> list[dict[str, Any]]:
    """All lines of a log but a last one that a kill cut short."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            entries.append(json.loads(line))
    return entries
