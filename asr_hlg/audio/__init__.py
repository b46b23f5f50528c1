"""Recordings: listing, reading and resampling.

>>> for recording in recordings(["calls/", "more.flac", "wav.scp", "cuts.jsonl.gz"]):
...     try:
...         samples = recording.load(sample_rate=16000)
...     except AudioError as error:
...         print(error, file=sys.stderr)

An error in one recording, or in the line of a list that names it, is raised when that recording is
loaded, so that it does not stop the others.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.audio.listing import recordings
    from asr_hlg.audio.recording import Recording
    from asr_hlg.audio.resampling import resample
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.audio.listing": ["recordings"],
            "asr_hlg.audio.recording": ["Recording"],
            "asr_hlg.audio.resampling": ["resample"],
        },
    )

__all__ = ["Recording", "recordings", "resample"]
