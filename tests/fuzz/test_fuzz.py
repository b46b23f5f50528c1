"""A few hundred mutated files for every reader; `make fuzz` runs a hundred thousand of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.running import Finding, case_of

CASES = 100
FEWER_CASES = 25
CPU_SECONDS = 300  # only a hang takes so long, on any machine
# a case takes milliseconds
SLOW = (
    *("graph", "network", "torchscript", "onnx", "kaldi-graph", "kaldi-mdl"),
    *("metadata", "hugging-face", "exported-onnx"),
)


@pytest.fixture(scope="module")
def findings(root) -> dict[str, list[str]]:
    """The lines that the script prints for each reader."""
    lines: list[str] = []
    fast = [name for name in READERS if name not in SLOW]
    for cases, names in ((CASES, fast), (FEWER_CASES, SLOW)):
        command = [sys.executable, str(root / "scripts" / "fuzz.py"), *names]
        run = subprocess.run(
            [*command, "--cases", str(cases), "--cpu-seconds", str(CPU_SECONDS)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert run.returncode in (0, 1), run.stderr
        lines += run.stdout.splitlines()[1:]
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if line.startswith("    "):
            found[name].append(line.strip())
        else:
            name = line.split()[0]
            found[name] = []
    return found


@pytest.mark.parametrize("name", READERS)
def test_nearly_right_files_are_read_or_refused(findings, name):
    assert findings[name] == []


@pytest.mark.parametrize("name", READERS)
def test_the_files_to_begin_with_are_right(name, tmp_path):
    reader = READERS[name]
    for seed in reader.make_seeds(tmp_path):
        reader.read(seed, tmp_path)


def test_a_case_is_the_same_each_time(tmp_path):
    reader = READERS["arpa"]
    seeds = reader.make_seeds(tmp_path)
    cases = [case_of(reader, seeds, 7, number) for number in range(50)]
    assert cases == [case_of(reader, seeds, 7, number) for number in range(50)]
    assert len(set(cases)) > 40


class Fault:
    """Readers that fail on every file but the valid one, in the ways that fuzzing must find."""

    VALID = b"valid"

    @classmethod
    def crash(cls, data: bytes, folder: Path) -> None:
        if data != cls.VALID:
            os.abort()

    @classmethod
    def hang(cls, data: bytes, folder: Path) -> None:
        while data != cls.VALID:
            pass

    @classmethod
    def grow(cls, data: bytes, folder: Path) -> None:
        if data != cls.VALID:
            bytearray(2 << 30)

    @classmethod
    def raise_key_error(cls, data: bytes, folder: Path) -> None:
        if data != cls.VALID:
            raise KeyError("x")


def test_every_kind_of_fault_is_found(root):
    code = f"""
import sys
sys.path.insert(0, {str(root)!r})
from tests.fuzz import reader, readers, running
from tests.fuzz.test_fuzz import Fault
for name in ("crash", "hang", "grow", "raise_key_error"):
    extra = reader.Reader(
        name, lambda folder: [Fault.VALID], getattr(Fault, name), lambda random, seed: seed + b"!"
    )
    readers.READERS[name] = extra
    outcome = running.run(name, range(3), seed=0, cpu_seconds=1)
    assert outcome.cases == len(outcome.findings) == 3, outcome
    print(*{{finding.what for finding in outcome.findings}})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    crash, hang, grow, other = run.stdout.splitlines()
    assert crash == "dies: SIGABRT"
    assert hang.startswith("hangs: more than 1 s of CPU time")
    assert grow.startswith("MemoryError")
    assert other.startswith("KeyError: 'x'")


def test_findings_of_one_cause_are_counted_together():
    first = Finding("x", 1, "KeyError: 'a' (io.py:3)")
    second = Finding("x", 9, "KeyError: 'b' (io.py:3)")
    other = Finding("x", 9, "KeyError: 'b' (io.py:4)")
    assert first.kind == second.kind != other.kind
