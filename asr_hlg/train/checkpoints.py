"""Checkpoints: files of arrays that are there whole or not at all.

A file is written under a temporary name, flushed to the disk, and renamed; its final name carries
the hash of its bytes, so that one that was cut short or damaged later is recognised. They are
``.npz`` archives without pickles: a checkpoint from a stranger must not run code.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asr_hlg.errors import TrainingError

_META = "meta.json"
_HASH_DIGITS = 16


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds.

    Attributes
    ----------
    path : Path
    arrays : dict of str to np.ndarray
    meta : dict
        Whatever JSON can say.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


def write(folder: Path, stem: str, arrays: Mapping[str, np.ndarray], meta: Any) -> Path:
    """Write ``folder/STEM-HASH.npz``.

    Raises
    ------
    TrainingError
        If it cannot be written, a full disk for instance; what was there before stays.
    """
    encoded = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **{_META: encoded, **arrays})  # type: ignore[arg-type]
    content = buffer.getbuffer()
    path = folder / f"{stem}-{_hash(content)}.npz"
    part = folder / f"{stem}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync(folder)
        for older in set(folder.glob(f"{stem}-*.npz")) - {path}:
            older.unlink()  # another state of the same step, from before a kill
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TrainingError(
            f"cannot write a checkpoint: {error.strerror}",
            path=path,
            remedy="make room and start the same command again: it goes on from the last one",
        ) from None
    return path


def read(path: Path) -> Checkpoint:
    """Read what :func:`write` wrote.

    Raises
    ------
    TrainingError
        If the file is not what was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"cannot read it: {error.strerror}", path=path) from None
    if not path.stem.endswith("-" + _hash(content)):
        raise TrainingError("is damaged: its bytes are not those that were written", path=path)
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    meta = json.loads(arrays.pop(_META).tobytes())
    return Checkpoint(path, arrays, meta)


def found(folder: Path, stem: str) -> list[Path]:
    """The files ``STEM-NUMBER-HASH.npz`` of a folder, by number."""
    pattern = re.compile(rf"{stem}-(\d+)-[0-9a-f]{{{_HASH_DIGITS}}}\.npz")
    numbered = ((pattern.fullmatch(path.name), path) for path in folder.glob(f"{stem}-*.npz"))
    return [path for _, path in sorted((int(m[1]), path) for m, path in numbered if m)]


def latest(folder: Path, stem: str, report: Callable[[str], None]) -> Checkpoint | None:
    """The newest file that is whole; damaged ones are reported and passed over."""
    for path in reversed(found(folder, stem)):
        try:
            return read(path)
        except TrainingError as error:
            report(f"{error}; trying the one before it")
    return None


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    """The weights and buffers of a module by name."""
    return {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}


def load_arrays(module: nn.Module, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Put back what :func:`arrays_of` took.

    Raises
    ------
    TrainingError
        If names or shapes are not the module's.
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


def mean(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The mean of several sets of weights; counters, which have none, come from the last."""
    result = {}
    for name, last in parts[-1].items():
        if np.issubdtype(last.dtype, np.floating):
            total = sum(part[name].astype(np.float64) for part in parts)
            result[name] = np.asarray(total / len(parts), dtype=last.dtype)
        else:
            result[name] = last
    return result


def optimiser_arrays(optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """An optimiser's running averages, by the number and name of each."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}/{name}": _numpy(value)
        for number, values in state.items()
        for name, value in values.items()
    }


def load_optimiser_arrays(
    optimiser: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray]
) -> None:
    """Put back what :func:`optimiser_arrays` took; rates are the schedule's, not stored."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        number, name = key.split("/")
        state.setdefault(int(number), {})[name] = torch.from_numpy(array.copy())
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def check_config(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on from a checkpoint of another training."""
    before, now = _flat(old), _flat(new)
    for key in sorted(before.keys() | now.keys()):
        # How often checkpoints are written changes no weights.
        if "checkpoint" in key or before.get(key) == now.get(key):
            continue
        raise TrainingError(
            f"was trained with {key} = {before.get(key)!r}, now it is {now.get(key)!r}",
            path=path,
            remedy="choose another output folder, or remove this one to begin anew",
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def _numpy(value: Tensor | float) -> np.ndarray:
    return torch.as_tensor(value).cpu().numpy()


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


def _sync(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
