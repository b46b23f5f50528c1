"""Time and memory of a command, and the machine that they were measured on."""

from __future__ import annotations

import os
import platform
import re
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


_INTERVAL = 0.1  # seconds between two samples of a process's memory


@dataclass(frozen=True)
class Cost:
    """Time and memory of a process and its children.

    Attributes
    ----------
    wall, cpu : float
        Seconds of elapsed time and of CPU time.
    memory_mb : float
        Megabytes (10^6 bytes): the larger of the peak resident size of the process itself, and the
        peak of the memory of the process with its children, shared pages counted once.
    """

    wall: float
    cpu: float
    memory_mb: float


def run(command: Sequence[str], threads: int) -> Cost:
    """Run a command with a number of threads.

    Raises
    ------
    AsrHlgError
        If it fails; the last line of its output is in the message.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            peak = 0
            # ru_maxrss would start from the size of the process that forked.
            while not (done := os.wait4(process.pid, os.WNOHANG))[0]:
                peak = max(peak, _memory_kb(process.pid))
                time.sleep(_INTERVAL)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - begin
        _, status, usage = done
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            last = output.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise AsrHlgError(
                f"{' '.join(command[:4])} … ended with status {process.returncode}: {''.join(last)}"
            )
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak * 1024 / 1e6)


def _memory_kb(pid: int) -> int:
    """Memory of a process as `Cost` counts it, up to now; 0 if it cannot be read."""
    pids, together = [pid], 0
    for each in pids:  # the list grows by the children
        together += kilobytes(f"/proc/{each}/smaps_rollup").get("Pss", 0)
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            pids += [int(child) for child in _text(path).split()]
    return max(together, kilobytes(f"/proc/{pid}/status").get("VmHWM", 0))


def kilobytes(path: str) -> dict[str, int]:
    """Values in kB of a file of /proc by name, such as VmRSS; none if its process has ended."""
    return {name: int(value) for name, value in re.findall(r"(\w+):\s+(\d+) kB", _text(Path(path)))}


def _text(path: Path) -> str:
    """Content of a file of /proc, empty if its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def machine() -> dict[str, str]:
    """Date, processor, memory and versions of packages."""
    lines = _text(Path("/proc/cpuinfo")).splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    memory = kilobytes("/proc/meminfo").get("MemTotal")
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": f"{os.cpu_count()} × {models[0] if models else platform.machine()}",
        "memory": f"{memory * 1024 / 1e9:.0f} GB" if memory else "unknown",
    }
    return about | installed(_PACKAGES, missing="not installed")
