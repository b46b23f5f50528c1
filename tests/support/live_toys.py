"""A recogniser of toy speech, for tests of the server, and a server in a thread.

Toy speech at 1000 Hz: a tenth of a second with samples of value n is the n-th of `WORDS`; zeros end
a segment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from asr_hlg.output.transcript import Alternative, Transcript, Word
from asr_hlg.serve.limits import Refused
from asr_hlg.serve.options import ServeOptions
from asr_hlg.serve.server import serve

RATE = 1000
FRAME = RATE // 10
WORDS = ["", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def spoken(text: str) -> bytes:
    """Toy speech of words; ``.`` ends a segment."""
    values = [0 if word == "." else WORDS.index(word) for word in text.split()]
    return np.repeat(np.array(values, "<i2"), FRAME).tobytes()


class ToyStream:
    """Recognises toy speech frame by frame."""

    def __init__(self, rate: int, nbest: int = 1, only: Sequence[str] = ()):
        assert rate == RATE, rate
        self._nbest, self._only = nbest, only
        self._waiting = np.zeros(0, np.int16)
        self._words: list[Word] = []
        self._frames = 0
        self.is_open = True

    def accept(self, samples):
        assert self.is_open
        self._waiting = np.concatenate([self._waiting, samples])
        finished = []
        while len(self._waiting) >= FRAME:
            value, self._waiting = int(self._waiting[0]), self._waiting[FRAME:]
            if value == 999:
                raise RuntimeError("toy failure with secret words")
            if value == 0 and self._words:
                finished.append(self._segment())
            word = WORDS[value]
            if value and (not self._only or word in self._only):
                begin = self._frames / 10
                self._words.append(Word(word, begin, begin + 0.1, 0.875))
            self._frames += 1
        return finished

    def partial(self):
        return self._transcript(self._words)

    def final(self):
        self.is_open = False
        return self._segment()

    def _segment(self):
        words, self._words = self._words, []
        return self._transcript(words)

    def _transcript(self, words):
        text = " ".join(word.text for word in words)
        best = Alternative(text, -1.0, -0.5, -0.5)
        shorter = Alternative(text.partition(" ")[2], -2.0, -1.0, -1.0)
        alternatives = [best, shorter][: self._nbest] if self._nbest > 1 and text else []
        return Transcript("", text, list(words), -1.0, 0.1 * len(words), alternatives)


class ToyGraphs:
    """Stands in for `asr_hlg.serve.graphs.Graphs`."""

    names = ("toy", "other")

    def __init__(self):
        self.asked: list[tuple] = []

    def name(self, given):
        if given is None or given in self.names:
            return given or "toy"
        raise Refused("there is no graph of this name here; known: toy", 404, "model_not_found")

    def live(self, name, hotwords=(), phrases=(), nbest=1):
        self.asked.append((name, hotwords, phrases, nbest))
        return SimpleNamespace(stream=lambda rate: ToyStream(rate, nbest, phrases))

    def folder(self, name):
        return Path(name)


@contextmanager
def running(graphs=None, **options) -> Iterator[SimpleNamespace]:
    """A server on a free port of this machine, in a thread.

    The object has ``http`` and ``ws``, its addresses, ``stop``, and ``thread``.
    """
    started = threading.Event()
    found = SimpleNamespace(graphs=graphs or ToyGraphs(), error=None)

    def on_start(address, stop):
        found.http, found.ws, found.stop = address, address.replace("http", "ws", 1), stop
        started.set()

    def work():
        try:
            serve(ServeOptions(port=0, **options), found.graphs, on_start)
        except BaseException as error:
            found.error = error
        finally:
            started.set()

    found.thread = threading.Thread(target=work)
    found.thread.start()
    started.wait()
    if found.error is not None:
        found.thread.join()
        raise found.error
    try:
        yield found
    finally:
        found.stop()
        found.stop()
        found.thread.join()
