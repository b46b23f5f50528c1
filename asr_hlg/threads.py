"""Number of threads that networks and searches use, without importing torch to know it."""

from __future__ import annotations

import os
import sys
from typing import Any

_number: int | None = None


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
