"""A stand-in for CUDA graphs on the CPU: operations are recorded, and repeated without Python."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {"_local_scalar_dense", "nonzero", "repeat_interleave"}
"""Operations after which the host would wait for a GPU."""


class Recorder(TorchDispatchMode):
    """Runs operations, and remembers them with the tensors that they read and write."""

    def __init__(self):
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    @property
    def names(self) -> list[str]:
        """Names of the operations, without overloads."""
        return [str(func).split(".")[1] for func, *_ in self.operations]

    def repeat(self) -> None:
        """Do all operations again, on the same memory."""
        for func, args, kwargs, result in self.operations:
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(result), _tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return list(value) if isinstance(value, (tuple, list)) else []


class RecordedSteps:
    """As :func:`asr_hlg.search.tensor_capture.cuda_graphs`, on the CPU.

    Attributes
    ----------
    recorders : list of Recorder
        One for each step that was captured.
    replays : int
    """

    def __init__(self):
        self.recorders: list[Recorder] = []
        self.replays = 0

    def __call__(self, step):
        recorder = Recorder()
        with recorder:
            step()
        assert not WAITING & set(recorder.names)
        self.recorders.append(recorder)

        def replay() -> None:
            self.replays += 1
            with torch.no_grad():
                recorder.repeat()

        return replay
