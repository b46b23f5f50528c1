"""WFST-based speech decoding with neural acoustic models.

>>> from asr_hlg import Transcriber
>>> transcriber = Transcriber.from_graph("graphs/en")
>>> for transcript in transcriber.transcribe(["examples/"]):
...     print(transcript.id, transcript.text)
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.output.transcript import Alternative, Transcript, Word
    from asr_hlg.transcribe import Transcriber

    __version__: str

__all__ = ["Alternative", "Transcriber", "Transcript", "Word", "__version__"]


_public_name = public_names(
    __name__,
    {
        "asr_hlg.output.transcript": ["Alternative", "Transcript", "Word"],
        "asr_hlg.transcribe": ["Transcriber"],
    },
)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("asr-hlg")
    return _public_name(name)
