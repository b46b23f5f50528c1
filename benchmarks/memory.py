"""Memory of transcription: a long recording, many short ones, and pages that workers share.

    python benchmarks/memory.py long RECORDINGS... [--hours 3]
    python benchmarks/memory.py many RECORDINGS... [--count 10000]

`long` repeats the recordings to make one file of --hours hours, decodes it in one worker, and
prints the memory of the worker before and at its peak. `many` decodes --count recordings of about a
second, and prints memory as it goes on, and how many of the graph's pages the workers share. Both
need Linux's /proc.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.bench.measure import kilobytes
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import Job, TranscribeOptions, Workers

RATE = 16000
FIRST_PASS = TranscribeOptions(passes=PassOptions())


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measure", choices=("long", "many"))
    parser.add_argument("inputs", nargs="+", metavar="RECORDING")
    parser.add_argument("--graph", default="graphs/en")
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.measure == "long":
            measure_long(options, Path(folder))
        else:
            measure_many(options, Path(folder))


def measure_long(options: argparse.Namespace, folder: Path) -> None:
    """Memory of one worker that decodes a long recording."""
    path = folder / "long.wav"
    write_long(path, options.inputs, options.hours * 3600)
    job = Job(options.graph, options=FIRST_PASS)
    with Workers(job, 1) as workers, Sampler(workers.pids[0]) as sampler:
        loaded = memory(workers.pids[0])["VmRSS"]
        begin = time.monotonic()
        [(_, result)] = workers.run(recordings([path]))
        seconds = time.monotonic() - begin
    if not isinstance(result, Transcript):
        raise result
    last = result.words[-1]
    print(f"recording            {result.duration:9.1f} s, {len(result.words)} words")
    print(f"last word            {last.text!r} at {last.start:.2f} s")
    print(f"decoded in           {seconds:9.1f} s")
    print(f"memory when loaded   {loaded / 1e6:9.2f} GB")
    print(f"memory at the peak   {sampler.peak / 1e6:9.2f} GB")
    print(f"above the graph      {(sampler.peak - loaded) / 1e6:9.2f} GB")


def measure_many(options: argparse.Namespace, folder: Path) -> None:
    """Memory of several workers while they decode many short recordings."""
    short = write_short(folder, options.inputs)
    paths = (path for path in islice(cycle(short), options.count))
    with Workers(Job(options.graph, options=FIRST_PASS), options.workers) as workers:
        begin, done = time.monotonic(), 0
        print("utterances  memory of all workers: private, with mapped files")
        for _ in workers.transcribe(paths, lambda recording, error: print(recording.id, error)):
            done += 1
            if done == options.workers or done % max(1, options.count // 10) == 0:
                private, total = (
                    sum(memory(pid)[name] for pid in workers.pids) / 1e6
                    for name in ("RssAnon", "VmRSS")
                )
                print(f"{done:10d}  {private:6.3f} GB, {total:6.3f} GB", flush=True)
        seconds = time.monotonic() - begin
        print(f"{done} utterances in {seconds:.0f} s")
        print("pages of the graph in the memory of each worker:")
        for pid in workers.pids:
            shared, private = graph_pages(pid, Path(options.graph))
            print(f"  process {pid}: {shared / 1e3:.1f} MB shared, {private / 1e3:.1f} MB private")


def write_long(path: Path, inputs: list[str], seconds: float) -> None:
    """Write the recordings one after the other, repeatedly, until the file is long enough."""
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for recording in cycle(list(recordings(inputs))):
            file.write(recording.load(RATE))
            file.write(np.zeros(RATE // 4))
            if file.frames >= seconds * RATE:
                return


def write_short(folder: Path, inputs: list[str]) -> list[Path]:
    """Write the first second of every recording to a file of its own."""
    paths = []
    for number, recording in enumerate(recordings(inputs)):
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], recording.load(RATE)[:RATE], RATE)
    return paths


def memory(pid: int) -> dict[str, int]:
    """Memory of a process by the names of /proc/PID/status, in kB."""
    return kilobytes(f"/proc/{pid}/status")


def graph_pages(pid: int, folder: Path) -> tuple[int, int]:
    """Kilobytes of a graph's mapped files that processes share, and that are private."""
    shared = private = 0
    of_graph = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            of_graph = str(folder.resolve()) in line
        elif of_graph and line.startswith("Shared_"):
            shared += int(line.split()[1])
        elif of_graph and line.startswith("Private_"):
            private += int(line.split()[1])
    return shared, private


class Sampler:
    """Peak resident memory of a process while this context is open, in kB."""

    def __init__(self, pid: int):
        self.pid, self.peak = pid, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.1):
            self.peak = max(self.peak, memory(self.pid)["VmRSS"])


if __name__ == "__main__":
    main()
