"""What a command costs, and what the figures depend on."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_hlg.errors import AsrHlgError
from asr_hlg.versions import installed

_PACKAGES = (
    "asr-hlg", "k2", "torch", "numpy", "numba", "kaldifst",
    "kaldi-decoder", "pocketsphinx", "faster-whisper", "ctranslate2",
)  # fmt: skip


_INTERVAL = 0.1  # seconds between looks at a process's memory


@dataclass(frozen=True)
class Cost:
    """Of one process and those that it starts and waits for.

    Attributes
    ----------
    wall, cpu : float
        Seconds by the clock, and of processors.
    memory_mb : float
        Megabytes (10^6 bytes): the peak resident size of the process itself, or what it and its
        children held together, pages that they share counted once, whichever was more.
    """

    wall: float
    cpu: float
    memory_mb: float


def run(command: Sequence[str], threads: int) -> Cost:
    """Run a command that uses so many threads.

    Raises
    ------
    AsrHlgError
        If it fails; the end of what it said is in the message.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        try:
            peak = 0
            # Not ru_maxrss: it begins with the size of the process that forked.
            while not (done := os.wait4(process.pid, os.WNOHANG))[0]:
                peak = max(peak, _held_kb(process.pid))
                time.sleep(_INTERVAL)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - begin
        _, status, usage = done
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise AsrHlgError(
                f"{' '.join(command[:4])} … ended with status {process.returncode}: {''.join(last)}"
            )
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak * 1024 / 1e6)


def _held_kb(pid: int) -> int:
    """What `Cost` counts, up to now; 0 where the system does not tell."""
    pids, together = [pid], 0
    for one in pids:  # which grows
        together += sum(_kb(f"/proc/{one}/smaps_rollup", "Pss:"))
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            pids += [int(child) for child in _text(path).split()]
    return max(together, *_kb(f"/proc/{pid}/status", "VmHWM:"), 0)


def _kb(path: str, field: str) -> list[int]:
    lines = _text(Path(path)).splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(field)]


def _text(path: Path) -> str:
    """A file of /proc, nothing if its process has gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def machine() -> dict[str, str]:
    """Processor, memory and versions."""
    lines = _text(Path("/proc/cpuinfo")).splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    memory = _kb("/proc/meminfo", "MemTotal:")
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": f"{os.cpu_count()} × {models[0] if models else platform.machine()}",
        "memory": f"{memory[0] * 1024 / 1e9:.0f} GB" if memory else "unknown",
    }
    return found | installed(_PACKAGES, missing="not installed")
