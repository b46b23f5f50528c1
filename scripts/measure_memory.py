"""Memory of the pipeline: a long recording, many short ones, and what workers share.

    python scripts/measure_memory.py long RECORDINGS... [--hours 3]
    python scripts/measure_memory.py many RECORDINGS... [--count 10000]

`long` joins the recordings, again and again, to one file of so many hours, decodes it in one
worker and prints the worker's memory before and at its peak. `many` decodes so many recordings of
about a second, and prints memory along the way and which part of the graph's pages the workers
share. Both read Linux's /proc.
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
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe import Job, Workers

RATE = 16000


def main() -> None:
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
    path = folder / "long.wav"
    write_long(path, options.inputs, options.hours * 3600)
    with Workers(Job(options.graph), 1) as workers, Sampler(workers.pids[0]) as sampler:
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
    short = write_short(folder, options.inputs)
    found = (path for path in islice(cycle(short), options.count))
    with Workers(Job(options.graph), options.workers) as workers:
        begin, done = time.monotonic(), 0
        print("utterances  memory of all workers: their own, with mapped files")
        for _ in workers.transcribe(found, lambda recording, error: print(recording.id, error)):
            done += 1
            if done == options.workers or done % max(1, options.count // 10) == 0:
                own, total = (
                    sum(memory(pid)[name] for pid in workers.pids) / 1e6
                    for name in ("RssAnon", "VmRSS")
                )
                print(f"{done:10d}  {own:6.3f} GB, {total:6.3f} GB", flush=True)
        seconds = time.monotonic() - begin
        print(f"{done} utterances in {seconds:.0f} s")
        print("pages of the graph, as each worker has them:")
        for pid in workers.pids:
            shared, private = graph_pages(pid, Path(options.graph))
            print(f"  process {pid}: {shared / 1e3:.1f} MB shared, {private / 1e3:.1f} MB its own")


def write_long(path: Path, inputs: list[str], seconds: float) -> None:
    """Recordings one after the other until they last long enough."""
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for recording in cycle(list(recordings(inputs))):
            file.write(recording.load(RATE).numpy())
            file.write(np.zeros(RATE // 4))
            if file.frames >= seconds * RATE:
                return


def write_short(folder: Path, inputs: list[str]) -> list[Path]:
    """The first second of every recording."""
    paths = []
    for number, recording in enumerate(recordings(inputs)):
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], recording.load(RATE)[:RATE].numpy(), RATE)
    return paths


def memory(pid: int) -> dict[str, int]:
    """Lines of /proc/PID/status that are in kB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = (re.fullmatch(r"(\w+):\s+(\d+) kB", line) for line in lines)
    return {match[1]: int(match[2]) for match in found if match}


def graph_pages(pid: int, folder: Path) -> tuple[int, int]:
    """Kilobytes of a graph's mapped files that processes share, and that are a process's own."""
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
    """The largest memory that a process has while this is open, in kB."""

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
