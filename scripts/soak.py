"""Decode in a loop, break things at random, and see what is lost, leaks or stops.

    python scripts/soak.py [--minutes 30] [--write docs/reliability.md]

Recordings that are whole, empty, cut short, silent or no sound go through two workers. Now and then
a worker crashes, raises or hangs, and now and then one is killed from outside. Every recording must
come back exactly once, in order; the whole ones with the words that they came back with the first
time. The exit status says whether they did.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import soundfile

from asr_hlg.audio import Recording, recordings
from asr_hlg.bench.measure import kilobytes
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe import Job, Transcriber, Workers

FAULT_RATE = 1 / 2000  # of recordings at which a worker breaks
BAD_RATE = 1 / 10  # of recordings that are broken themselves
KILL_SECONDS = 60.0  # between two kills from outside, on average
TIMEOUT = 20.0
MARKS = "<!-- soak -->", "<!-- end of soak -->"


class Breaking(Transcriber):
    """A transcriber that fails at random, as a model with a bug would."""

    def transcribe_one(
        self, recording: Recording, alive: Callable[[], None] = lambda: None
    ) -> Transcript:
        if random.random() < FAULT_RATE:
            kind = random.choice(["crash", "raise", "hang"])
            if kind == "crash":
                ctypes.string_at(0)
            if kind == "raise":
                raise IndexError("injected")
            time.sleep(10 * TIMEOUT)
        return super().transcribe_one(recording, alive)


@dataclass(frozen=True)
class BreakingJob(Job):
    def transcriber(self) -> tuple[Transcriber, str]:
        whole, report = super().transcriber()
        return Breaking(whole.graph, whole.model, whole.search, whole.options), report


@dataclass
class Tally:
    """What a soak test has seen."""

    done: int = 0
    failed: int = 0
    wrong: int = 0
    kills: int = 0
    memory: list[float] = field(default_factory=list)  # GB, once a second
    handles: list[int] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--graph", default="graphs/en")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--inputs", nargs="+", default=["examples"])
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Workers(BreakingJob(options.graph), options.workers, TIMEOUT) as workers,
    ):
        good = list(recordings(options.inputs))
        bad = list(recordings(bad_files(Path(folder), good[0])))
        tally = soak(workers, good, bad, options.minutes * 60)
        table = report(tally, workers, options)
    print(table)
    if options.write is not None:
        put(table, options.write)
    return 1 if tally.wrong else 0


def soak(workers: Workers, good: list[Recording], bad: list[Recording], seconds: float) -> Tally:
    """Feed recordings until the time is over."""
    tally = Tally()
    sent: list[str] = []
    texts: dict[str, str] = {}
    begin = time.monotonic()
    kill_at, sample_at = begin + KILL_SECONDS, begin
    for number, (recording, result) in enumerate(
        workers.run(endless(good, bad, begin + seconds, sent))
    ):
        now = time.monotonic()
        broken = recording.id.startswith("bad")
        if recording.id != sent[number] or (broken and isinstance(result, Transcript)):
            tally.wrong += 1
        if isinstance(result, Transcript):
            tally.done += 1
            name = recording.id.partition("#")[0]
            tally.wrong += texts.setdefault(name, result.text) != result.text
        else:
            tally.failed += 1
            if not broken:
                print(f"{now - begin:7.0f} s  {recording.id}: {result}", file=sys.stderr)
        if now >= kill_at:
            kill_at = now + random.expovariate(1 / KILL_SECONDS)
            with suppress(ProcessLookupError):  # it may have died by itself just now
                os.kill(random.choice(workers.pids), signal.SIGKILL)
                tally.kills += 1
        if now >= sample_at:
            sample_at = now + 1.0
            sample(tally, workers)
    tally.wrong += len(sent) - tally.done - tally.failed
    return tally


def endless(
    good: list[Recording], bad: list[Recording], until: float, sent: list[str]
) -> Iterator[Recording]:
    """Recordings with ids of their own, as long as there is time."""
    while time.monotonic() < until:
        chosen = random.choice(bad if random.random() < BAD_RATE else good)
        recording = replace(chosen, id=f"{chosen.id}#{len(sent)}")
        sent.append(recording.id)
        yield recording


def sample(tally: Tally, workers: Workers) -> None:
    """Note the memory of all processes, without mapped files, and this one's open files."""
    try:
        total = (
            sum(kilobytes(f"/proc/{pid}/status")["RssAnon"] for pid in [os.getpid(), *workers.pids])
            / 1e6
        )
    except (OSError, KeyError):
        return  # one has just died
    tally.memory.append(total)
    tally.handles.append(len(os.listdir("/proc/self/fd")))


def bad_files(folder: Path, good: Recording) -> list[Path]:
    """Recordings of which none can be transcribed."""
    whole = Path(good.path).read_bytes()
    contents = {
        "bad-empty": b"",
        "bad-header": whole[:44],
        "bad-cut": whole[: len(whole) // 2],
        "bad-text": b"This is no sound.\n" * 100,
    }
    paths = []
    for name, content in contents.items():
        paths.append(folder / f"{name}.wav")
        paths[-1].write_bytes(content)
    soundfile.write(folder / "bad-silent.wav", np.zeros(16000), 16000)
    return [*paths, folder / "bad-silent.wav", folder / "bad-absent.wav"]


def report(tally: Tally, workers: Workers, options: argparse.Namespace) -> str:
    """The table, in Markdown."""
    # The first tenth is left out: caches fill.
    tenth = max(1, len(tally.memory) // 10)
    first = statistics.median(tally.memory[tenth : 2 * tenth + 1])
    last = statistics.median(tally.memory[-tenth:])
    rows = {
        "duration": f"{options.minutes:g} minutes, {options.workers} workers, {options.graph}",
        "recordings done": f"{tally.done}",
        "recordings failed, as reported": f"{tally.failed}",
        "lost, doubled, out of order or with other words": f"{tally.wrong}",
        "workers killed from outside": f"{tally.kills}",
        "recordings tried a second time": f"{workers.retried}",
        "memory of all processes, second tenth and last tenth of the time": (
            f"{first:.3f} GB, {last:.3f} GB ({last / first - 1:+.1%})"
        ),
        "open files of the main process, at the start and at the end": (
            f"{tally.handles[0]}, {tally.handles[-1]}"
        ),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "date": f"{date.today()}",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def put(table: str, path: Path) -> None:
    """Put the table between the marks of a document."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    part = path.with_name(path.name + ".part")
    part.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}", encoding="utf-8")
    shutil.move(part, path)


if __name__ == "__main__":
    sys.exit(main())
