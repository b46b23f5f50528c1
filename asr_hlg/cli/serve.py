"""``asr-hlg serve``: a server for live speech and recordings, with a page."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from asr_hlg.cli.arguments import add_device

EPILOG = """\
The page at the server's address has a microphone. Programs use
  ws://HOST:PORT/                             Vosk's WebSocket protocol
  http://HOST:PORT/v1/audio/transcriptions    OpenAI's API; base_url is http://HOST:PORT/v1
  http://HOST:PORT/health and /metrics        for supervision

examples:
  asr-hlg serve
  asr-hlg serve --graph en graphs/light --port 2700
  asr-hlg serve --host 0.0.0.0 --api-key-file keys.txt --tls-certificate a.pem --tls-key b.pem

The server needs pip install 'asr-hlg[serve]'. It listens on this machine only, unless --host says
otherwise; then give it keys and TLS, since browsers allow a microphone only over https or on the
same machine. SIGTERM and Ctrl-C let streams finish. docs/server.md describes protocols, limits and
deployment.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg serve``."""
    from asr_hlg.serve import options as defaults

    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "--graph",
        dest="graphs",
        nargs="+",
        default=["en"],
        metavar="GRAPH",
        help="compiled graphs: folders, or NAMEs of `asr-hlg graph --list`; clients choose one by "
        "name, and the first is the default (default: en)",
    )
    add("--model", help="acoustic model of all graphs (default: those of their recipes)")
    add_device(parser)
    add("--fast", action="store_true", help="no second pass on recordings; live speech has none")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=2700, help="port; 0 is any free one (default: %(default)s)")
    add(
        "--sample-rate",
        type=int,
        default=defaults.SAMPLE_RATE,
        metavar="HZ",
        help="sample rate of live sound whose client does not state it (default: %(default)s)",
    )
    add("--workers", type=int, help="threads for live streams (default: one per core)")
    add = parser.add_argument_group("limits").add_argument
    for name, type_, default, metavar, text in (
        ("streams", int, defaults.MAX_STREAMS, "N", "most live streams at the same time"),
        ("uploads", int, defaults.MAX_UPLOADS, "N", "most recordings at the same time"),
        ("upload", float, defaults.MAX_UPLOAD, "MB", "largest size of a recording"),
    ):
        add(
            f"--max-{name}",
            type=type_,
            default=default,
            metavar=metavar,
            help=f"{text} (default: %(default)g)",
        )
    for name, default, text in (
        ("idle", defaults.IDLE_TIMEOUT, "time without a message after which a stream is ended"),
        ("total", defaults.TOTAL_TIMEOUT, "longest duration of a stream"),
        ("stop", defaults.STOP_TIMEOUT, "time that streams in flight get after SIGTERM"),
    ):
        add(
            f"--{name}-timeout",
            type=float,
            default=default,
            metavar="SECONDS",
            help=f"{text} (default: %(default)g)",
        )
    add = parser.add_argument_group("safety").add_argument
    add("--api-key-file", type=Path, metavar="FILE", help="keys of clients, one a line")
    add("--tls-certificate", type=Path, metavar="FILE", help="PEM file, for https and wss")
    add("--tls-key", type=Path, metavar="FILE", help="PEM file with the certificate's key")
    add(
        "--cors",
        nargs="+",
        default=[],
        metavar="ORIGIN",
        help="other pages that may use the server, such as https://example.org (default: none)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until a signal."""
    from asr_hlg import threads
    from asr_hlg.serve import logs
    from asr_hlg.serve.options import ServeOptions
    from asr_hlg.versions import optional

    for package in ("starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client"):
        optional(package, purpose="the server", extra="serve")
    from asr_hlg.serve.server import serve

    values = {field.name: getattr(options, field.name) for field in fields(ServeOptions)}
    values |= {name: tuple(values[name]) for name in ("graphs", "cors")}
    logs.set_up()
    threads.limit(1)  # what runs side by side are streams
    serve(ServeOptions(**values), on_start=lambda address, _: print(address, flush=True))
    return 0
