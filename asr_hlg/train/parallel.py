"""Data-parallel training in several processes, which ``torchrun`` starts."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asr_hlg.errors import OptionError

# Tensors of the last collectives. The threads of gloo drop theirs some time after a collective
# has ended. If that were the last reference, a thread would have to wait for the interpreter's
# lock, which the main thread keeps while it waits for these threads to end: a deadlock at exit
# (torch 1.13).
_recent: deque[torch.Tensor] = deque(maxlen=16)


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """Context in a process group, if ``torchrun`` started several processes; gives the device.

    ``cuda`` becomes the GPU of this process. The backend is nccl for GPUs, gloo for CPUs.
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    several = under_torchrun()
    process_device = torch.device(f"cuda:{local}" if device == "cuda" and several else device)
    if process_device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError("there is no CUDA device here", remedy="cpu always works")
    if not several:
        yield process_device
        return
    if process_device.type == "cuda":
        torch.cuda.set_device(process_device)
    dist.init_process_group("nccl" if process_device.type == "cuda" else "gloo")
    try:
        yield process_device
    finally:
        dist.destroy_process_group()


def under_torchrun() -> bool:
    """Whether ``torchrun`` started several processes."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def world() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def wrap(objective: nn.Module) -> nn.Module:
    """Wrap an objective so that gradients are averaged over processes, if there are several."""
    return DistributedDataParallel(objective) if world()[1] > 1 else objective


def total(values: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all processes, in place."""
    if world()[1] > 1:
        _recent.append(values)
        dist.all_reduce(values)
    return values


def from_first(values: torch.Tensor) -> torch.Tensor:
    """Copy a tensor from the first process, in place."""
    if world()[1] > 1:
        _recent.append(values)
        dist.broadcast(values, src=0)
    return values
