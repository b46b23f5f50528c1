"""Batches of recordings of similar length, which a GPU transcribes faster than single ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from asr_hlg.audio import Recording

_SORTED_BATCHES = 8
"""Number of batches whose recordings are sorted by length together."""


def batches(recordings: Iterable[Recording], seconds: float) -> Iterator[list[Recording]]:
    """Divide recordings into batches of similar lengths, so that there is little padding.

    Parameters
    ----------
    recordings : iterable of Recording
        Read only some batches ahead.
    seconds : float
        The duration of the longest recording of a batch, times their number, is at most this; a
        longer recording is a batch by itself.
    """
    group: list[tuple[float, Recording]] = []
    total = 0.0
    for recording in recordings:
        duration = recording.expected_duration()
        group.append((duration, recording))
        total += max(duration, 1.0)  # unreadable recordings have no duration, but count, too
        if total >= _SORTED_BATCHES * seconds:
            yield from _batches_by_length(group, seconds)
            group, total = [], 0.0
    yield from _batches_by_length(group, seconds)


def with_following(
    batches: Iterable[list[Recording]],
) -> Iterator[tuple[list[Recording], list[Recording]]]:
    """Pairs of a batch and the one after it; none after the last."""
    return pairwise(chain(batches, [[]]))


def _batches_by_length(
    group: list[tuple[float, Recording]], seconds: float
) -> Iterator[list[Recording]]:
    """Batches of recordings whose durations are given, shortest first."""
    batch: list[Recording] = []
    for duration, recording in sorted(group, key=lambda pair: pair[0]):
        if batch and duration * (len(batch) + 1) > seconds:
            yield batch
            batch = []
        batch.append(recording)
    if batch:
        yield batch
