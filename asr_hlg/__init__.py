"""WFST-based speech decoding with neural acoustic models.

>>> from asr_hlg import Transcriber
>>> transcriber = Transcriber.from_graph("graphs/en")
>>> for transcript in transcriber.transcribe(["examples/"]):
...     print(transcript.id, transcript.text)
"""

from asr_hlg.output.transcript import Alternative, Transcript, Word

__all__ = ["Alternative", "Transcriber", "Transcript", "Word"]


def __getattr__(name: str):
    # Transcriber brings torch and k2 along, which half of the rooms do not need.
    if name == "Transcriber":
        from asr_hlg.transcribe import Transcriber

        return Transcriber
    raise AttributeError(f"module 'asr_hlg' has no attribute {name!r}")
