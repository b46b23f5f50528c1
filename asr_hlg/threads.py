"""Threads: how many compute, one for compiled code that takes long, and which must wait."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

_number: int | None = None

cuda_capture = threading.Lock()
"""Held to capture a CUDA graph, and to allocate in another thread, which would end a capture."""


def number() -> int:
    """Threads that this process may compute with.

    torch's number where torch is loaded, else what :func:`limit` has set, else ``OMP_NUM_THREADS``
    or the number of cores that the process may run on.
    """
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "get_num_threads"):  # not while another thread is still importing it
        return int(torch.get_num_threads())
    if _number is not None:
        return _number
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def limit(threads: int) -> None:
    """Use so many threads from now on, in torch, too, whether or not it is loaded yet."""
    global _number
    _number = threads
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def interruptible(function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of a function that numba has compiled, called in a thread of its own.

    Signals are handled in the main thread only. Where a handler raises, as for Ctrl-C and SIGTERM,
    while compiled code makes the arrays that it returns, numba ends the process with a segmentation
    fault. Here the main thread waits, and the exception leaves the function to its thread, which
    ends with the process. Exceptions of the function are raised.
    """
    results: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function(*arguments))
        except BaseException as error:  # is raised in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
