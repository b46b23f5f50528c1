"""A server for live and recorded speech: Vosk's WebSocket protocol, OpenAI's HTTP API, a page.

    asr-hlg serve --graph en --port 2700

===================  ===============================================================================
``options``          the options of the server, with their bounds
``graphs``           the graphs that are served, and their variants with hotwords or phrases
``service``          what all connections share: graphs, limits, metrics, threads
``limits``           numbers of streams and uploads, API keys, who may connect, sizes
``sessions``         one live stream: frames in, transcripts out, computed in a thread
``vosk``             Vosk's WebSocket protocol: configuration and answers
``live``             a WebSocket with live speech: its messages, limits and end
``openai``           OpenAI's HTTP API for transcriptions; ``uploads``: recordings that are sent
``lines``            alternatives, phones and the lattice of one line, for the page
``metrics``          counters for Prometheus; ``logs``: one JSON object a line
``memory``           memory of finished streams, given back to the system
``app``              the routes; ``server``: start, signals, a stop that finishes streams
``page/``            the page with the microphone: HTML, CSS and JavaScript modules
===================  ===============================================================================
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.serve.options import ServeOptions
    from asr_hlg.serve.server import serve
else:
    __getattr__ = public_names(
        __name__,
        {"asr_hlg.serve.options": ["ServeOptions"], "asr_hlg.serve.server": ["serve"]},
    )

__all__ = ["ServeOptions", "serve"]
