"""What all connections of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asr_hlg.serve.graphs import Graphs
from asr_hlg.serve.limits import Keys, Refused, Slots
from asr_hlg.serve.metrics import Metrics
from asr_hlg.serve.options import ServeOptions
from asr_hlg.transcribe.machine import num_processors

T = TypeVar("T")


class Service:
    """Options, graphs, limits, metrics and threads of a server.

    Parameters
    ----------
    options : ServeOptions
    graphs : Graphs

    Attributes
    ----------
    streams, uploads : Slots
        Places for live streams and for recordings.
    stopping : bool
        Whether new clients are refused.
    hurry : asyncio.Event
        Set when the streams in flight have to end.
    """

    def __init__(self, options: ServeOptions, graphs: Graphs):
        self.options, self.graphs = options, graphs
        self.keys = Keys(options.api_key_file)
        self.metrics = Metrics()
        self.streams = Slots(options.max_streams, "streams")
        self.uploads = Slots(options.max_uploads, "recordings")
        self.stopping = False
        self.hurry = asyncio.Event()
        number = options.workers or num_processors()
        self._live = ThreadPoolExecutor(number, thread_name_prefix="live")
        # Recordings have threads of their own, so that live speech need not wait for them.
        self._recordings = ThreadPoolExecutor(max(1, number // 2), thread_name_prefix="recording")
        # Changing a graph takes seconds, one at a time: whoever waits holds none of those threads.
        self._changes = ThreadPoolExecutor(
            options.max_streams + options.max_uploads, thread_name_prefix="change"
        )

    def admit(self) -> None:
        """Refuse a new client while the server stops."""
        if self.stopping:
            raise Refused("the server is stopping", 503, "stopping")

    async def live(self, work: Callable[[], T]) -> T:
        """Result of work for a live stream, done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._live, work)

    async def recording(self, work: Callable[[], T]) -> T:
        """Result of work for a recording, done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._recordings, work)

    async def prepare(self, work: Callable[[], T]) -> T:
        """Result of work that may have to change a graph first, done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._changes, work)

    @property
    def in_flight(self) -> int:
        """Number of streams and recordings that are not finished."""
        return self.streams.taken + self.uploads.taken

    def close(self) -> None:
        """End the threads, after the work that they do now."""
        for pool in (self._live, self._recordings, self._changes):
            pool.shutdown(wait=False, cancel_futures=True)
