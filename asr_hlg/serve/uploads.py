"""Recordings that clients send: received within limits, transcribed piece by piece."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.types import Message

from asr_hlg.audio import Recording
from asr_hlg.output.transcript import Transcript
from asr_hlg.serve.limits import Refused
from asr_hlg.serve.service import Service
from asr_hlg.transcribe import Transcriber
from asr_hlg.transcribe.pieces import cut

_MAX_FIELDS, _MAX_FIELD = 50, 1 << 16
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


@dataclass(frozen=True)
class Upload:
    """A form with a recording.

    Attributes
    ----------
    recording : Recording
        In a temporary file, which is removed with the form.
    fields : FormData
    """

    recording: Recording
    fields: FormData

    def text(self, name: str, default: str = "") -> str:
        """Value of a field."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else default

    def texts(self, name: str) -> list[str]:
        """Values of a field that may occur several times, also with ``[]`` after its name."""
        values = [*self.fields.getlist(name), *self.fields.getlist(f"{name}[]")]
        return [value for value in values if isinstance(value, str)]


@asynccontextmanager
async def received(request: Request, service: Service) -> AsyncIterator[Upload]:
    """The form of a request, with its file written to a temporary one.

    The server's temporary files are in a private folder, see :func:`asr_hlg.serve.server.serve`.

    Raises
    ------
    Refused
        For a body that is too large or comes too slowly, a form without a file, and while all
        places are taken or the server stops.
    """
    service.admit()
    with service.uploads.one():
        limited = Request(request.scope, _Body(request, service))
        async with limited.form(
            max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD
        ) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise Refused("the form has no file", param="file", code="missing_file")
            suffix = Path(file.filename or "").suffix.lower()
            suffix = suffix if _SUFFIX.fullmatch(suffix) else ""
            with tempfile.NamedTemporaryFile(prefix="recording-", suffix=suffix) as stored:
                await service.recording(lambda: shutil.copyfileobj(file.file, stored))
                stored.flush()
                yield Upload(Recording("recording", Path(stored.name)), form)


class _Body:
    """Body of a request, as an ASGI receive function that checks its size and its pace."""

    def __init__(self, request: Request, service: Service):
        self._request = request
        self._limit = int(service.options.max_upload * 1e6)
        self._timeout = service.options.idle_timeout
        self._deadline = time.monotonic() + service.options.total_timeout
        self._size = 0
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limit:
            self._refuse()

    async def __call__(self) -> Message:
        """The next part of the body."""
        try:
            seconds = min(self._timeout, self._deadline - time.monotonic())
            message = await asyncio.wait_for(self._request.receive(), max(0.0, seconds))
        except asyncio.TimeoutError:
            raise Refused("the recording comes too slowly", 408, "timeout") from None
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            self._refuse()
        return message

    def _refuse(self) -> None:
        megabytes = self._limit / 1e6
        raise Refused(
            f"the request has more than {megabytes:g} MB, the limit of this server",
            413,
            "too_large",
            "file",
        )


def pieces(transcriber: Transcriber, recording: Recording) -> Iterator[Transcript]:
    """Transcripts of the pieces of a recording, of at most half a minute each."""
    pipeline = transcriber.pipeline
    for piece in cut(pipeline.source.frames(recording)):
        yield pipeline.transcribe_piece(piece)[1]


async def transcribed(
    request: Request, service: Service, transcriber: Transcriber, recording: Recording
) -> AsyncIterator[Transcript]:
    """Transcripts of the pieces as they are done, while the client waits for them."""
    parts = pieces(transcriber, recording)
    while (part := await service.recording(lambda: next(parts, None))) is not None:
        service.metrics.sound.labels("file").inc(part.duration)
        yield part
        if await request.is_disconnected():
            return
