"""What every stage of a compilation costs, and the limit that stops it in time."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from asr_hlg.errors import GraphError


@dataclass(frozen=True)
class Stage:
    """One finished step: its result's size and what it cost.

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
    """Times the stages of one compilation and keeps them under a memory limit.

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
        """Measure a block of code that sets the size of its result."""
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
                remedy="prune the language model harder ([lm] prune = 1e-6, say), estimate it "
                "with a lower order, shorten the lexicon, or raise --max-memory",
            ) from error
        done = Stage(name, size.states, size.arcs, time.monotonic() - begin, _peak_mb())
        self.stages.append(done)
        if self._report is not None:
            self._report(done)


class _Size:
    """The size of a stage's result, set by the stage itself."""

    states = 0
    arcs = 0

    def set(self, states: int, arcs: int) -> None:
        self.states, self.arcs = int(states), int(arcs)


@contextmanager
def _data_limit(gigabytes: float | None) -> Iterator[None]:
    """Make allocations beyond the limit fail, which C++ turns into ``MemoryError``.

    RLIMIT_DATA counts private writable pages, touched or not (torch reserves a good deal), so
    what may still be added to the resident memory is allowed on top of what is mapped now. What
    earlier work has freed and C's allocator has kept comes on top of that.
    """
    if gigabytes is None:
        yield
        return
    budget = max(gigabytes * 1e9 - _status_kb("VmRSS") * 1024, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_status_kb("VmData") * 1024 + int(budget), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "memory" in text or "bad_alloc" in text


def _status_kb(field: str) -> int:
    """A size in kB from /proc/self/status, 0 where there is no such file."""
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
    """Start a new high-water mark (Linux: proc(5), clear_refs 5), where the system lets us."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
