"""Transcription: recordings to transcripts, one by one, in batches, or in several processes.

    transcriber = Transcriber.from_graph("graphs/en")
    for transcript in transcriber.transcribe(["a.wav", "recordings/"]):
        print(transcript.id, transcript.text)

:class:`Stream` transcribes sound while it is recorded. The stages that a recording passes through
are in :mod:`~asr_hlg.transcribe.pipeline`; :mod:`~asr_hlg.transcribe.workers` runs them in several
processes.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.transcribe.endpoints import EndpointOptions
    from asr_hlg.transcribe.options import TranscribeOptions
    from asr_hlg.transcribe.stream import Stream, StreamOptions
    from asr_hlg.transcribe.transcriber import OnError, Transcriber
    from asr_hlg.transcribe.workers import Job, Workers
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.transcribe.endpoints": ["EndpointOptions"],
            "asr_hlg.transcribe.options": ["TranscribeOptions"],
            "asr_hlg.transcribe.stream": ["Stream", "StreamOptions"],
            "asr_hlg.transcribe.transcriber": ["OnError", "Transcriber"],
            "asr_hlg.transcribe.workers": ["Job", "Workers"],
        },
    )

__all__ = [
    "EndpointOptions",
    "Job",
    "OnError",
    "Stream",
    "StreamOptions",
    "TranscribeOptions",
    "Transcriber",
    "Workers",
]
