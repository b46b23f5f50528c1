"""The process of the server: start, signals, and a stop that finishes the streams in flight."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from asr_hlg.errors import OptionError
from asr_hlg.serve import logs
from asr_hlg.serve.app import make_app
from asr_hlg.serve.graphs import Graphs
from asr_hlg.serve.memory import keep_small
from asr_hlg.serve.options import MAX_MESSAGE, ServeOptions
from asr_hlg.serve.service import Service

OnStart = Callable[[str, Callable[[], None]], None]

_FINISHING = 5.0
"""Seconds in which streams that have to end send their last result."""


def serve(
    options: ServeOptions,
    graphs: Graphs | None = None,
    on_start: OnStart = lambda address, stop: None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    After the first signal new clients are refused, and streams in flight may go on for
    ``options.stop_timeout`` seconds; then they are sent their last result. A second signal ends
    them at once.

    Parameters
    ----------
    options : ServeOptions
    graphs : Graphs, optional
        By default those of the options, which are loaded.
    on_start : callable
        Called once the server listens, with the address of the page and a function that does what
        a signal does, for threads that start a server.

    Raises
    ------
    OptionError
        If the address cannot be used, or a file of the options cannot be read.
    """
    listening = _listening(options)
    with listening, _private_temporary_folder():
        service = Service(options, graphs or Graphs(options))
        scheme = "http" if options.tls_certificate is None else "https"
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        server = _Server(_config(options, service), service)
        address = f"{scheme}://{shown}:{port}/"
        server.on_start = lambda: on_start(address, lambda: server.handle_exit(0, None))
        try:
            server.run(sockets=[listening])
        finally:
            service.close()
            logs.event("stopped")


def _listening(options: ServeOptions) -> socket.socket:
    """Socket of the server, which later errors then cannot be about."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise OptionError(
            f"cannot listen on {options.host}, port {options.port}: {reason}",
            remedy="choose others with --host and --port; port 0 is a free one",
        ) from None
    return listening


def _config(options: ServeOptions, service: Service) -> uvicorn.Config:
    tls: dict[str, Any] = {}
    if options.tls_certificate is not None:
        tls = {"ssl_certfile": options.tls_certificate, "ssl_keyfile": options.tls_key}
    config = uvicorn.Config(
        make_app(service),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws_max_size=MAX_MESSAGE,
        # A client that sends faster than it is answered has its pongs behind its sound.
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(_FINISHING),
        **tls,
    )
    try:
        config.load()
    except OSError as error:  # also ssl.SSLError
        raise OptionError(
            f"the TLS files cannot be used: {error.strerror or error}",
            remedy="give a certificate and its key as PEM files",
        ) from None
    return config


@contextmanager
def _private_temporary_folder() -> Iterator[None]:
    """Put all temporary files of the process into a folder that only its user can read."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="asr-hlg-serve-") as folder:
        os.chmod(folder, 0o700)
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


class _Server(uvicorn.Server):
    """uvicorn's server, which lets streams finish before it stops."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service
        self._num_signals = 0
        self.on_start: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log the start."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._tidying = self._loop.create_task(keep_small(self._service))
        logs.event("started", graphs=self._service.graphs.names)
        self.on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT for the time of the block; uvicorn would raise them again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = (signal.SIGTERM, signal.SIGINT)
        before = {each: signal.signal(each, self.handle_exit) for each in handled}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; at a second signal stop at once."""
        self._num_signals += 1
        if self._num_signals > 1:
            self._service.hurry.set()
            self.should_exit = self.force_exit = True
        else:
            self._loop.call_soon_threadsafe(self.begin_to_stop)

    def begin_to_stop(self) -> None:
        """Refuse new clients, and stop once those in flight are done."""
        self._stopping = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        service = self._service
        service.stopping = True
        logs.event("stopping", in_flight=service.in_flight)
        await self._until_idle(service.options.stop_timeout)
        service.hurry.set()
        await self._until_idle(_FINISHING)
        self.should_exit = True

    async def _until_idle(self, seconds: float) -> None:
        """Wait until nothing is in flight, at most so long."""
        end = self._loop.time() + seconds
        while self._service.in_flight and self._loop.time() < end:
            await asyncio.sleep(0.05)
