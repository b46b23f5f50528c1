"""Metrics for Prometheus, in a registry of their own."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_REPLY = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_REQUEST = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counters of a server.

    Attributes
    ----------
    streams : Gauge
        Live streams that are open.
    ended : Counter
        Live streams by how they ended: ``eof``, ``disconnect``, a time-out, an error, and so on.
    sound : Counter
        Seconds of sound by source, ``live`` or ``file``.
    reply : Histogram
        Seconds from a frame of a live stream to its answer.
    requests : Counter
        HTTP requests by route and status.
    request : Histogram
        Seconds that they took, by route.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.streams = Gauge("asr_hlg_streams", "Live streams", registry=registry)
        self.ended = Counter(
            "asr_hlg_streams_ended", "Live streams by end", ["reason"], registry=registry
        )
        self.sound = Counter(
            "asr_hlg_sound_seconds", "Seconds of sound", ["source"], registry=registry
        )
        self.reply = Histogram(
            "asr_hlg_reply_seconds",
            "Seconds from a frame to its answer",
            buckets=_REPLY,
            registry=registry,
        )
        self.requests = Counter(
            "asr_hlg_requests", "HTTP requests", ["route", "status"], registry=registry
        )
        self.request = Histogram(
            "asr_hlg_request_seconds",
            "Seconds that HTTP requests took",
            ["route"],
            buckets=_REQUEST,
            registry=registry,
        )

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
