"""Stage 1, sound: the samples of a recording, in stretches that fit the acoustic model.

:mod:`asr_hlg.audio.stretches` divides them.
"""

from __future__ import annotations

from collections.abc import Iterator

from asr_hlg.audio import Recording
from asr_hlg.audio.resampling import Samples
from asr_hlg.audio.stretches import Stretch, StretchSplitter
from asr_hlg.transcribe.options import TranscribeOptions


def read_stretches(
    recording: Recording, options: TranscribeOptions, sample_rate: int, frame_shift: float
) -> Iterator[Stretch]:
    """Read a recording, of any length, in stretches."""
    splitter = StretchSplitter(sample_rate, frame_shift)
    for block in recording.blocks(sample_rate, options.channel_number, options.max_duration):
        yield from splitter.add(block)
    yield splitter.finish()


def read_short(
    recording: Recording, options: TranscribeOptions, sample_rate: int
) -> Samples | None:
    """Read a recording whole, or return None if it is longer than one block."""
    blocks = recording.blocks(sample_rate, options.channel_number, options.max_duration)
    samples, more = next(blocks), next(blocks, None)
    return samples if more is None else None
