"""The pipeline: recordings in, transcripts out, in order, on as many cores as there are.

    transcriber = Transcriber.from_graph("graphs/en")
    for transcript in transcriber.transcribe(["a.wav", "recordings/"]):
        print(transcript.id, transcript.text)

One recording's way is in :mod:`~asr_hlg.transcribe.transcriber`; :mod:`~asr_hlg.transcribe.workers`
runs it in several processes.
"""

from __future__ import annotations

from asr_hlg.transcribe.options import TranscribeOptions
from asr_hlg.transcribe.transcriber import OnError, Transcriber
from asr_hlg.transcribe.workers import Job, Workers

__all__ = ["Job", "OnError", "TranscribeOptions", "Transcriber", "Workers"]
