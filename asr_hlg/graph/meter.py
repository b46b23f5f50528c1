"""Time and memory of every stage of a compilation, and a limit on memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_hlg.errors import GraphError


@dataclass(frozen=True)
class Stage:
    """Size, time and memory of a finished stage.

    ``seconds`` is wall time; ``memory_mb`` is the process's peak resident size during the
    stage, in megabytes (10^6 bytes).
    """

    name: str
    states: int
    arcs: int
    seconds: float
    memory_mb: float

    def __str__(self) -> str:
        return (
            f"{self.name:<24}{self.states:>12,} states{self.arcs:>12,} arcs"
            f"{self.seconds:>8.1f} s{self.memory_mb:>8,.0f} MB"
        )


class Meter:
    """Measures the stages of one compilation and limits their memory.

    Parameters
    ----------
    max_memory : float, optional
        Gigabytes (10^9 bytes) of resident memory that the process may reach; without it there
        is no limit.
    report : callable, optional
        Called with every finished :class:`Stage`.
    """

    def __init__(
        self, max_memory: float | None = None, report: Callable[[Stage], None] | None = None
    ):
        self.max_memory = max_memory
        self.stages: list[Stage] = []
        self._report = report

    @contextmanager
    def stage(self, name: str) -> Iterator[_Size]:
        """Measure a block of code, which sets the size of its result."""
        size = _Size()
        _reset_peak()
        begin = time.monotonic()
        try:
            with _data_limit(self.max_memory):
                yield size
        except (MemoryError, RuntimeError) as error:
            if self.max_memory is None or not _is_out_of_memory(error):
                raise
            raise GraphError(
                f"stage '{name}' would need more than {self.max_memory:g} GB",
                remedy="prune the language model harder (such as [lm] prune = 1e-6), estimate it "
                "with a lower order, shorten the lexicon, or raise --max-memory",
            ) from error
        done = Stage(name, size.states, size.arcs, time.monotonic() - begin, _peak_mb())
        self.stages.append(done)
        if self._report is not None:
            self._report(done)


class _Size:
    """Size of a stage's result, set in the block."""

    states = 0
    arcs = 0

    def set(self, states: int, arcs: int) -> None:
        """Set the number of states and arcs."""
        self.states, self.arcs = int(states), int(arcs)


@contextmanager
def _data_limit(gigabytes: float | None) -> Iterator[None]:
    """Make allocations beyond a limit fail, so that C++ raises ``MemoryError``.

    RLIMIT_DATA counts private writable pages, touched or not, and torch reserves many. So the
    limit is what is mapped now plus what may be added to the resident memory. Memory that earlier
    work has freed and that C's allocator has kept can be used in addition.
    """
    if gigabytes is None:
        yield
        return
    budget = max(gigabytes * 1e9 - _status_kb("VmRSS") * 1024, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        """Ignore that a generator cannot be closed for lack of memory, which Python prints."""
        if unraisable.exc_type is not MemoryError:
            report(unraisable)

    sys.unraisablehook = report_others
    resource.setrlimit(resource.RLIMIT_DATA, (_status_kb("VmData") * 1024 + int(budget), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        sys.unraisablehook = report


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "memory" in text or "bad_alloc" in text


def _status_kb(field: str) -> int:
    """Field of /proc/self/status in kB, 0 if there is no such file."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def _peak_mb() -> float:
    peak = _status_kb("VmHWM")
    if not peak:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024 / 1e6


def _reset_peak() -> None:
    """Reset the peak resident size (Linux: proc(5), clear_refs 5), if the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
