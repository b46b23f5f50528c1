"""Operations that take numpy arrays as well as torch tensors, without importing torch for arrays.

An acoustic model gives numpy arrays where it runs in onnxruntime, and tensors on its own device
where torch runs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    Array = npt.NDArray[Any] | torch.Tensor
else:
    Array = Any


def is_tensor(array: object) -> TypeGuard[torch.Tensor]:
    """Whether an object is a torch tensor; False without an import where torch is not loaded."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def to_numpy(array: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """A numpy array of a tensor on any device, an array or a list; not copied where possible."""
    return np.asarray(array.detach().cpu().numpy() if is_tensor(array) else array, dtype=dtype)


def to_tensor(array: Any, device: str = "cpu") -> torch.Tensor:
    """A tensor of an array, which shares its memory on the CPU, or of a tensor."""
    import torch

    tensor: torch.Tensor = array if is_tensor(array) else torch.from_numpy(_writable(array))
    return tensor.to(device)


def concatenate(parts: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one kind, one after the other along an axis."""
    if is_tensor(parts[0]):
        import torch

        return torch.cat(list(parts), dim=axis)
    return np.concatenate(parts, axis=axis)


def pad(rows: Sequence[Any]) -> Any:
    """Arrays of one kind in one batch, filled with zeros to the length of the longest."""
    if is_tensor(rows[0]):
        from torch.nn.utils.rnn import pad_sequence

        return pad_sequence(list(rows), batch_first=True)
    batch = np.zeros((len(rows), max(map(len, rows)), *rows[0].shape[1:]), rows[0].dtype)
    for row, values in zip(batch, rows, strict=True):
        row[: len(values)] = values
    return batch


def log_add(a: Any, b: Any) -> Any:
    """Log of the sum of the exponentials of two arrays of one kind."""
    if is_tensor(a):
        import torch

        return torch.logaddexp(a, b)
    return np.logaddexp(a, b)


def log_softmax(logits: Any) -> Any:
    """Logits normalised over the last axis, in the natural log and float32."""
    if is_tensor(logits):
        return logits.float().log_softmax(-1)
    scores = np.asarray(logits, dtype=np.float32)
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def _writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, or a copy if it is read-only, of which torch would warn."""
    return array if array.flags.writeable else array.copy()
