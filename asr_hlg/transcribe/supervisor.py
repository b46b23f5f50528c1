"""Worker processes that go through a list of tasks, each replaced when it dies, hangs or raises.

    def start():                        # in each process: load what all tasks need
        graph = DecodingGraph.load("graphs/en")
        return (lambda task, report_progress: decode(graph, task)), None

    with Supervisor(start, number=2, timeout=60) as supervisor:
        for task, result in supervisor.run(tasks):
            ...                         # a result, or the AsrHlgError that the task ended in

Every process is a pebble pool of size one. In a larger pool all processes share a pipe and its
locks, which a killed process can leave locked, and an idle process that dies breaks the pool.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_double
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from typing import Any

from pebble import ProcessExpired, ProcessPool

from asr_hlg.errors import AsrHlgError, WorkerError
from asr_hlg.transcribe.options import ReportProgress

Work = Callable[[Any, ReportProgress], Any]
Start = Callable[[], tuple[Work, Any]]

_MAX_FAILED_STARTS = 3  # processes in a row that may die while they start
_MAX_UNORDERED = 64  # results for each process that may wait for an earlier one

# A fresh interpreter for each: a fork would copy torch's thread pool in an undefined state.
_context = multiprocessing.get_context("spawn")


@dataclass
class _Task:
    number: int
    content: Any
    is_retry: bool = False


@dataclass
class _Exception:
    """Description of an exception, other than an AsrHlgError, that was raised in a worker."""

    description: str


class Supervisor:
    """Runs tasks in worker processes, and replaces a process that dies, hangs or raises.

    The new process repeats the task at which that happened. If it happens again, the task has
    failed.

    Parameters
    ----------
    start : callable
        Called without arguments in every process. Returns the function that does a task, and a
        result for :attr:`startup_result`. That function is called with a task and with a function
        without arguments that reports progress. An AsrHlgError that either raises is final: it is
        not tried again. All that goes from process to process is pickled.
    number : int
        Number of processes.
    timeout : float
        Seconds without progress after which a process is killed.

    Attributes
    ----------
    startup_result
        What ``start`` returned beside the function in the first process that was ready.
    retried : int
        Number of tasks that were tried a second time so far.

    Raises
    ------
    AsrHlgError
        What ``start`` raised, or that processes die repeatedly while they start.
    """

    def __init__(self, start: Start, number: int, timeout: float):
        self._start, self._timeout = start, timeout
        self.startup_result: Any = None
        self.retried = 0
        self._failed_starts = 0
        self._workers: list[_Worker] = []
        try:
            for _ in range(number):
                self._workers.append(_Worker(start))
            while not any(worker.is_ready for worker in self._workers):
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
        """Kill all processes; tasks in progress are not finished."""
        _kill(self._workers)
        self._workers.clear()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that run now."""
        return [worker.pid for worker in self._workers]

    def run(
        self, tasks: Iterable[Any], in_order: bool = True
    ) -> Iterator[tuple[Any, Any | AsrHlgError]]:
        """Do tasks, which are taken from the iterable as processes become free.

        Yields
        ------
        (task, result or AsrHlgError)
            In the order of the tasks, or as they are done.
        """
        for i, worker in enumerate(self._workers):
            if worker.task is not None:  # left over from a run that was abandoned
                self._restart(i)
        numbered = enumerate(tasks)
        done: dict[int, tuple[Any, Any]] = {}
        next_number = 0
        while True:
            if len(done) < _MAX_UNORDERED * len(self._workers):
                self._assign(numbered)
            if not any(worker.task for worker in self._workers):
                return
            for task, result in self._events():
                if in_order:
                    done[task.number] = task.content, result
                else:
                    yield task.content, result
            while next_number in done:
                yield done.pop(next_number)
                next_number += 1

    def _assign(self, numbered: Iterator[tuple[int, Any]]) -> None:
        """Give every idle process a task, as long as there are any."""
        for worker in self._workers:
            if worker.task is None:
                item = next(numbered, None)
                if item is None:
                    return
                worker.assign(_Task(*item))

    def _events(self) -> Iterator[tuple[_Task, Any]]:
        """Wait for an event in any process; yield the tasks that are done, with their results."""
        deadline = min(worker.last_progress for worker in self._workers) + self._timeout
        seconds = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
        wait([w.future for w in self._workers if w.future], seconds, FIRST_COMPLETED)
        for i, worker in enumerate(self._workers):
            if worker.future is not None and worker.future.done():
                try:
                    result = worker.result()
                except ProcessExpired as error:
                    yield from self._replace(i, _cause_of_death(error.exitcode))
                except (BrokenProcessPool, RuntimeError):
                    yield from self._replace(i, "died before the task began")
                else:
                    yield from self._handle(i, result)
            elif worker.last_progress + self._timeout <= time.monotonic():
                yield from self._replace(i, f"made no progress for {self._timeout:g} s")

    def _handle(self, i: int, result: Any) -> Iterator[tuple[_Task, Any]]:
        """Act on what process ``i`` returned, from its start or from a task."""
        worker = self._workers[i]
        if worker.is_ready and isinstance(result, _Exception):
            yield from self._replace(i, f"raised {result.description}")
        elif worker.is_ready:
            task, worker.task = worker.task, None
            assert task is not None
            yield task, result
        elif isinstance(result, _Exception):
            raise WorkerError(f"a worker cannot start: {result.description}")
        elif isinstance(result, AsrHlgError):
            raise result
        else:
            self._failed_starts = 0
            if self.startup_result is None:
                self.startup_result = result
            worker.begin()

    def _replace(self, i: int, reason: str) -> Iterator[tuple[_Task, Any]]:
        """Start a new process in place of process ``i``, and let it repeat the task."""
        old = self._workers[i]
        if not old.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise WorkerError(
                    f"worker processes cannot start: the last one {reason}",
                    remedy="often too little memory: try fewer --workers",
                )
        new = self._restart(i)
        task = old.task
        if task is None:
            return
        if not old.is_ready:  # the task had not begun
            new.assign(task)
        elif not task.is_retry:
            self.retried += 1
            new.assign(_Task(task.number, task.content, is_retry=True))
        else:
            yield task, WorkerError(f"its worker {reason}, for the second time")

    def _restart(self, i: int) -> _Worker:
        """Kill process ``i`` and start a new one in its place."""
        _kill([self._workers[i]])
        self._workers[i] = _Worker(self._start)
        return self._workers[i]


class _Worker:
    """A process, that is a pebble pool of size one, and its task.

    Attributes
    ----------
    pid : int
    is_ready : bool
        Whether it has started.
    task : _Task or None
        Runs as soon as the process is ready.
    future : Future or None
        Result of the start or of the task, whichever runs now.
    """

    def __init__(self, start: Start):
        self.is_ready = False
        self.task: _Task | None = None
        # Shared memory, to which the process writes when it makes progress.
        self._last_progress: c_double = _context.RawValue(c_double, math.inf)
        self.pool = ProcessPool(
            1, initializer=_initialise, initargs=(self._last_progress,), context=_context
        )
        before = {process.pid for process in multiprocessing.active_children()}
        with _interrupts_blocked():
            self.future: Future[Any] | None = self.pool.schedule(_run_start, (start,))
        processes = {process.pid for process in multiprocessing.active_children()}
        self.pid: int = max(pid for pid in processes - before if pid is not None)

    @property
    def last_progress(self) -> float:
        """Time at which the task began or last reported progress; infinity without a task."""
        return self._last_progress.value

    def assign(self, task: _Task) -> None:
        """Give it a task, which begins when the process is ready."""
        self.task = task
        if self.is_ready:
            self.begin()

    def begin(self) -> None:
        """Send the task, if there is one, to the process, which is ready."""
        self.is_ready = True
        if self.task is not None:
            self._last_progress.value = time.monotonic()
            try:
                self.future = self.pool.schedule(_run_task, (self.task.content,))
            except RuntimeError as error:  # the process has died while it was idle
                self.future = Future()
                self.future.set_exception(error)

    def result(self) -> Any:
        """Result of the future, which is done; clears it."""
        assert self.future is not None
        future, self.future = self.future, None
        self._last_progress.value = math.inf
        return future.result()


def _kill(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.pool.stop()  # type: ignore[no-untyped-call]
    for worker in workers:
        worker.pool.join()


def _cause_of_death(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"died of {name}" + (", often for want of memory" if name == "SIGKILL" else "")


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in processes and threads started here: the main process decides when to stop."""
    resource_tracker.ensure_running()  # its start would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------- in a worker process

_work: Work
_progress: c_double


def _initialise(progress: c_double) -> None:
    """Prepare a worker process."""
    global _progress
    _progress = progress
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # dies at once, also in compiled code
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this process when its parent ends, even if that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _run_start(start: Start) -> Any:
    """Load what tasks need; returns the start-up result, or what was raised."""

    def load() -> Any:
        global _work
        _work, startup_result = start()
        return startup_result

    return _result_or_exception(load)


def _run_task(task: Any) -> Any:
    """Do a task; returns its result, or what was raised."""
    return _result_or_exception(lambda: _work(task, _report_progress))


def _report_progress() -> None:
    _progress.value = time.monotonic()


def _result_or_exception(function: Callable[[], Any]) -> Any:
    try:
        result = function()
        pickle.dumps(result)  # what cannot be pickled would end the process without a reason
    except AsrHlgError as error:
        return error
    except Exception as error:
        lines = str(error).strip().splitlines()
        name = type(error).__name__
        return _Exception(f"{name}: {lines[-1]}" if lines else name)
    return result
