"""Processes that work through a list of tasks, and survive the death of any of them.

    def start():                        # in each process: load what all tasks need
        graph = DecodingGraph.load("graphs/en")
        return (lambda task, alive: decode(graph, task)), None

    with Supervisor(start, number=2, timeout=60) as supervisor:
        for task, result in supervisor.run(tasks):
            ...                         # a result, or the AsrHlgError that it ended in

Every process has a pipe of its own, so that none can take a lock to its grave: the pools of the
standard library break as a whole when one of their processes dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from asr_hlg.errors import AsrHlgError, WorkerError

Alive = Callable[[], None]
Work = Callable[[Any, Alive], Any]
Start = Callable[[], tuple[Work, Any]]

_STARTS = 3  # processes in a row that may die while they start
_AHEAD = 64  # tasks for each process that results in order may wait for

# A fresh interpreter for each: a fork would copy torch's thread pool in mid-flight.
_context = multiprocessing.get_context("spawn")


@dataclass
class _Task:
    number: int
    content: Any
    first: bool = True


class Supervisor:
    """Runs tasks in processes; one that dies, hangs or raises is replaced by a fresh one.

    The task that it was at is tried once more, by the fresh process. Then it counts as failed.

    Parameters
    ----------
    start : callable
        Called without arguments in every process, it returns the function that does a task and
        a greeting. That function is called with a task, and with a function that it may call to
        say that it makes progress. An AsrHlgError that either raises is final, and is not tried
        again. All that goes from process to process is pickled.
    number : int
        Processes at a time.
    timeout : float
        Seconds without progress after which a process is killed.

    Attributes
    ----------
    greeting
        What ``start`` returned beside the function in the first process that was ready.
    retried : int
        Tasks that were tried a second time so far.

    Raises
    ------
    AsrHlgError
        What ``start`` raised, or that its processes die again and again.
    """

    def __init__(self, start: Start, number: int, timeout: float):
        self._start, self._timeout = start, timeout
        self.greeting: Any = None
        self.retried = 0
        self._deaths_at_start = 0
        self._processes: list[_Process] = []
        try:
            for _ in range(number):
                self._processes.append(_Process(start))
            while not any(process.ready for process in self._processes):
                for _ in self._events():
                    pass
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; those at a task do not finish it."""
        for process in self._processes:
            process.end()
        self._processes.clear()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return [process.pid for process in self._processes]

    def run(
        self, tasks: Iterable[Any], in_order: bool = True
    ) -> Iterator[tuple[Any, Any | AsrHlgError]]:
        """Work through tasks, which are taken from the iterable as processes become free.

        Yields
        ------
        (task, result or AsrHlgError)
            In the order of the tasks, or as they are done.
        """
        for i, process in enumerate(self._processes):
            if process.task is not None:  # of a run that was given up
                process.kill()
                self._processes[i] = _Process(self._start)
        numbered = enumerate(tasks)
        done: dict[int, Any] = {}
        next_number = 0
        while True:
            if len(done) < _AHEAD * len(self._processes):
                self._hand_out(numbered)
            if not any(process.task for process in self._processes):
                return
            for task, result in self._events():
                if in_order:
                    done[task.number] = task.content, result
                else:
                    yield task.content, result
            while next_number in done:
                yield done.pop(next_number)
                next_number += 1

    def _hand_out(self, numbered: Iterator[tuple[int, Any]]) -> None:
        """Give every idle process a task, as long as there are any."""
        for process in self._processes:
            if process.task is None:
                item = next(numbered, None)
                if item is None:
                    return
                process.give(_Task(*item), self._timeout)

    def _events(self) -> Iterator[tuple[_Task, Any]]:
        """Wait for news from the processes; yield the tasks that are done, with their results."""
        now = time.monotonic()
        deadlines = [p.deadline for p in self._processes if p.deadline is not None]
        seconds = max(0.0, min(deadlines) - now) if deadlines else None
        connections: list[Any] = [process.connection for process in self._processes]
        readable = wait(connections, seconds)
        for i, process in enumerate(self._processes):
            if process.connection in readable:
                try:
                    kind, content = process.connection.recv()
                except (EOFError, OSError):
                    yield from self._replace(i, process.cause_of_death())
                else:
                    yield from self._take(i, kind, content)
            elif process.deadline is not None and process.deadline <= time.monotonic():
                yield from self._replace(i, f"made no progress for {self._timeout:g} s")

    def _take(self, i: int, kind: str, content: Any) -> Iterator[tuple[_Task, Any]]:
        """Act on a message of process ``i``."""
        process = self._processes[i]
        if kind == "unable":
            raise content
        if kind == "ready":
            process.ready, self._deaths_at_start = True, 0
            self.greeting = self.greeting if self.greeting is not None else content
        if kind in ("ready", "alive"):
            process.extend(self._timeout)
        elif kind == "broken":
            yield from self._replace(i, content)
        elif kind == "done":
            task = process.task
            assert task is not None
            process.task = process.deadline = None
            yield task, content

    def _replace(self, i: int, reason: str) -> Iterator[tuple[_Task, Any]]:
        """Put a fresh process in the place of process ``i``, and let it try the task again."""
        old = self._processes[i]
        old.kill()
        task = old.task
        if not old.ready:
            self._deaths_at_start += 1
            if self._deaths_at_start >= _STARTS:
                raise WorkerError(
                    f"worker processes cannot start: the last one {reason}",
                    remedy="often too little memory: try fewer --workers",
                )
        self._processes[i] = fresh = _Process(self._start)
        if task is None:
            return
        if not old.ready:  # not the task's fault
            fresh.give(task, self._timeout)
        elif task.first:
            self.retried += 1
            fresh.give(_Task(task.number, task.content, first=False), self._timeout)
        else:
            yield task, WorkerError(f"its worker {reason}, for the second time")


class _Process:
    """A process, our end of its pipe, and what it is at."""

    def __init__(self, start: Start):
        self.connection, theirs = _context.Pipe()
        self._process = _context.Process(target=_main, args=(start, theirs), daemon=True)
        with _without_interrupts():
            self._process.start()
        theirs.close()  # so that the pipe ends with the process
        self.ready = False
        self.task: _Task | None = None
        self.deadline: float | None = None

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def give(self, task: _Task, timeout: float) -> None:
        """Send a task; a process that still starts finds it in its pipe."""
        self.task = task
        with contextlib.suppress(OSError):  # it has died; the next look at its pipe says so
            self.connection.send(task.content)
        if self.ready:
            self.extend(timeout)

    def extend(self, timeout: float) -> None:
        """Count the time anew, if there is a task."""
        self.deadline = None if self.task is None else time.monotonic() + timeout

    def cause_of_death(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"ended with status {code}"
        name = signal.Signals(-code).name
        return f"died of {name}" + (", often for want of memory" if name == "SIGKILL" else "")

    def end(self) -> None:
        """Let an idle process end by itself, and kill any other."""
        if self.ready and self.task is None:
            self.connection.close()
            self._process.join(2)
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that are started here never hear of Ctrl-C: their parent decides when to stop."""
    resource_tracker.ensure_running()  # its start would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _main(start: Start, connection: Connection) -> None:
    """A process's whole life."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work, greeting = start()
    except AsrHlgError as error:
        connection.send(("unable", error))
        return
    except Exception as error:
        connection.send(("unable", WorkerError(f"a worker cannot start: {_described(error)}")))
        return
    connection.send(("ready", greeting))
    # A pipe without another end: nobody is there any more.
    with contextlib.suppress(EOFError, BrokenPipeError):
        while _do(work, connection.recv(), connection):
            pass
    os._exit(0)  # the interpreter would take half a second to tear torch down


def _do(work: Work, task: Any, connection: Connection) -> bool:
    """Do one task; returns whether this process is fit for another."""
    try:
        try:
            result = work(task, lambda: connection.send(("alive", None)))
        except AsrHlgError as error:
            result = error
        connection.send(("done", result))
        return True
    except BrokenPipeError:
        raise
    except Exception as error:
        connection.send(("broken", f"raised {_described(error)}"))
        return False


def _end_with_parent() -> None:
    """A parent that was killed cannot end us: do not go on with work that nobody waits for."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _described(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
