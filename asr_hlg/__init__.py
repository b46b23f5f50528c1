"""WFST-based speech decoding with neural acoustic models.

>>> from asr_hlg import Transcriber
>>> transcriber = Transcriber.from_graph("graphs/en")
>>> for transcript in transcriber.transcribe(["examples/"]):
...     print(transcript.id, transcript.text)
"""

from typing import TYPE_CHECKING

from asr_hlg.output.transcript import Alternative, Transcript, Word

if TYPE_CHECKING:
    from asr_hlg.transcribe import Transcriber

    __version__: str

__all__ = ["Alternative", "Transcriber", "Transcript", "Word", "__version__"]


def __getattr__(name: str) -> object:
    # Transcriber imports torch and k2, which half of the rooms do not need.
    if name == "Transcriber":
        from asr_hlg.transcribe import Transcriber

        return Transcriber
    if name == "__version__":
        from importlib.metadata import version

        return version("asr-hlg")
    raise AttributeError(f"module 'asr_hlg' has no attribute {name!r}")
