"""Structured logs: one JSON object a line on standard error, without any content of speech.

    {"time": "2026-01-31T09:30:00.123Z", "level": "info", "event": "stream ended", "seconds": 4.2}

Events have numbers and names of limits. Words, prompts, file names and texts of exceptions, which
may quote them, are not logged: of an exception its type and its place in the code.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import datetime, timezone
from typing import Any

_LOG = logging.getLogger("asr_hlg.serve")


def event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields."""
    _LOG.log(level, name, extra={"fields": fields})


def failure(name: str, error: BaseException, **fields: Any) -> None:
    """Log an unexpected exception."""
    event(name, logging.ERROR, **fields, **_described(error))


def set_up(stream: Any = None, level: int = logging.INFO) -> logging.Handler:
    """Let the loggers of this package and of uvicorn write JSON lines to a stream."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines())
    for name, least in (("asr_hlg", level), ("uvicorn", max(level, logging.WARNING))):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(least)
        logger.propagate = False
    return handler


class _JsonLines(logging.Formatter):
    """Formatter of records as JSON objects."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        row: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
        }
        row |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            row |= _described(record.exc_info[1])
        return json.dumps(row, ensure_ascii=False)


def _described(error: BaseException) -> dict[str, Any]:
    """Type of an exception and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    return {"exception": type(error).__name__, "places": places}
