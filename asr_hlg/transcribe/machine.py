"""Processors and memory that this process may use, also inside a container (Linux's cgroups)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

WORKER_BYTES = 600_000_000
"""Memory of a worker process with graph and model, for the default number of workers."""

_NO_LIMIT = 1 << 60


def default_workers(root: Path = Path("/")) -> tuple[int, str]:
    """Number of workers that processors and memory allow, and why it is not that of processors.

    Parameters
    ----------
    root : Path
        Folder in place of ``/``, for tests.

    Returns
    -------
    number : int
        At least 1.
    reason : str
        Empty if there is a worker for each processor.
    """
    processors = num_processors(root)
    memory = available_memory(root)
    number = max(1, min(processors, memory // WORKER_BYTES))
    if number == processors:
        return number, ""
    return number, (
        f"{number} instead of {processors} workers, since {memory / 1e9:.1f} GB of memory are free "
        "(--workers chooses)"
    )


def num_processors(root: Path = Path("/")) -> int:
    """Processors that this process may use: its affinity, limited by the quota of its cgroups."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [math.inf]
    for folder in _cgroups(root, "cpu"):
        quota, period, *_ = [*_read(folder / "cpu.max").split(), "max", "100000"]
        if quota == "max":
            quota = _read(folder / "cpu.cfs_quota_us")
            period = _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return max(1, math.ceil(min(number or 1, *quotas)))


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that are free, on this machine and within the limits of its cgroups."""
    free = [_NO_LIMIT]
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    for folder in _cgroups(root, "memory"):
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            bound, used = _read(folder / limit), _read(folder / usage)
            if bound.isdigit() and int(bound) < _NO_LIMIT:
                free.append(max(0, int(bound) - (int(used) if used.isdigit() else 0)))
    return min(free)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's cgroups with a controller, and of those that contain them."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":  # version 2
            base = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            base = root / "sys/fs/cgroup" / controllers
            base = base if base.is_dir() else root / "sys/fs/cgroup" / controller
        else:
            continue
        # Inside a container the path may be that outside, which does not exist here.
        folder = base / path.lstrip("/")
        while folder != base:
            yield folder
            folder = folder.parent
        yield base


def _read(path: Path) -> str:
    """Text of a file without white space at the ends; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
