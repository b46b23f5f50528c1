"""How a command ends: signals that stop it, and streams that cannot be written any more.

SIGTERM and SIGHUP, which a terminal sends when it closes, stop a command as an error does: worker
processes end, temporary files are removed, a journal is complete up to the last result. Messages to
a terminal that has closed are dropped, so that a command under ``nohup`` goes on.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_CANNOT_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Terminated(SystemExit):
    """A signal has stopped the command; ``code`` is the exit status that shells use, 128 + it."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Terminated` at the first SIGTERM or SIGHUP; later ones are ignored.

    A signal that is ignored already, as SIGHUP under ``nohup``, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number: int, _: object) -> NoReturn:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(128 + number)

    handled = [each for each in _SIGNALS if signal.getsignal(each) == signal.SIG_DFL]
    for each in handled:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)


def leave(status: int) -> NoReturn:
    """End the process without freeing its memory first, which takes 0.1 s for a loaded graph.

    What was registered with `atexit` is done before. While another thread runs, the process ends in
    Python's usual way.
    """
    others = [each for each in threading.enumerate() if each is not threading.current_thread()]
    if any(not each.daemon for each in others):
        sys.exit(status)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or not to be written any more
            stream.flush()
    os._exit(status)


def write_utf8() -> None:
    """Let standard output be UTF-8, as all transcripts are, whatever the locale."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    if encoding != "utf8" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")


@contextmanager
def lost_messages_dropped() -> Iterator[None]:
    """Drop messages that standard error cannot take, instead of raising an OSError."""
    before = sys.stderr
    sys.stderr = _Messages(before)
    try:
        yield
    finally:
        sys.stderr = before


class _Messages:
    """Standard error, of which writing and flushing never fail."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            discard(self._stream)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop what is left in it."""
        try:
            self._stream.flush()
        except OSError:
            discard(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def discard(stream: Any) -> None:
    """Let all further output of a stream vanish, so that Python reports no error at the end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def is_full(error: OSError) -> bool:
    """Whether an error without a file name means that standard output takes no more."""
    return error.filename is None and error.errno in _CANNOT_BE_WRITTEN
