"""Compiled code that a signal may interrupt."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from asr_hlg.threads import interruptible


class Stopped(Exception):
    pass


def test_results_and_errors_are_those_of_the_function():
    assert interruptible(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        interruptible(divmod, 7, 0)


def test_a_signal_ends_the_wait_while_the_function_goes_on():
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        release.wait()
        ended.set()

    def stop(number: int, frame: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Stopped):
            interruptible(work)
        assert not ended.is_set()
    finally:
        release.set()
        signal.signal(signal.SIGUSR1, before)
    assert ended.wait(60)
