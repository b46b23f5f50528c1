"""Signals, full disks and closed streams, tried on the command itself."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from asr_hlg.transcribe import machine
from tests.transcribe.test_resume import beside, calm, command, stored

__all__ = ["beside", "calm", "command", "stored"]  # fixtures

PROGRAM = [sys.executable, "-m", "asr_hlg.cli"]


def started(command, **options) -> subprocess.Popen[bytes]:
    """The command in a process group of its own, with standard error to read."""
    # whoever runs the tests under nohup has SIGHUP ignored, and children inherit that
    heed = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    options = {**pipes, "preexec_fn": heed, **options}
    return subprocess.Popen([*PROGRAM, *command], start_new_session=True, **options)


def wait_for_lines(journal: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.002)
    pytest.fail(f"the command ended too early: {process.communicate()}")


def processes_of_group(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("to_group", [False, True])
def test_signals_end_in_order_and_can_be_resumed(command, calm, beside, number, to_group):
    process = started(command)
    wait_for_lines(beside / "out.jsonl.journal", 5, process)
    if to_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 128 + number, messages
    assert b"go on with the same command and --resume" in messages
    assert b"Traceback" not in messages
    deadline = time.monotonic() + 30
    while processes_of_group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of_group(process.pid) == []
    assert not list(beside.glob("*.part"))
    assert subprocess.run([*PROGRAM, *command, "--resume"], check=False).returncode == 1
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


def test_under_nohup_a_closed_terminal_does_not_matter(command, calm, beside):
    """SIGHUP is ignored, and standard error is a pipe that nobody reads."""
    reading, writing = os.pipe()
    process = started(
        command,
        stderr=writing,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    os.close(writing)
    os.close(reading)
    wait_for_lines(beside / "out.jsonl.journal", 3, process)
    os.killpg(process.pid, signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 1  # of the recording without posteriors
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


def test_two_runs_with_one_output(command, calm, beside):
    first = started(command)
    wait_for_lines(beside / "out.jsonl.journal", 3, first)
    first.send_signal(signal.SIGSTOP)  # so that it does not end before the others begin
    for option in ([], ["--resume"], ["--overwrite"]):
        second = subprocess.run([*PROGRAM, *command, *option], capture_output=True, check=False)
        assert second.returncode == 1
        assert b"another process is writing it" in second.stderr
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=120)
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


def test_a_reader_that_stops_is_no_error(root):
    text = str(root / "examples" / "text")
    score = subprocess.Popen(
        [*PROGRAM, "score", text, text], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert score.stdout is not None
    score.stdout.close()
    assert score.stderr is not None
    assert score.stderr.read() == b""
    assert score.wait() == 1


def test_transcripts_are_utf8_in_any_locale(tmp_path):
    (tmp_path / "a").write_text("né œuf\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    names = [*PROGRAM, "score", "a", "a", "--alignments", "b", "--confusions", "3"]
    how = {"cwd": tmp_path, "env": environment, "capture_output": True}
    for arguments in (names, [*names, "--json"]):
        done = subprocess.run(arguments, check=False, **how)
        assert done.returncode == 0, done.stderr
    (tmp_path / "b").write_text("né oie\n", encoding="utf-8")
    done = subprocess.run([*PROGRAM, "score", "a", "b"], check=True, **how)
    assert "œuf" in done.stdout.decode("utf-8")


def test_standard_output_to_a_full_disk(root):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    text = str(root / "examples" / "text")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROGRAM, "score", text, text], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"asr-hlg: the output cannot be written: No space left on device\n"


def test_an_output_that_does_not_fit_can_be_written_later(command, calm, beside):
    """The journal fits, the output does not: the work is not lost."""
    os.link(calm / "out.jsonl.journal", beside / "complete")
    lines = (beside / "complete").read_bytes().splitlines(keepends=True)
    journal = beside / "out.jsonl.journal"
    journal.write_bytes(b"".join(lines[:-1]))

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    full = subprocess.run(
        [*PROGRAM, *command, "--resume"], preexec_fn=limit, capture_output=True, check=False
    )
    assert full.returncode == 1
    assert b"cannot be written: File too large" in full.stderr
    assert not (beside / "out.jsonl").exists()
    assert not list(beside.glob("*.part"))
    assert subprocess.run([*PROGRAM, *command, "--resume"], check=False).returncode == 1
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


@pytest.mark.parametrize("home", [None, "/dev/null/home", "/proc/home"])
def test_no_home_is_needed(command, calm, beside, home):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ASR_HLG_"))}
    environment.pop("HOME")
    if home is not None:
        environment["HOME"] = home
    done = subprocess.run([*PROGRAM, *command], capture_output=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


# ---------------------------------------------------------------- containers


def container(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


MEMORY = {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable:   64000000 kB\n"}
V2 = {**MEMORY, "proc/self/cgroup": "0::/app/job\n"}


def test_limits_of_a_container_of_version_2(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    root = container(tmp_path, V2)
    assert machine.default_workers(root) == (16, "")
    container(
        tmp_path,
        {
            "sys/fs/cgroup/app/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/app/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/app/job/memory.max": "max\n",
        },
    )
    assert machine.default_workers(root) == (3, "")
    container(
        tmp_path,
        {"sys/fs/cgroup/memory.max": "2000000000\n", "sys/fs/cgroup/memory.current": "600000000"},
    )
    number, reason = machine.default_workers(root)
    assert number == 2
    assert "2 instead of 3 workers" in reason
    container(tmp_path, {"sys/fs/cgroup/memory.max": "1000\n"})
    assert machine.default_workers(root)[0] == 1


def test_limits_of_a_container_of_version_1(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    root = container(
        tmp_path,
        {
            **MEMORY,
            "proc/self/cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n3:pids:/\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1900000000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "0\n",
        },
    )
    assert machine.num_processors(root) == 4
    assert machine.default_workers(root)[0] == 3
    container(tmp_path, {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n"})
    container(tmp_path, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert machine.default_workers(root) == (16, "")


def test_without_any_of_these_files_the_affinity_counts(tmp_path):
    number, reason = machine.default_workers(tmp_path)
    assert (number, reason) == (len(os.sched_getaffinity(0)), "")
