"""Cases run in a process of their own, which may die, hang or run out of memory."""

from __future__ import annotations

import json
import mmap
import os
import re
import resource
import signal
import struct
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from asr_hlg.errors import AsrHlgError
from tests.fuzz.reader import Reader
from tests.fuzz.readers import READERS

CPU_SECONDS = 10  # of a case, by default
WALL_SECONDS = 12  # of a case for each of its CPU seconds: a case may also wait for ever
MEMORY = 1 << 30  # bytes of address space that a process may add
RESIDENT = 400 << 20  # bytes of memory that cases may add in all
_COUNTERS = "<qqqq"  # case in progress, accepted, refused, findings


@dataclass(frozen=True)
class Finding:
    """A case that was not answered as it should be."""

    reader: str
    case: int
    what: str

    @property
    def kind(self) -> str:
        """Findings of one cause share it: the error's type and place."""
        return re.sub(r":.*\(", " (", self.what) if self.what.endswith(")") else self.what[:40]


@dataclass
class Outcome:
    """What came of the cases of one reader.

    ``accepted`` were read, ``refused`` with an error of ours; ``findings`` are the rest.
    """

    reader: str
    seed: int
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def in_memory() -> str | None:
    """A place for files that are soon gone, ten times faster than most disks."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def case_of(reader: Reader, seeds: Sequence[bytes], seed: int, number: int) -> bytes:
    """The content of a case."""
    random = Random(f"{reader.name} {seed} {number}")
    return reader.mutate(random, random.choice(seeds))


def run(
    name: str, cases: range, seed: int, most_findings: int = 20, cpu_seconds: int = CPU_SECONDS
) -> Outcome:
    """Run some cases of a reader, in a new process after each case that ends the process."""
    reader = READERS[name]
    outcome = Outcome(name, seed)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="asr_hlg-fuzz-", dir=in_memory()) as folder:
        seeds = reader.make_seeds(Path(folder))
        counters = mmap.mmap(-1, struct.calcsize(_COUNTERS))
        report = Path(folder) / "findings.jsonl"
        report.touch()
        rest = cases
        while rest and len(outcome.findings) < most_findings:
            counters[:] = struct.pack(_COUNTERS, rest.start, 0, 0, 0)
            ended = _run_in_fork(
                reader, seeds, rest, seed, Path(folder), counters, report, cpu_seconds
            )
            reached, accepted, refused, found = struct.unpack(_COUNTERS, counters)
            outcome.accepted += accepted
            outcome.refused += refused
            outcome.cases += accepted + refused + found + (ended is not None)
            outcome.findings += [
                Finding(**json.loads(line)) for line in report.read_text().splitlines()
            ]
            report.write_text("")
            if ended is not None:
                outcome.findings.append(Finding(name, reached, ended))
            rest = range(reached + 1, cases.stop)
    outcome.seconds = time.monotonic() - begun
    return outcome


def _run_in_fork(
    reader: Reader,
    seeds: Sequence[bytes],
    cases: range,
    seed: int,
    folder: Path,
    counters: mmap.mmap,
    report: Path,
    cpu_seconds: int,
) -> str | None:
    """Run cases in a child process until one ends it; returns how, None if none did."""
    pid = os.fork()
    if pid == 0:
        try:
            _run_cases(reader, seeds, cases, seed, folder, counters, report, cpu_seconds)
            os._exit(0)
        finally:
            os._exit(99)
    last, since = counters[:8], time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
        if counters[:8] != last:
            last, since = counters[:8], time.monotonic()
        elif time.monotonic() - since > WALL_SECONDS * cpu_seconds:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"hangs: no answer in {WALL_SECONDS * cpu_seconds} s"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code == -signal.SIGPROF:
        return f"hangs: more than {cpu_seconds} s of CPU time"
    return f"dies: {signal.Signals(-code).name}" if code < 0 else f"dies: exit status {code}"


def _run_cases(
    reader: Reader,
    seeds: Sequence[bytes],
    cases: range,
    seed: int,
    folder: Path,
    counters: mmap.mmap,
    report: Path,
    cpu_seconds: int,
) -> None:
    _silence()
    _warm_up(reader, seeds, folder)
    _limit_memory()
    before = _resident()
    accepted = refused = found = 0
    for number in cases:
        counters[:] = struct.pack(_COUNTERS, number, accepted, refused, found)
        data = case_of(reader, seeds, seed, number)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        what = answer(reader, data, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if _resident() - before > RESIDENT:
            before = _resident()
            what = what or "memory"
            what = f"{what}: {before >> 20} MB of memory in use"
        if what in ("accepted", "refused"):
            accepted += what == "accepted"
            refused += what == "refused"
        else:
            found += 1
            with report.open("a") as file:
                file.write(json.dumps({"reader": reader.name, "case": number, "what": what}) + "\n")
    counters[:] = struct.pack(_COUNTERS, cases.stop - 1, accepted, refused, found)


def answer(reader: Reader, data: bytes, folder: Path) -> str:
    """Read one case: ``accepted``, ``refused``, or what is wrong with the answer."""
    try:
        reader.read(data, folder)
    except AsrHlgError as error:
        if "\n" in str(error):
            return f"an error of several lines: {error!s}"
        return "refused"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in place if "asr_hlg" in frame.filename] or place
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        text = (str(error).splitlines() or [""])[0][:120]
        return f"{type(error).__name__}: {text} ({where})"
    return "accepted"


def _warm_up(reader: Reader, seeds: Sequence[bytes], folder: Path) -> None:
    """Read the valid files, so that importing and compiling (numba) count for no case."""
    for seed in seeds:
        answer(reader, seed, folder)


def _silence() -> None:
    """Discard what libraries in C print about bad files."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident() -> int:
    """The most memory that the process has ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
