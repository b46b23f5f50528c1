"""The routes of the server.

=======================================  ===========================================================
``/``                                    the page; as a WebSocket, Vosk's protocol
``/page/...``                            its modules and styles
``POST /v1/audio/transcriptions``        OpenAI's API: a recording
``GET /v1/models``, ``/v1/models/NAME``  OpenAI's API: the graphs
``POST /lines``                          alternatives, phones and lattice of a line, for the page
``GET /health``                          whether the server takes new clients
``GET /metrics``                         counters for Prometheus
=======================================  ===========================================================
"""

from __future__ import annotations

import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr_hlg import __version__
from asr_hlg.errors import AsrHlgError
from asr_hlg.serve import openai
from asr_hlg.serve.limits import Refused, bearer, check_origin
from asr_hlg.serve.lines import lines
from asr_hlg.serve.live import live
from asr_hlg.serve.service import Service

PAGE = Path(__file__).with_name("page")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_OPEN = ("/", "/health", "/favicon.ico")
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def make_app(service: Service) -> Starlette:
    """The application for a service."""
    options = service.options
    middleware = [Middleware(_Guard, service=service)]
    if options.cors:
        allow = Middleware(
            CORSMiddleware,
            allow_origins=list(options.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
        middleware.insert(0, allow)
    app = Starlette(
        routes=[
            Route("/", _page),
            WebSocketRoute("/", live),
            Route("/v1/models", openai.models),
            Route("/v1/models/{name}", openai.model),
            Route("/v1/audio/transcriptions", openai.transcriptions, methods=["POST"]),
            Route("/lines", lines, methods=["POST"]),
            Route("/health", _health),
            Route("/metrics", _metrics),
            Mount("/page", StaticFiles(directory=PAGE)),
        ],
        middleware=middleware,
        exception_handlers={
            AsrHlgError: _on_error,
            HTTPException: _on_http_error,
            Exception: _on_failure,
        },
    )
    app.state.service = service
    return app


class _Guard:
    """Checks keys and origins of HTTP requests, counts them, and adds headers for safety."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. WebSockets check their keys themselves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        began, status = time.monotonic(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        try:
            try:
                self._check(request)
            except Refused as refused:
                await _refusal(refused)(scope, receive, send_on)
                return
            await self._app(scope, receive, send_on)
        finally:
            path = getattr(scope.get("route"), "path", None) or "other"
            metrics = self._service.metrics
            metrics.requests.labels(path, str(status)).inc()
            metrics.request.labels(path).observe(time.monotonic() - began)

    def _check(self, request: Request) -> None:
        if request.method == "POST":
            check_origin(request.headers, self._service.options.cors)
        path = request.url.path
        if path not in _OPEN and not path.startswith("/page/"):
            self._service.keys.check(bearer(request.headers))


def _refusal(refused: Refused) -> Response:
    headers = {"Retry-After": "5"} if refused.status in (429, 503) else None
    return JSONResponse(openai.error_body(refused, refused.status), refused.status, headers)


async def _page(_: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})


async def _health(request: Request) -> Response:
    service: Service = request.app.state.service
    status = "stopping" if service.stopping else "ok"
    answer = {
        "status": status,
        "version": __version__,
        "graphs": service.graphs.names,
        "streams": service.streams.taken,
        "max_streams": service.streams.number,
    }
    return JSONResponse(answer, 503 if service.stopping else 200)


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    return PlainTextResponse(service.metrics.text(), media_type=_METRICS)


async def _on_error(_: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return _refusal(error)
    assert isinstance(error, AsrHlgError)
    return JSONResponse(openai.error_body(error), 400)


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wrapped = Refused(str(error.detail), error.status_code)
    headers = dict(error.headers or {})
    return JSONResponse(openai.error_body(wrapped, error.status_code), error.status_code, headers)


async def _on_failure(_: Request, error: Exception) -> Response:
    refused = Refused("internal error; the log of the server has it", 500, "internal_error")
    return JSONResponse(openai.error_body(refused, 500), 500)
