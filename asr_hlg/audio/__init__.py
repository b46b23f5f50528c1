"""Recordings: finding, reading and resampling them.

>>> for recording in recordings(["calls/", "more.flac", "wav.scp", "cuts.jsonl.gz"]):
...     try:
...         samples = recording.load(sample_rate=16000)
...     except AudioError as error:
...         print(error, file=sys.stderr)

Whatever is wrong with one recording, or with the list that names it, is raised when that recording
is loaded: the others are not stopped by it.
"""

from __future__ import annotations

from asr_hlg.audio.listing import recordings
from asr_hlg.audio.recording import Recording
from asr_hlg.audio.resampling import resample

__all__ = ["Recording", "recordings", "resample"]
