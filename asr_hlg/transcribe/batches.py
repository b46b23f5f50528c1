"""Which recordings are transcribed together, where that is faster: on a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from asr_hlg.audio import Recording

GPU_BATCH = 600.0
"""Seconds of sound, padding included, in a batch by default where the device is a GPU."""

_AHEAD = 8
"""Batches' worth of recordings that are sorted by length at a time."""


def batches(found: Iterable[Recording], seconds: float) -> Iterator[list[Recording]]:
    """Divide a list into batches of recordings of similar lengths, so that there is little padding.

    Parameters
    ----------
    found : iterable of Recording
        Is read only some batches ahead.
    seconds : float
        What the longest recording of a batch lasts, times their number, is at most this; a
        recording that is longer has a batch of its own.
    """
    ahead: list[tuple[float, Recording]] = []
    total = 0.0
    for recording in found:
        ahead.append((recording.expected_duration(), recording))
        total += max(ahead[-1][0], 1.0)  # what cannot be read has no length, but takes room here
        if total >= _AHEAD * seconds:
            yield from _by_length(ahead, seconds)
            ahead, total = [], 0.0
    yield from _by_length(ahead, seconds)


def _by_length(ahead: list[tuple[float, Recording]], seconds: float) -> Iterator[list[Recording]]:
    batch: list[Recording] = []
    for length, recording in sorted(ahead, key=lambda pair: pair[0]):
        if batch and length * (len(batch) + 1) > seconds:
            yield batch
            batch = []
        batch.append(recording)
    if batch:
        yield batch
