"""Worker processes that go through a list of tasks, each replaced when it dies, hangs or raises.

>>> def start():  # in each process: load what all tasks need
...     graph = DecodingGraph.load("graphs/en")
...     return (lambda task, report_progress: decode(graph, task)), None
>>> with Supervisor(start, number=2, timeout=60) as supervisor:
...     for task, result in supervisor.run(tasks):
...         ...  # a result, or the AsrHlgError that the task ended in
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from ctypes import c_double
from itertools import islice
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from asr_hlg.errors import AsrHlgError, WorkerError
from asr_hlg.transcribe.options import ReportProgress
from asr_hlg.versions import missing

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Any, ReportProgress], Any]
Start = Callable[[], tuple[Work, Any]]

_MAX_STARTS = 3  # processes in a row that may die while they start


class Supervisor:
    """Runs tasks in worker processes, and replaces a process that dies, hangs or raises.

    The new process repeats the task at which that happened. If it happens again, the task has
    failed. A thread waits for each process.

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

    Raises
    ------
    AsrHlgError
        What ``start`` raised, or that processes die repeatedly while they start.
    """

    def __init__(self, start: Start, number: int, timeout: float):
        self._workers = [_Worker(start, timeout) for _ in range(number)]
        self._open()

    def _open(self) -> None:
        """Start all processes, and wait for the first."""
        self._idle = deque(self._workers)
        for worker in self._workers:
            worker.is_closed = False
        self._pending: dict[Future[Any], Any] = {}  # tasks that have no result yet
        self._threads = ThreadPoolExecutor(len(self._workers), initializer=_block_interrupts)
        starts = [self._threads.submit(self._call, _Worker.start) for _ in self._workers]
        try:
            self.startup_result = next(as_completed(starts)).result()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all processes; tasks in progress are not finished."""
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.stop()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that run now."""
        processes = [worker.context.process for worker in self._workers]
        return [process.pid for process in processes if process is not None and process.pid]

    @property
    def retried(self) -> int:
        """Number of tasks that were tried a second time so far."""
        return sum(worker.num_retried for worker in self._workers)

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any | AsrHlgError]]:
        """Do tasks, which are taken from the iterable as processes become free.

        Yields
        ------
        (task, result or AsrHlgError)
            As they are done; see :func:`results_in_order`.
        """
        if self._pending:  # left over from a run that was abandoned
            self.close()
            self._open()
        pending, remaining = self._pending, iter(tasks)
        while True:
            for task in islice(remaining, len(self._workers) - len(pending)):
                pending[self._threads.submit(self._call, _Worker.do, task)] = task
            if not pending:
                return
            for future in wait(pending, return_when="FIRST_COMPLETED").done:
                yield pending.pop(future), future.result()

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of an idle worker, in one of the threads."""
        worker = self._idle.popleft()  # there is one, since there are as many as threads
        try:
            return method(worker, *arguments)
        finally:
            self._idle.append(worker)


def results_in_order(
    run: Callable[[Iterable[Task]], Iterable[tuple[Task, Result]]], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result]]:
    """Run distinct tasks, and yield the pairs of a task and its result in the order of the tasks.

    Results that wait for an earlier one are kept in memory.
    """
    taken: deque[Task] = deque()
    done: dict[int, tuple[Task, Result]] = {}

    def note() -> Iterator[Task]:
        for task in tasks:
            taken.append(task)
            yield task

    for task, result in run(note()):
        done[id(task)] = task, result
        while taken and id(taken[0]) in done:
            yield done.pop(id(taken.popleft()))


class _Worker:
    """A process that does one task at a time, and is replaced when it dies, hangs or raises.

    One thread at a time calls its methods, except :meth:`close`, which another one may call.

    The process is a pebble pool of size one. In a larger pool all processes share a pipe and its
    locks, which a killed process can leave locked, and an idle process that dies breaks the pool.
    """

    def __init__(self, start: Start, timeout: float):
        self.num_retried = 0
        self.is_closed = False
        self._start, self._timeout = start, timeout
        self._lock = threading.Lock()  # so that no process is started once it is closed
        # Shared memory, to which the process writes when it makes progress.
        self._last_progress: c_double = multiprocessing.RawValue(c_double)
        self.context = _OneProcessContext()
        self._pool: ProcessPool | None = None

    def close(self) -> None:
        """Kill the process and start no other; the thread that waits for it gets an error."""
        with self._lock:
            self.is_closed = True
            self._kill()

    def stop(self) -> None:
        """Kill the process, and end the threads of its pool."""
        self._kill()
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
        self.context, self._pool = _OneProcessContext(), None

    def start(self) -> Any:
        """Start a process in place of the one there was; returns its start-up result."""
        for _ in range(_MAX_STARTS):
            self.stop()
            try:
                return self._call(_run_start, self._start, math.inf)
            except _WorkFailed as error:
                reason = str(error)
        raise WorkerError(
            f"worker processes cannot start: the last one {reason}",
            remedy="often too little memory: try fewer --workers",
        )

    def do(self, task: Any) -> Any | AsrHlgError:
        """Result of a task, or the error that it ended in."""
        for attempt in (1, 2):
            try:
                return self._call(_run_task, task, self._timeout)
            except AsrHlgError as error:
                return error
            except _WorkFailed as error:
                reason = str(error)
            self.num_retried += attempt == 1
            self.start()
        return WorkerError(f"its worker {reason}, for the second time")

    def _call(self, function: Callable[[Any], Any], argument: Any, timeout: float) -> Any:
        """Result of a function in the process; raises AsrHlgError or _WorkFailed."""
        try:
            with self._lock:
                if self.is_closed:
                    raise CancelledError
                if self._pool is None:
                    arguments = (self._last_progress,)
                    self._pool = ProcessPool(1, 0, _initialise, arguments, self.context)
                self._last_progress.value = time.monotonic()
                future = self._pool.schedule(function, (argument,))
            while not future.done():
                seconds = self._last_progress.value + timeout - time.monotonic()
                if seconds <= 0:
                    raise _WorkFailed(f"made no progress for {timeout:g} s")
                wait([future], min(seconds, 1.0))  # no longer, since a test sets the value back
            return future.result()
        except (ProcessExpired, RuntimeError):
            raise _WorkFailed(_cause_of_death(self.context.process)) from None

    def _kill(self) -> None:
        if self.context.process is not None and self.context.process.pid is not None:
            self.context.process.kill()


class _OneProcessContext(SpawnContext):
    """Starts one process for a pool, and none in its place.

    The interpreter is a fresh one: a fork would copy torch's thread pool in an undefined state.
    When pebble cannot replace a process that has ended, the result of the task is an error, also
    if the exit status is 0, which pebble ignores otherwise.
    """

    process: SpawnProcess | None = None

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]
        """Return a new process, the first time."""
        if self.process is not None:
            raise OSError("the process of this pool has ended")
        self.process = SpawnProcess(*args, **kwargs)
        return self.process


def _cause_of_death(process: SpawnProcess | None) -> str:
    status = None if process is None else process.exitcode
    if status is None:
        return "cannot be started, or its result cannot be read"
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"died of {name}" + (", often for want of memory" if name == "SIGKILL" else "")


def _block_interrupts() -> None:
    """Block SIGINT and SIGHUP here and in processes that are started: the main thread handles them.

    A terminal sends both to all processes of a command.
    """
    # multiprocessing's tracker lives as long as the workers; its start would unblock SIGINT.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


# ---------------------------------------------------------------- in a worker process

_work: Work
_last_progress: c_double


class _WorkFailed(Exception):
    """A process died, hung or raised another error than an AsrHlgError: what it did."""


def _initialise(last_progress: c_double) -> None:
    """Prepare a worker process."""
    global _last_progress
    _last_progress = last_progress
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this process when its parent ends, even if that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _run_start(start: Start) -> Any:
    """Load what tasks need; returns the start-up result."""
    global _work
    try:
        with _errors_described():
            _work, startup_result = _with_remedy(start)
    except _WorkFailed as error:
        raise WorkerError(f"a worker cannot start: it {error}") from None
    return startup_result


def _with_remedy(start: Start) -> tuple[Work, Any]:
    """Start; the error for a missing package names the extra of this project that brings it."""
    try:
        return start()
    except ModuleNotFoundError as error:
        raise missing(error, "this") or error from None


def _run_task(task: Any) -> Any:
    """Do a task; returns its result."""
    with _errors_described():
        result = _work(task, _report_progress)
        pickle.dumps(result)  # what cannot be pickled would end the process without a reason
    return result


def _report_progress() -> None:
    _last_progress.value = time.monotonic()


@contextmanager
def _errors_described() -> Iterator[None]:
    """Raise any error but AsrHlgError as _WorkFailed, which can be sent to the parent process."""
    try:
        yield
    except AsrHlgError:
        raise
    except BaseException as error:  # SystemExit, too
        lines = str(error).strip().splitlines()
        name = type(error).__name__
        raise _WorkFailed(f"raised {name}: {lines[-1]}" if lines else f"raised {name}") from None
