"""Give every reader of files thousands that are nearly right: `make fuzz`.

    python scripts/fuzz.py                              # all readers, 100,000 cases each: hours
    python scripts/fuzz.py arpa grammar --cases 5000
    python scripts/fuzz.py arpa --seed 7 --case 4711    # one case again, with its traceback

Each case may be read or refused with one of our errors. Another exception, a crash, more than
10 s of CPU time or more than 1 GB of memory is a finding; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from tests.fuzz.readers import READERS
from tests.fuzz.running import Outcome, case_of, in_memory, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}")
    parser.add_argument("--cases", type=int, default=100_000, help="for each reader (100,000)")
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other cases (0)")
    parser.add_argument("--processes", type=int, default=2, help="readers side by side (2)")
    parser.add_argument("--case", type=int, help="run this case alone, and show what happens")
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
    for outcome in outcomes(names, options.cases, options.seed, options.processes):
        failed = failed or bool(outcome.findings)
        numbers = outcome.cases, outcome.accepted, outcome.refused, len(outcome.findings)
        columns = " ".join(f"{number:>9,}" for number in numbers)
        print(f"{outcome.reader:<20} {columns} {outcome.seconds:>9.1f}", flush=True)
        for kind, count in Counter(finding.kind for finding in outcome.findings).items():
            first = next(finding for finding in outcome.findings if finding.kind == kind)
            print(f"    {count} like case {first.case}: {first.what}", flush=True)
    return int(failed)


def outcomes(names: list[str], cases: int, seed: int, processes: int):
    """What comes of each reader, as soon as it is done."""
    forks = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, forks) as pool:
        waiting = [pool.submit(run, name, range(cases), seed) for name in names]
        bar = tqdm(as_completed(waiting), total=len(names), unit="reader", disable=None)
        for done in bar:
            outcome: Outcome = done.result()
            yield outcome


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
