"""Transcribe in a loop with random failures, and count lost recordings and leaks.

    python scripts/soak.py [--minutes 30] [--write docs/reliability.md]

Two workers transcribe valid, empty, truncated, silent and non-audio files. At random a worker
crashes, raises an error or hangs, and at random one is killed from outside. Every recording must
have exactly one result, in order, and a valid one the same words every time. Meanwhile, the command
line is tried at the limits of the machine (scripts/soak_limits.py). The exit status is 1 if
anything went wrong.
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
import threading
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
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import Job, TranscribeOptions, Transcriber, Workers

sys.path.insert(0, str(Path(__file__).parent))
from soak_limits import Trials

FIRST_PASS = TranscribeOptions(passes=PassOptions())
FAULT_RATE = 1 / 2000  # share of recordings at which a worker fails
BAD_RATE = 1 / 10  # share of recordings whose files are damaged
KILL_SECONDS = 60.0  # between two kills from outside, on average
TIMEOUT = 20.0
MARKS = "<!-- soak -->", "<!-- end of soak -->"


class FailingTranscriber(Transcriber):
    """A transcriber that fails at random, as a model with a bug would."""

    def transcribe_one(
        self, recording: Recording, report_progress: Callable[[], None] = lambda: None
    ) -> Transcript:
        """Transcribe a recording, or crash, raise an error or hang."""
        if random.random() < FAULT_RATE:
            failure = random.choice(["crash", "raise", "hang"])
            if failure == "crash":
                ctypes.string_at(0)
            if failure == "raise":
                raise IndexError("injected")
            time.sleep(10 * TIMEOUT)
        return super().transcribe_one(recording, report_progress)


@dataclass(frozen=True)
class FailingJob(Job):
    """Job of the workers, with a transcriber that fails at random."""

    def transcriber(self) -> tuple[Transcriber, str]:
        """Transcriber of a worker, and its report."""
        transcriber, report = super().transcriber()
        return FailingTranscriber(
            transcriber.graph, transcriber.model, transcriber.decoder, transcriber.options
        ), report


@dataclass
class Counts:
    """Numbers of recordings and of killed workers, and samples of memory and open files."""

    done: int = 0
    failed: int = 0
    wrong: int = 0
    kills: int = 0
    memory: list[float] = field(default_factory=list)  # GB, once a second
    handles: list[int] = field(default_factory=list)


def main() -> int:
    """Run the command; the exit status is 1 if a recording was lost or changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--graph", default="graphs/en")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--inputs", nargs="+", default=["examples"])
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Workers(FailingJob(options.graph, options=FIRST_PASS), options.workers, TIMEOUT) as workers,
    ):
        silent = Path(folder) / "silent.wav"  # its transcript has no words
        soundfile.write(silent, np.zeros(16000), 16000)
        good = list(recordings([*options.inputs, silent]))
        bad = list(recordings(bad_files(Path(folder), good[0])))
        seconds = options.minutes * 60
        trials = Trials(options.graph, options.inputs)
        at_limits = threading.Thread(target=trials.run, args=(time.monotonic() + seconds,))
        at_limits.start()
        counts = transcribe_with_failures(workers, good, bad, seconds)
        at_limits.join()
        table = report(counts, workers, trials, options)
    print(table)
    if options.write is not None:
        replace_table(table, options.write)
    return 1 if counts.wrong or trials.failures else 0


def transcribe_with_failures(
    workers: Workers, good: list[Recording], bad: list[Recording], seconds: float
) -> Counts:
    """Transcribe random recordings for some seconds."""
    counts = Counts()
    sent: list[str] = []
    texts: dict[str, str] = {}
    begin = time.monotonic()
    kill_at, sample_at = begin + KILL_SECONDS, begin
    for number, (recording, result) in enumerate(
        workers.run(random_recordings(good, bad, begin + seconds, sent))
    ):
        now = time.monotonic()
        broken = recording.id.startswith("bad")
        if recording.id != sent[number] or (broken and isinstance(result, Transcript)):
            counts.wrong += 1
        if isinstance(result, Transcript):
            counts.done += 1
            name = recording.id.partition("#")[0]
            counts.wrong += texts.setdefault(name, result.text) != result.text
        else:
            counts.failed += 1
            if not broken:
                print(f"{now - begin:7.0f} s  {recording.id}: {result}", file=sys.stderr)
        if now >= kill_at:
            kill_at = now + random.expovariate(1 / KILL_SECONDS)
            with suppress(ProcessLookupError):  # it may have died by itself just now
                os.kill(random.choice(workers.pids), signal.SIGKILL)
                counts.kills += 1
        if now >= sample_at:
            sample_at = now + 1.0
            sample(counts, workers)
    counts.wrong += len(sent) - counts.done - counts.failed
    return counts


def random_recordings(
    good: list[Recording], bad: list[Recording], until: float, sent: list[str]
) -> Iterator[Recording]:
    """Random recordings, each with a new id, until a time of the monotonic clock."""
    while time.monotonic() < until:
        chosen = random.choice(bad if random.random() < BAD_RATE else good)
        recording = replace(chosen, id=f"{chosen.id}#{len(sent)}")
        sent.append(recording.id)
        yield recording


def sample(counts: Counts, workers: Workers) -> None:
    """Add a sample of the memory of all processes, without mapped files, and of open files."""
    try:
        total = (
            sum(kilobytes(f"/proc/{pid}/status")["RssAnon"] for pid in [os.getpid(), *workers.pids])
            / 1e6
        )
    except (OSError, KeyError):
        return  # a worker has just ended
    counts.memory.append(total)
    counts.handles.append(len(os.listdir("/proc/self/fd")))


def bad_files(folder: Path, good: Recording) -> list[Path]:
    """Files that cannot be transcribed."""
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
    return [*paths, folder / "bad-absent.wav"]


def report(counts: Counts, workers: Workers, trials: Trials, options: argparse.Namespace) -> str:
    """Table of the results, in Markdown."""
    # The first tenth is left out: caches fill.
    tenth = max(1, len(counts.memory) // 10)
    first = statistics.median(counts.memory[tenth : 2 * tenth + 1])
    last = statistics.median(counts.memory[-tenth:])
    rows = {
        "duration": f"{options.minutes:g} minutes, {options.workers} workers, {options.graph}",
        "recordings done": f"{counts.done}",
        "recordings failed, as reported": f"{counts.failed}",
        "lost, doubled, out of order or with other words": f"{counts.wrong}",
        "workers killed from outside": f"{counts.kills}",
        "recordings tried a second time": f"{workers.retried}",
        "memory of all processes, second tenth and last tenth of the time": (
            f"{first:.3f} GB, {last:.3f} GB ({last / first - 1:+.1%})"
        ),
        "open files of the main process, at the start and at the end": (
            f"{counts.handles[0]}, {counts.handles[-1]}"
        ),
        "trials at limits: resumed or ended as promised, otherwise": (
            f"{trials.done.total() - len(trials.failures)}, {len(trials.failures)}"
        ),
        "of these": "; ".join(f"{number} × {name}" for name, number in trials.done.items()),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "date": f"{date.today()}",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def processor() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def replace_table(table: str, path: Path) -> None:
    """Put the table between the marks of a document."""
    text = path.read_text(encoding="utf-8")
    before, _, marked = text.partition(MARKS[0])
    _, _, after = marked.partition(MARKS[1])
    part = path.with_name(path.name + ".part")
    part.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}", encoding="utf-8")
    shutil.move(part, path)


if __name__ == "__main__":
    sys.exit(main())
