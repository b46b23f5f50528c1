"""Long pauses, which are left out of what a network with attention over whole utterances gets.

Such a network averages over all frames of its input. Ten seconds of silence beside three of speech
change the averages so much that it misses words. Pauses are therefore shortened before the network,
and the frames that are missing in its output are put back, so that times stay as they are:

>>> spans = find(samples, sample_rate=16000, samples_per_frame=320)
>>> rows = network(without(samples, spans, 320))
>>> log_probs = restore(rows, spans, is_silence)     # a row for every frame of ``samples``
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Span = tuple[int, int]
"""First frame of a part of a recording, and the frame after its last one."""

KEEP = 0.5
"""Seconds of a pause that are kept beside speech, on both sides."""

_MIN_SPAN = 0.5  # seconds; shorter ones would change many recordings and help none
_BLOCK = 0.02  # seconds over which levels are measured
_PRE_EMPHASIS = 0.97
_FLOOR = -90.0  # dB: 16-bit samples carry nothing below
_ALWAYS_QUIET = -55.0  # dB
_BELOW_PEAK = 25.0  # dB
_MAX_RANGE = 10.0  # dB; speech, however soft, varies more within a second


def find(samples: Floats, sample_rate: int, samples_per_frame: int) -> list[Span]:
    """Spans of frames that can be left out: there is only a pause within `KEEP` seconds of them.

    A pause is steady and quiet: its level varies by less than 10 dB and is 25 dB below the peak
    level, or below -55 dB. The level is the mean square of 20 ms of pre-emphasised samples.

    Parameters
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)``, in [-1, 1].
    sample_rate : int
        Hz.
    samples_per_frame : int
        Of the network's output.

    Returns
    -------
    list of (int, int)
        First frame, and the frame after the last one, of each span, in order.
    """
    size = round(_BLOCK * sample_rate)
    if len(samples) < size * (KEEP + _MIN_SPAN) / _BLOCK:
        return []
    level = _levels(samples, size)
    reach = round(KEEP / _BLOCK)
    # Outside the recording there is nothing, which is as good as more of the same.
    window = np.lib.stride_tricks.sliding_window_view(np.pad(level, reach, "edge"), 2 * reach + 1)
    highest = window.max(1)
    in_pause = highest < max(_ALWAYS_QUIET, level.max() - _BELOW_PEAK)
    in_pause &= highest - window.min(1) < _MAX_RANGE
    change = np.diff(np.concatenate([[False], in_pause, [False]]).astype(np.int8))
    begins, ends = np.flatnonzero(change > 0) * size, np.flatnonzero(change < 0) * size
    spans = [
        (-(-int(begin) // samples_per_frame), int(end) // samples_per_frame)
        for begin, end in zip(begins, ends, strict=True)
    ]
    min_frames = max(1, round(_MIN_SPAN * sample_rate / samples_per_frame))
    return [(begin, end) for begin, end in spans if end - begin >= min_frames]


def _levels(samples: Floats, size: int) -> Floats:
    """Level in dB of each block of pre-emphasised samples; the last, incomplete one is left out."""
    sharpened = samples[1:] - np.float32(_PRE_EMPHASIS) * samples[:-1]
    blocks = np.append(samples[:1], sharpened)[: len(samples) // size * size].reshape(-1, size)
    power = np.square(blocks).mean(1)
    levels: Floats = 10 * np.log10(np.maximum(power, np.float32(10 ** (_FLOOR / 10))))
    return levels


def without(samples: Any, spans: Sequence[Span], samples_per_frame: int) -> list[Any]:
    """Parts of ``samples``, an array or tensor, that are between the spans; to be concatenated."""
    bounds = [0, *(frame * samples_per_frame for span in spans for frame in span), len(samples)]
    return [samples[begin:end] for begin, end in zip(bounds[::2], bounds[1::2], strict=True)]


def sources(num_rows: int, spans: Sequence[Span], silence: Floats, reach: int) -> npt.NDArray[Any]:
    """Rows of the output for a shortened recording that stand for each frame of the whole one.

    A frame of a span is represented by the row within ``reach`` of the cut in which silence is most
    probable; by the row after the cut if it is probable in none.

    Parameters
    ----------
    num_rows : int
        Rows of the output.
    spans : sequence of (int, int)
        From `find`.
    silence : np.ndarray
        ``(num_rows,)``: probability of silence in each row.
    reach : int
        Rows.

    Returns
    -------
    np.ndarray
        int64 ``(num_frames,)``.
    """
    parts, row, frame = [], 0, 0
    for begin, end in spans:
        cut = row + begin - frame
        parts.append(np.arange(row, cut))
        first = max(0, cut - reach)
        near = silence[first : cut + reach]
        quietest = first + int(near.argmax()) if near.any() else min(cut, num_rows - 1)
        parts.append(np.full(end - begin, quietest))
        row, frame = cut, end
    parts.append(np.arange(row, num_rows))
    return np.concatenate(parts)
