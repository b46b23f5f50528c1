"""OpenAI's HTTP API for transcriptions: ``POST /v1/audio/transcriptions``, ``GET /v1/models``.

Fields of a transcription's form:

==============================  ====================================================================
``file``                        a recording, as ``asr-hlg transcribe`` reads it
``model``                       the name of a graph; ``whisper-1`` and OpenAI's other names are the
                                first graph
``prompt``                      phrases that are made more probable, parted by commas, full stops or
                                line ends; longer ones than eight words are taken for prose
``response_format``             ``json``, ``text``, ``srt``, ``vtt`` or ``verbose_json``
``timestamp_granularities[]``   ``segment`` (the default) and ``word``, in ``verbose_json``
``stream``                      ``true``: server-sent events, one for each piece that is done
==============================  ====================================================================

``language`` is repeated in the answer; ``temperature`` and other fields have no meaning here.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from asr_hlg.errors import AsrHlgError
from asr_hlg.output.formats import FORMATS
from asr_hlg.output.subtitles import cues
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.serve import logs
from asr_hlg.serve.graphs import MAX_PHRASE, MAX_PHRASES, Phrases, checked_phrases
from asr_hlg.serve.limits import Refused
from asr_hlg.serve.service import Service
from asr_hlg.serve.uploads import Upload, received, transcribed
from asr_hlg.transcribe import Transcriber
from asr_hlg.transcribe.transcript import join

RESPONSE_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")

_MAX_WORDS = 8  # of a phrase in a prompt
_PARTED = re.compile(r"[,;.!?\n]+")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_STARTED = int(time.time())


def error_body(error: AsrHlgError, status: int = 400) -> dict[str, Any]:
    """An error in OpenAI's format."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    message = f"{error.message} ({error.remedy})" if error.remedy else error.message
    param, code = getattr(error, "param", None), getattr(error, "code", None) or None
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def models(request: Request) -> Response:
    """``GET /v1/models``: the graphs."""
    service: Service = request.app.state.service
    return JSONResponse({"object": "list", "data": [_model(name) for name in service.graphs.names]})


async def model(request: Request) -> Response:
    """``GET /v1/models/NAME``: one graph."""
    service: Service = request.app.state.service
    return JSONResponse(_model(service.graphs.name(request.path_params["name"])))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "asr-hlg"}


async def transcriptions(request: Request) -> Response:
    """``POST /v1/audio/transcriptions``: the transcript of a recording."""
    service: Service = request.app.state.service
    async with AsyncExitStack() as stack:
        upload = await stack.enter_async_context(received(request, service))
        response_format = _response_format(upload)
        granularities = _granularities(upload)
        transcriber = await _transcriber(service, upload)
        if upload.text("stream").lower() in ("true", "1"):
            events = _events(request, service, transcriber, upload)
            return _Events(events, stack.pop_all(), service.options.total_timeout)
        async with _logged("recording transcribed") as fields:
            parts = [
                part async for part in transcribed(request, service, transcriber, upload.recording)
            ]
            fields["sound"] = round(sum(part.duration for part in parts), 3)
        transcript = join("recording", parts, upload.recording.notes)
        language = upload.text("language") or "english"
        return _response(transcript, response_format, granularities, language)


def _response_format(upload: Upload) -> str:
    name = upload.text("response_format") or "json"
    if name not in RESPONSE_FORMATS:
        known = ", ".join(RESPONSE_FORMATS)
        raise Refused(f"response_format must be one of {known}", param="response_format")
    return name


def _granularities(upload: Upload) -> set[str]:
    given = set(upload.texts("timestamp_granularities")) or {"segment"}
    if not given <= {"segment", "word"}:
        raise Refused(
            "timestamp_granularities are word and segment", param="timestamp_granularities"
        )
    return given


async def _transcriber(service: Service, upload: Upload) -> Transcriber:
    """Transcriber for the graph and the prompt of a form."""
    name = service.graphs.name(upload.text("model") or None)
    hotwords = phrases_of(upload.text("prompt"))
    return await service.prepare(lambda: service.graphs.recordings(name, hotwords))


def phrases_of(prompt: str) -> Phrases:
    """Phrases of a prompt; whole sentences of prose are left out."""
    parts = [" ".join(part.replace('"', " ").split()) for part in _PARTED.split(prompt)]
    short = [p for p in parts if len(p.split()) <= _MAX_WORDS and len(p) <= MAX_PHRASE]
    return checked_phrases(short[:MAX_PHRASES], "prompt")


def _response(
    transcript: Transcript, response_format: str, granularities: set[str], language: str
) -> Response:
    """A transcript in one of the response formats."""
    text = transcript.written_text or transcript.text
    if response_format == "text":
        return PlainTextResponse(text + "\n")
    if response_format in ("srt", "vtt"):
        written = FORMATS[response_format]
        kind = "text/vtt" if response_format == "vtt" else "application/x-subrip"
        return Response(written.header + written.render(transcript), media_type=kind)
    usage = {"type": "duration", "seconds": math.ceil(transcript.duration)}
    if response_format == "json":
        return JSONResponse({"text": text, "usage": usage})
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": language,
        "duration": round(transcript.duration, 3),
        "text": text,
        "usage": usage,
    }
    words = transcript.written or transcript.words
    if "word" in granularities:
        answer["words"] = [_word(word) for word in words]
    if "segment" in granularities:
        answer["segments"] = _segments(words, transcript.duration)
    return JSONResponse(answer)


def _word(word: Word) -> dict[str, Any]:
    """A word, with its confidence besides OpenAI's fields."""
    return {
        "word": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }


def _segments(words: list[Word], duration: float) -> list[dict[str, Any]]:
    """Segments as subtitles would show them.

    ``avg_logprob`` is the mean log-probability of the words. Fields that belong to Whisper's way of
    decoding (``seek``, ``tokens``, ``temperature``, ``no_speech_prob``) are empty or 0.
    """
    segments = []
    for number, cue in enumerate(cues(words, duration)):
        inside = [word for line in cue.lines for word in line]
        text = " ".join(word.text for word in inside)
        logs_of_words = [math.log(max(word.confidence, 1e-6)) for word in inside]
        segments.append(
            {
                "id": number,
                "seek": 0,
                "start": round(cue.start, 3),
                "end": round(cue.end, 3),
                "text": text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": round(sum(logs_of_words) / len(logs_of_words), 4),
                "compression_ratio": round(
                    len(text.encode()) / len(zlib.compress(text.encode())), 4
                ),
                "no_speech_prob": 0.0,
            }
        )
    return segments


async def _events(
    request: Request, service: Service, transcriber: Transcriber, upload: Upload
) -> AsyncIterator[bytes]:
    """Events of a transcription: the text of each piece, and the whole text.

    Besides OpenAI's fields, an event has the words of its piece with times and confidences, the end
    of the piece, and the length of the recording if its header has it, in seconds.
    """
    texts: list[str] = []
    done = 0.0
    expected = await service.recording(upload.recording.expected_duration)
    try:
        async with _logged("recording transcribed") as fields:
            async for part in transcribed(request, service, transcriber, upload.recording):
                done += part.duration
                fields["sound"] = round(done, 3)
                text = part.written_text or part.text
                delta = f" {text}" if texts and text else text
                texts += [text] if text else []
                yield _event(
                    "transcript.text.delta",
                    delta=delta,
                    words=[_word(word) for word in part.words],
                    end=round(done, 3),
                    duration=round(max(done, expected), 3),
                )
    except AsrHlgError as error:
        yield _event("error", **error_body(error))
        return
    usage = {"type": "duration", "seconds": math.ceil(done)}
    yield _event("transcript.text.done", text=" ".join(texts), usage=usage)


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"data: {data}\n\n".encode()


class _Events(StreamingResponse):
    """Server-sent events; releases what the request holds when they have ended in any way.

    A client that has not read them after ``timeout`` seconds is cut off.
    """

    def __init__(self, events: AsyncIterator[bytes], held: AsyncExitStack, timeout: float):
        super().__init__(events, media_type="text/event-stream")
        self._held, self._timeout = held, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await asyncio.wait_for(super().__call__(scope, receive, send), self._timeout)


@asynccontextmanager
async def _logged(name: str) -> AsyncIterator[dict[str, Any]]:
    """Log an event with the seconds that the block took, and the fields that it sets."""
    began = time.monotonic()
    fields: dict[str, Any] = {}
    try:
        yield fields
    except AsrHlgError as error:
        name, fields["error"] = "recording refused", type(error).__name__
        raise
    finally:
        logs.event(name, seconds=round(time.monotonic() - began, 3), **fields)
