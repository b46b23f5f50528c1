"""Trials of the command line at the limits of a machine, for scripts/soak.py.

Each trial disturbs ``asr-hlg transcribe --output`` in its own way, goes on with ``--resume``, and
compares the output with that of an undisturbed run, byte for byte. What the operating system does
to a command is done to a child process here: signals, a pipe that closes, files that cannot grow
(as on a full disk), a home that does not exist, a second run with the same output, and workers that
are killed, as the kernel does when a memory limit is reached.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Trial = Callable[["Trials", Path], str]


class Trials:
    """Trials in turn, and their failures.

    Parameters
    ----------
    graph : str
    inputs : list of str
    """

    def __init__(self, graph: str, inputs: list[str]):
        self._command = [sys.executable, "-m", "asr_hlg.cli", "transcribe", "--format", "json"]
        self._command += ["--graph", os.path.abspath(graph), "--workers", "1"]
        self._command += map(os.path.abspath, inputs)
        self._expected = b""
        self._header = 0  # size of the first line of a journal
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []

    def run(self, until: float) -> None:
        """Go through all trials in a random order until a time of the monotonic clock."""
        with tempfile.TemporaryDirectory() as folder:
            self.call(Path(folder), "--output", "out")
            self._expected = (Path(folder) / "out").read_bytes()
            self.call(Path(folder), "absent.wav", "--output", "failed")  # a failure keeps a journal
            with (Path(folder) / "failed.journal").open("rb") as journal:
                self._header = len(journal.readline())
        while True:
            for trial in random.sample(TRIALS, len(TRIALS)):
                if time.monotonic() >= until:
                    return
                with tempfile.TemporaryDirectory() as folder:
                    name = str(trial.__doc__).partition(".")[0]
                    problem = trial(self, Path(folder))
                    self.done[name] += 1
                    if problem:
                        self.failures.append(f"{name}: {problem}")
                        print(self.failures[-1], file=sys.stderr)

    def start(self, folder: Path, *more: str, **options: object) -> subprocess.Popen[bytes]:
        """Start the command in a folder, in a process group of its own."""
        command = [*self._command, *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]

    def call(self, folder: Path, *more: str, **options: object) -> tuple[int, str]:
        """Exit status and messages of a run."""
        process = self.start(folder, *more, **options)
        _, messages = process.communicate()
        return process.returncode, messages.decode(errors="replace")

    def resumed(self, folder: Path) -> str:
        """Go on; returns what is wrong with the output, if anything."""
        if not (folder / "out").exists():
            status, messages = self.call(folder, "--output", "out", "--resume")
            if status:
                return f"status {status} with --resume: {messages}"
        if (folder / "out").read_bytes() != self._expected:
            return "another output than that of an undisturbed run"
        left = [path.name for path in folder.iterdir() if path.name != "out"]
        return f"files are left over: {left}" if left else ""

    def disturbed(self, folder: Path, action: Callable[[subprocess.Popen[bytes]], None]) -> str:
        """Act on a run at a random moment; returns what is wrong with its end, if anything."""
        process = self.start(folder, "--output", "out")
        journal, deadline = folder / "out.journal", time.monotonic() + random.uniform(0, 20)
        while process.poll() is None and not journal.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        action(process)
        _, messages = process.communicate()
        text = messages.decode(errors="replace")
        return f"a traceback: {text}" if "Traceback" in text else ""


def _terminate(trials: Trials, folder: Path) -> str:
    """SIGTERM."""
    return trials.disturbed(folder, lambda process: process.terminate()) or trials.resumed(folder)


def _hang_up(trials: Trials, folder: Path) -> str:
    """SIGHUP to all processes, as when a terminal closes."""

    def hang_up(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGHUP)

    return trials.disturbed(folder, hang_up) or trials.resumed(folder)


def _kill(trials: Trials, folder: Path) -> str:
    """SIGKILL to the command."""
    problem = trials.disturbed(folder, lambda process: process.kill())
    for part in folder.glob("*.part"):  # nobody could remove them
        part.unlink()
    return problem or trials.resumed(folder)


def _kill_worker(trials: Trials, folder: Path) -> str:
    """SIGKILL to the worker, as when a memory limit is reached."""

    def kill_children(process: subprocess.Popen[bytes]) -> None:
        for thread in Path(f"/proc/{process.pid}/task").glob("*/children"):
            with suppress(OSError):
                for child in map(int, thread.read_text().split()):
                    if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                        os.kill(child, signal.SIGKILL)

    return trials.disturbed(folder, kill_children) or trials.resumed(folder)


def _full(trials: Trials, folder: Path) -> str:
    """Files that cannot grow, as on a full disk."""
    size = random.randrange(len(trials._expected))

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    status, messages = trials.call(folder, "--output", "out", preexec_fn=limit)
    if status != 1 or "cannot be written" not in messages or "Traceback" in messages:
        return f"status {status}: {messages}"
    if size > trials._header and not (folder / "out.journal").exists():
        return "no journal"
    return trials.resumed(folder)


def _no_home(trials: Trials, folder: Path) -> str:
    """A home that does not exist and cannot be made."""
    environment = {**os.environ, "HOME": "/proc/home"}
    environment.pop("ASR_HLG_CACHE", None)
    environment.pop("XDG_CACHE_HOME", None)
    status, messages = trials.call(folder, "--output", "out", env=environment)
    return f"status {status}: {messages}" if status else trials.resumed(folder)


def _reader_stops(trials: Trials, folder: Path) -> str:
    """A reader of standard output that stops after a line."""
    process = trials.start(folder)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    messages = process.stderr.read().decode(errors="replace")
    process.wait()
    return messages if "Traceback" in messages or "Exception" in messages else ""


def _two_runs(trials: Trials, folder: Path) -> str:
    """Two runs with one output."""
    runs = [trials.start(folder, "--output", "out") for _ in range(2)]
    for process in runs:
        _, messages = process.communicate()
        text = messages.decode(errors="replace")
        refused = "another process is writing it" in text or "has not come to its end" in text
        if process.returncode and not refused:
            return f"status {process.returncode}: {text}"
    return trials.resumed(folder)


TRIALS: list[Trial] = [
    _terminate,
    _hang_up,
    _kill,
    _full,
    _no_home,
    _reader_stops,
    _two_runs,
    _kill_worker,
]
