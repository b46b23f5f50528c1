"""A WebSocket with live speech: its messages, its limits and its end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from asr_hlg.errors import AsrHlgError
from asr_hlg.output.transcript import Transcript
from asr_hlg.serve import logs, vosk
from asr_hlg.serve.limits import Refused, bearer, check_origin
from asr_hlg.serve.options import KEY_TIMEOUT, SEND_TIMEOUT
from asr_hlg.serve.service import Service
from asr_hlg.serve.sessions import Session, Stream

_COMPRESSED = b"\x1a\x45\xdf\xa3", b"OggS", b"fLaC", b"ID3"
"""First bytes of WebM, which a browser's MediaRecorder writes, and of other compressed sound."""

_MAX_REASON = 120  # bytes of a WebSocket's reason are at most 123


class _Over(Exception):
    """Error that ends a stream before its client does: a limit, or the stop of the server.

    Parameters
    ----------
    reason : str
        For metrics.
    message : str
        For the client.
    code : int
        With which the WebSocket is closed.
    """

    def __init__(self, reason: str, message: str, code: int):
        super().__init__(message)
        self.reason, self.message, self.code = reason, message, code


async def live(websocket: WebSocket) -> None:
    """Serve one connection until its end, and log and count how it ended."""
    service: Service = websocket.app.state.service
    connection = _Connection(websocket, service)
    began = time.monotonic()
    reason = "error"
    try:
        await websocket.accept()
        service.admit()
        check_origin(websocket.headers, service.options.cors)
        with service.streams.one(), service.metrics.streams.track_inprogress():
            reason = await connection.run()
    except WebSocketDisconnect:
        reason = "disconnect"
    except _Over as over:
        reason = over.reason
        await connection.close(over.code, over.message)
    except Refused as refused:
        reason = refused.code or "bad_message"
        await connection.close(refused.close_code, refused.message)
    except AsrHlgError as error:
        # Of a graph or a model: the remedy is the operator's, and the text may quote phrases.
        reason = type(error).__name__
        await connection.close(1011, str(error))
    except Exception as error:
        logs.failure("stream failed", error)
        await connection.close(1011, "internal error; the log of the server has it")
    finally:
        service.metrics.ended.labels(reason).inc()
        logs.event(
            "stream ended",
            reason=reason,
            seconds=round(time.monotonic() - began, 3),
            sound=round(connection.seconds, 3),
        )


class _Connection:
    """One client's messages and the answers to them."""

    def __init__(self, websocket: WebSocket, service: Service):
        self._websocket, self._service = websocket, service
        self._config = vosk.Config(service.options.sample_rate)
        self._deadline = time.monotonic() + service.options.total_timeout
        self._session: Session | None = None
        self._is_known = False

    @property
    def seconds(self) -> float:
        """Sound so far."""
        return self._session.seconds if self._session else 0.0

    async def run(self) -> str:
        """Answer messages until the eof."""
        self._authenticate(bearer(self._websocket.headers), is_last=False)
        while True:
            try:
                message = await self._receive()
            except _Over:
                if self._session is not None:
                    await self._send(vosk.result([await self._session.final()], self._config))
                raise
            if (sound := message.get("bytes")) is not None:
                await self._answer(sound)
            elif await self._run_command(vosk.command(message.get("text") or "")):
                await self.close(1000, "")
                return "eof"

    def _authenticate(self, key: str | None, is_last: bool = True) -> None:
        """Check a key; without one, the first message may still have it."""
        if not self._is_known and (key is not None or is_last):
            self._service.keys.check(key)
        self._is_known = self._is_known or key is not None or not self._service.keys.are_needed

    async def _receive(self) -> dict[str, Any]:
        """The next message, before a time-out or the end of the server."""
        options = self._service.options
        left = self._deadline - time.monotonic()
        idle = options.idle_timeout if self._is_known else min(KEY_TIMEOUT, options.idle_timeout)
        message = asyncio.ensure_future(self._websocket.receive())
        hurry = asyncio.ensure_future(self._service.hurry.wait())
        try:
            await asyncio.wait(
                (message, hurry),
                timeout=max(0.0, min(left, idle)),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if message.done():
                received: dict[str, Any] = dict(message.result())
                if received["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(received.get("code", 1005))
                return received
            if self._service.hurry.is_set():
                raise _Over("stopping", "the server is stopping", 1001)
            if left <= idle:
                limit = f"{options.total_timeout:g} s, the longest that a stream may last"
                raise _Over("total_timeout", f"ended after {limit}", 1008)
            raise _Over("idle_timeout", f"nothing was received for {idle:g} s", 1008)
        finally:
            message.cancel()
            hurry.cancel()

    async def _run_command(self, command: dict[str, Any]) -> bool:
        """Run the command of a text message; returns whether it was the eof."""
        if "config" in command:
            given = command["config"]
            key = given.get("api_key") if isinstance(given, dict) else None
            self._authenticate(None if key is None else str(key))
            self._config = self._config.updated(given)
            self._service.graphs.name(self._config.model)  # an unknown name is refused at once
            return False
        self._authenticate(None)
        last = Transcript("", "")
        if self._session is not None:
            last = await self._session.final()
            self._session.open_stream = self._opening()  # what was configured since counts now
        await self._send(vosk.result([last], self._config))
        return bool(command.get("eof"))

    async def _answer(self, sound: bytes) -> None:
        """Decode a message of sound and answer it."""
        self._authenticate(None)
        if len(sound) % 2:
            raise Refused("a message of sound must hold whole samples of 16 bits")
        began = time.monotonic()
        if self._session is None:
            if sound.startswith(_COMPRESSED):
                raise Refused("the sound is compressed: send samples of 16 bits")
            # Graph, phrases and hotwords are fixed until a reset, and the rate for good.
            rate = self._config.sample_rate
            self._session = Session(self._service, self._opening(), rate)
        update = await self._session.accept(sound)
        answer = (
            vosk.result(update.finished, self._config)
            if _has_words(update.finished)
            else vosk.partial_result(update.partial, self._config)
        )
        self._service.metrics.reply.observe(time.monotonic() - began)
        await self._send(answer)

    def _opening(self) -> Callable[[], Stream]:
        """Function that opens a stream with what the client has configured."""
        config, rate = self._config, self.rate
        return partial(_open_stream, self._service, replace(config, sample_rate=rate))

    @property
    def rate(self) -> int:
        """Sample rate of the sound."""
        return self._session.sample_rate if self._session else self._config.sample_rate

    async def _send(self, answer: dict[str, Any]) -> None:
        """Send an answer; a client that does not read it in time is cut off."""
        text = json.dumps(answer, ensure_ascii=False)
        try:
            await asyncio.wait_for(self._websocket.send_text(text), SEND_TIMEOUT)
        except asyncio.TimeoutError:
            raise _Over("slow_reader", "answers were not read in time", 1008) from None

    async def close(self, code: int, reason: str) -> None:
        """Close the connection, unless the client has."""
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        text = reason.encode()[:_MAX_REASON].decode(errors="ignore")
        # It may be gone, or its buffers full: the transport is closed all the same.
        with suppress(asyncio.TimeoutError, RuntimeError, WebSocketDisconnect):
            await asyncio.wait_for(self._websocket.close(code, text), 1.0)


def _has_words(segments: Sequence[Transcript]) -> bool:
    """Whether segments are an answer; those without words are not, since Vosk leaves them out."""
    return any(segment.text for segment in segments)


def _open_stream(service: Service, config: vosk.Config) -> Stream:
    """Stream with the graph that a client asks for."""
    name = service.graphs.name(config.model)
    nbest = max(1, config.max_alternatives)
    transcriber = service.graphs.live(name, config.hotwords, config.phrase_list, nbest)
    return transcriber.stream(config.sample_rate)
