"""Processes that die, hang, raise or never start: no task is lost, none done twice."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from asr_hlg.errors import AsrHlgError, AudioError, WorkerError
from asr_hlg.transcribe import supervisor as supervision
from asr_hlg.transcribe.supervisor import Supervisor, results_in_order


def start(folder: Path | None = None):
    """A worker that does what its task says; with a folder, some of it the first time only."""
    return partial(work, folder), "hello"


def work(folder, task, report_progress):
    what = task[0]
    if folder is not None and what != "slow":
        marker = folder / str(task[1])
        if marker.exists():
            return f"done at last: {task[1]}"
        marker.touch()
    if what in ("slow", "late"):
        for _ in range(8):
            time.sleep(0.25)
            report_progress()
            supervision._last_progress.value -= 290 if what == "late" else 0
    elif what == "unpicklable":
        return lambda: None
    elif what != "ok":
        fail_as[what]()
    return task[1], os.getpid()


def divide_by_zero():
    raise ZeroDivisionError("what a model may raise")


def refuse_recording():
    raise AudioError("empty", path="a.wav")


def hang():
    """Hang; the time of the last progress is so long ago that the time limit is exceeded."""
    supervision._last_progress.value -= 600
    time.sleep(600)


fail_as = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(3),
    "status 0": lambda: os._exit(0),
    "exit without status": sys.exit,
    "hang": hang,
    "sleep": lambda: time.sleep(600),
    "raise": divide_by_zero,
    "refuse": refuse_recording,
}


def die():
    os._exit(1)


def refuse():
    raise AudioError("no such graph")


def fail():
    raise KeyError("graph")


def test_results_come_in_the_order_of_the_tasks():
    tasks = [("slow" if i == 0 else "ok", i) for i in range(200)]
    with Supervisor(start, 2, timeout=60) as supervisor:
        assert supervisor.startup_result == "hello"
        found = list(results_in_order(supervisor.run, iter(tasks)))
        unordered = list(supervisor.run(tasks[:20]))
    assert [task for task, _ in found] == tasks
    assert [result[0] for _, result in found] == list(range(200))
    assert len({result[1] for _, result in found}) == 2  # both took part
    assert sorted(task[1] for task, _ in unordered) == list(range(20))
    assert unordered[0][0] != ("slow", 0)


FAULTS = {
    "segfault": "died of SIGSEGV",
    "exit": "ended with status 3",
    "status 0": "ended with status 0",
    "exit without status": "raised SystemExit",
    "hang": "made no progress for 300 s",
    "raise": "raised ZeroDivisionError: what a model may raise",
    "unpicklable": "raised",
}


def test_what_fails_twice_is_reported_and_the_others_go_on():
    tasks = [("ok", 0), *((fault, fault) for fault in FAULTS), ("refuse", 9), ("ok", 10)]
    with Supervisor(start, 2, timeout=300) as supervisor:
        found = dict(results_in_order(supervisor.run, tasks))
        assert supervisor.retried == len(FAULTS)
        assert len(supervisor.pids) == 2
    assert list(found) == tasks
    for fault, reason in FAULTS.items():
        assert isinstance(found[fault, fault], WorkerError)
        assert reason in str(found[fault, fault])
        assert "second time" in str(found[fault, fault])
    assert isinstance(found["refuse", 9], AudioError)  # final at once, with its place
    assert found["refuse", 9].path == "a.wav"
    assert found["ok", 0][0] == 0
    assert found["ok", 10][0] == 10


def test_what_fails_once_is_done_by_a_fresh_process(tmp_path):
    tasks = [(fault, fault) for fault in FAULTS]
    with Supervisor(partial(start, tmp_path), 2, timeout=300) as supervisor:
        found = [result for _, result in results_in_order(supervisor.run, tasks)]
    assert found == [f"done at last: {fault}" for fault in FAULTS]


def test_progress_extends_the_time():
    with Supervisor(start, 1, timeout=300) as supervisor:
        [(_, result)] = supervisor.run([("late", 1)])
        assert result[0] == 1  # without its progress it would have exceeded the time
        assert supervisor.retried == 0


def test_a_process_without_progress_is_replaced_when_its_time_is_over():
    with Supervisor(start, 1, timeout=1.5) as supervisor:
        begin = time.monotonic()
        [(_, result)] = supervisor.run([("sleep", 1)])
        assert time.monotonic() - begin >= 3  # two attempts
    assert "made no progress for 1.5 s, for the second time" in str(result)


def test_idle_processes_that_are_killed_are_replaced():
    with Supervisor(start, 2, timeout=60) as supervisor:
        list(supervisor.run([("ok", i) for i in range(4)]))
        for pid in supervisor.pids:
            os.kill(pid, signal.SIGKILL)
        found = [
            result[0]
            for _, result in results_in_order(supervisor.run, [("ok", i) for i in range(10)])
        ]
    assert found == list(range(10))


def test_a_run_that_is_given_up_leaves_nothing_to_the_next():
    with Supervisor(start, 2, timeout=60) as supervisor:
        for _ in supervisor.run([("ok", 0), ("hang", 1), ("hang", 2)]):
            break
        assert [
            result[0] for _, result in results_in_order(supervisor.run, [("ok", 3), ("ok", 4)])
        ] == [3, 4]


def test_processes_that_cannot_start_are_an_error():
    with pytest.raises(AudioError, match="no such graph"):
        Supervisor(refuse, 2, timeout=60)
    with pytest.raises(AsrHlgError, match="KeyError: 'graph'"):
        Supervisor(fail, 2, timeout=60)
    with pytest.raises(WorkerError, match=r"cannot start.*ended with status 1"):
        Supervisor(die, 2, timeout=60)


def test_no_process_can_be_made(monkeypatch):
    """As where a container limits their number."""

    def fail(process):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(SpawnProcess, "start", fail)
    with pytest.raises(WorkerError, match=r"cannot start.*cannot be started"):
        Supervisor(start, 1, timeout=60)


def test_processes_do_not_hear_of_ctrl_c():
    """Neither while they start nor at work; their parent hears of it as ever."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Supervisor(start, 2, timeout=60) as supervisor:
            for _ in range(10):
                for pid in supervisor.pids:
                    os.kill(pid, signal.SIGINT)
                time.sleep(0.02)
            found = list(results_in_order(supervisor.run, [("ok", i) for i in range(20)]))
            assert supervisor.retried == 0
        assert [result[0] for _, result in found] == list(range(20))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_tasks_are_taken_as_they_are_needed():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield ("ok", taken)

    with Supervisor(start, 2, timeout=60) as supervisor:
        for number, _ in enumerate(results_in_order(supervisor.run, endless())):
            if number == 5:
                break
    assert taken < 200  # the second process may be ready long before the first


def test_processes_end_with_their_parent():
    """Nobody waits for the work of one whose parent was killed."""
    parent = os.fork()
    if parent == 0:  # keeps two busy until it is killed
        with Supervisor(start, 2, timeout=600) as supervisor:
            list(supervisor.run([("hang", 1), ("hang", 2)]))
        os._exit(0)
    children = []
    while len(children) < 2:
        time.sleep(0.1)
        lists = Path(f"/proc/{parent}/task").glob("*/children")  # of each thread
        listed = " ".join(path.read_text() for path in lists).split()
        children = [pid for pid in listed if "spawn_main" in command(pid)]
    time.sleep(1.0)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 300
    while any("spawn_main" in command(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
