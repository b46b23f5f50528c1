"""Checkpoints: files of arrays that are written atomically and checked when they are read.

A file is written under a temporary name, flushed to the disk, and renamed. Its final name contains
the hash of its bytes, by which a truncated or damaged file is recognised. The files are ``.npz``
archives without pickles, since a checkpoint from a stranger must not run code.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from asr_hlg.errors import TrainingError
from asr_hlg.files import replaced

Arrays = dict[str, npt.NDArray[Any]]
"""Arrays by name."""

_META = "meta.json"
_HASH_DIGITS = 16


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes
    ----------
    path : Path
    arrays : dict of str to np.ndarray
    meta : dict
        Values that JSON can represent.
    """

    path: Path
    arrays: Arrays
    meta: dict[str, Any]


def write(folder: Path, stem: str, arrays: Mapping[str, npt.NDArray[Any]], meta: Any) -> Path:
    """Write ``folder/STEM-HASH.npz``, and remove older files of the same stem.

    Raises
    ------
    TrainingError
        If it cannot be written, because the disk is full for instance; older files are kept.
    """
    encoded = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **{_META: encoded, **arrays})
    content = buffer.getbuffer()
    path = folder / f"{stem}-{_hash(content)}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replaced(path, durable=True) as part:
            part.write_bytes(content)
        for older in set(folder.glob(f"{stem}-*.npz")) - {path}:
            older.unlink()  # of the same step, written before the process was killed
    except OSError as error:
        raise TrainingError(
            f"cannot write a checkpoint: {error.strerror}",
            path=path,
            remedy="free disk space and repeat the command, which resumes from the last checkpoint",
        ) from None
    return path


def read(path: Path) -> Checkpoint:
    """Read a file of :func:`write`.

    Raises
    ------
    TrainingError
        If the file cannot be read or its bytes have changed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"cannot read it: {error.strerror}", path=path) from None
    if not path.stem.endswith("-" + _hash(content)):
        raise TrainingError(
            "is damaged: its content does not match the hash in its name", path=path
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    meta = json.loads(arrays.pop(_META).tobytes())
    return Checkpoint(path, arrays, meta)


def numbered(folder: Path, stem: str) -> dict[int, Path]:
    """Files ``STEM-NUMBER-HASH.npz`` of a folder by their numbers, in ascending order."""
    pattern = re.compile(rf"{stem}-(\d+)-[0-9a-f]{{{_HASH_DIGITS}}}\.npz")
    matches = ((pattern.fullmatch(path.name), path) for path in folder.glob(f"{stem}-*.npz"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def latest(folder: Path, stem: str, report: Callable[[str], None]) -> Checkpoint | None:
    """Read the newest undamaged file; damaged ones are reported and skipped."""
    for path in reversed(numbered(folder, stem).values()):
        try:
            return read(path)
        except TrainingError as error:
            report(f"{error}; trying the one before it")
    return None


def arrays_of(module: nn.Module) -> Arrays:
    """Weights and buffers of a module by name."""
    return {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}


def load_arrays(module: nn.Module, arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Set the weights and buffers of a module to those of :func:`arrays_of`.

    Raises
    ------
    TrainingError
        If the module has other names or shapes; the message names ``path``.
    """
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise TrainingError(
            f"does not fit the network: {reason}",
            path=path,
            remedy="use the config that it was trained with, or another output folder",
        ) from None


def mean(parts: list[Arrays]) -> Arrays:
    """Mean of several sets of weights; arrays of integers are taken from the last set."""
    result: Arrays = {}
    for name, last in parts[-1].items():
        if np.issubdtype(last.dtype, np.floating):
            total = sum(part[name].astype(np.float64) for part in parts)
            result[name] = np.asarray(total / len(parts), dtype=last.dtype)
        else:
            result[name] = last
    return result


def optimiser_arrays(optimiser: torch.optim.Optimizer) -> Arrays:
    """State of an optimiser by ``NUMBER/NAME`` of the parameter and the value."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}/{name}": torch.as_tensor(value).cpu().numpy()
        for number, values in state.items()
        for name, value in values.items()
    }


def load_optimiser_arrays(
    optimiser: torch.optim.Optimizer, arrays: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Set the state of an optimiser, except learning rates, to that of :func:`optimiser_arrays`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        number, name = key.split("/")
        state.setdefault(int(number), {})[name] = torch.from_numpy(array.copy())
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def check_config(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    """Refuse to continue from a checkpoint of a training with other options."""
    before, now = _flattened(old), _flattened(new)
    for key in sorted(before.keys() | now.keys()):
        # How often checkpoints are written does not change the weights.
        if "checkpoint" in key or before.get(key) == now.get(key):
            continue
        raise TrainingError(
            f"was trained with {key} = {before.get(key)!r}, now it is {now.get(key)!r}",
            path=path,
            remedy="choose another output folder, or remove this one to begin anew",
        )


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys; tuples become lists, as in JSON."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flattened(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
