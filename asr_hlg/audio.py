"""Recordings: finding, reading and resampling them."""

from __future__ import annotations

import math

from lhotse.augmentation import get_or_create_resampler
from torch import Tensor


def resample(samples: Tensor, source: int, target: int) -> Tensor:
    """Samples ``(n,)`` at ``source`` Hz as float32 samples at ``target`` Hz.

    A filter's size grows with the rates' smallest common terms.  Where they share less than
    10 Hz, as 44101 and 16000 do, the source counts as the nearest multiple of 10 Hz: at 8 kHz
    and above that moves a time by less than 0.1 %.
    """
    if math.gcd(source, target) < 10:
        source = max(10, round(source / 10) * 10)
    if source == target:
        return samples
    return get_or_create_resampler(source, target)(samples)
