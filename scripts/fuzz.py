"""Fuzz every reader of files with mutated valid files: `make fuzz`.

    python scripts/fuzz.py                              # all readers, 100,000 cases each: hours
    python scripts/fuzz.py arpa grammar --cases 5000
    python scripts/fuzz.py arpa --seed 7 --case 4711    # one case again, with its traceback

A case must be read, or refused with an AsrHlgError. Another exception, a crash, a hang (more than
--cpu-seconds) or more than 1 GB of memory is a finding; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from tests.fuzz.readers import READERS
from tests.fuzz.running import CPU_SECONDS, Outcome, case_of, in_memory, run


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}")
    parser.add_argument("--cases", type=int, default=100_000, help="for each reader (100,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random mutations (0)")
    parser.add_argument(
        "--cpu-seconds",
        type=int,
        default=CPU_SECONDS,
        metavar="N",
        help=f"CPU time after which a case counts as a hang ({CPU_SECONDS})",
    )
    parser.add_argument("--processes", type=int, default=2, help="readers side by side (2)")
    parser.add_argument("--case", type=int, help="run this case alone, and show its traceback")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="with --case: write it there")
    options = parser.parse_args()
    names = options.readers or list(READERS)
    if unknown := [name for name in names if name not in READERS]:
        parser.error(f"unknown readers: {', '.join(unknown)}; known are {', '.join(READERS)}")
    if options.case is not None:
        if len(names) != 1:
            parser.error("--case needs one reader")
        return show(names[0], options.seed, options.case, options.keep)
    failed = False
    print(f"{'reader':<20} {'cases':>9} {'read':>9} {'refused':>9} {'findings':>9} {'seconds':>9}")
    for outcome in outcomes(names, options):
        failed = failed or bool(outcome.findings)
        numbers = outcome.cases, outcome.accepted, outcome.refused, len(outcome.findings)
        columns = " ".join(f"{number:>9,}" for number in numbers)
        print(f"{outcome.reader:<20} {columns} {outcome.seconds:>9.1f}", flush=True)
        for kind, count in Counter(finding.kind for finding in outcome.findings).items():
            first = next(finding for finding in outcome.findings if finding.kind == kind)
            print(f"    {count} like case {first.case}: {first.what}", flush=True)
    return int(failed)


def outcomes(names: list[str], options: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcome of each reader as soon as it is done."""
    forks = multiprocessing.get_context("fork")
    run_reader = partial(
        run, cases=range(options.cases), seed=options.seed, cpu_seconds=options.cpu_seconds
    )
    with ProcessPoolExecutor(options.processes, forks) as pool:
        waiting = [pool.submit(run_reader, name) for name in names]
        bar = tqdm(as_completed(waiting), total=len(names), unit="reader", disable=None)
        for done in bar:
            yield done.result()


def show(name: str, seed: int, number: int, keep: Path | None) -> int:
    """Run one case in this process."""
    reader = READERS[name]
    with tempfile.TemporaryDirectory(prefix="asr_hlg-fuzz-", dir=in_memory()) as folder:
        seeds = reader.make_seeds(Path(folder))
        data = case_of(reader, seeds, seed, number)
        if keep is not None:
            keep.write_bytes(data)
        print(f"{len(data)} bytes: {data[:300]!r}")
        reader.read(data, Path(folder))
    print("read")
    return 0


if __name__ == "__main__":
    sys.exit(main())
