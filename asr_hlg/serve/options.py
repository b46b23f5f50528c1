"""Options of the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr_hlg.errors import OptionError
from asr_hlg.settings import Bounded, NonNegative, Positive, Size

MAX_STREAMS = 32
MAX_UPLOADS = 8
MAX_UPLOAD = 100.0
IDLE_TIMEOUT = 60.0
TOTAL_TIMEOUT = 4 * 3600.0
STOP_TIMEOUT = 20.0
SAMPLE_RATE = 8000
"""What Vosk's server takes where a client does not state the rate of its sound."""

MAX_MESSAGE = 4 << 20
"""Bytes of the largest WebSocket message: two minutes at 16 kHz."""

KEY_TIMEOUT = 10.0
"""Seconds in which a client of a live stream has to show its API key, where one is needed."""

SEND_TIMEOUT = 20.0
"""Seconds that a client may leave answers unread, once the buffers of its connection are full."""


@dataclass(frozen=True)
class ServeOptions(Bounded):
    """Where the server listens, what it serves, and its limits.

    Attributes
    ----------
    graphs : tuple of str
        Folders or names of graphs. Clients name them by the last part of the path; the first one
        is the default.
    host, port : str, int
        Port 0 is any free one.
    model : str, optional
        Acoustic model of all graphs, instead of those of their recipes.
    device : str
    fast : bool
        No second pass on whole recordings. (Live speech has none in any case.)
    sample_rate : int
        Of live sound whose rate the client does not state, in Hz.
    workers : int, optional
        Threads for live streams; by default one for each processor. Recordings have half as many.
    max_streams, max_uploads : int
        Live streams, and recordings that are received or transcribed, at the same time.
    max_upload : float
        Size of a recording in MB.
    idle_timeout, total_timeout : float
        Seconds without a message, and from its start, after which a live stream is ended.
    stop_timeout : float
        Seconds that streams in flight may go on after SIGTERM.
    api_key_file : Path, optional
        A file with a key a line; without it everybody who can connect may use the server.
    tls_certificate, tls_key : Path, optional
        PEM files.
    cors : tuple of str
        Origins of other pages that may use the server, such as ``https://example.org``.
    """

    graphs: tuple[str, ...] = ("en",)
    host: str = "127.0.0.1"
    port: int = 2700
    model: str | None = None
    device: str = "cpu"
    fast: bool = False
    sample_rate: Size = SAMPLE_RATE
    workers: int | None = None
    max_streams: Size = MAX_STREAMS
    max_uploads: Size = MAX_UPLOADS
    max_upload: Positive = MAX_UPLOAD
    idle_timeout: Positive = IDLE_TIMEOUT
    total_timeout: Positive = TOTAL_TIMEOUT
    stop_timeout: NonNegative = STOP_TIMEOUT
    api_key_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    cors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.graphs:
            raise OptionError("there is no graph to serve", remedy="name one with --graph")
        if not 0 <= self.port <= 65535:
            raise OptionError(f"a port is between 0 and 65535, not {self.port}")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers must be positive, not {self.workers}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise OptionError(
                "TLS needs a certificate and its key",
                remedy="name both, with --tls-certificate and --tls-key",
            )
