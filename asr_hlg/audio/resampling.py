"""Resampling of whole recordings, and of long ones block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from lhotse.augmentation import get_or_create_resampler
from torch import Tensor


def resample(samples: Tensor, source: int, target: int) -> Tensor:
    """Convert samples ``(n,)`` from ``source`` Hz to ``target`` Hz, as float32.

    The size of the filter is proportional to the two rates over their greatest common divisor.
    Where that divisor is small, as for 44101 and 16000, the source rate is rounded to a multiple
    of 10 Hz (100 Hz from 48 kHz on): times change by less than 0.1 % at 8 kHz and above.
    """
    source = _rounded_rate(source, target)
    if source == target:
        return samples
    resampled: Tensor = get_or_create_resampler(source, target)(samples)
    return resampled


def resample_blocks(blocks: Iterator[Tensor], source: int, target: int) -> Iterator[Tensor]:
    """Convert consecutive blocks of one recording, with the result of converting them as a whole.

    A sample of the result depends on a few samples before and after it: the end of each block is
    kept, and resampled together with the next block.
    """
    source = _rounded_rate(source, target)
    if source == target:
        yield from blocks
        return
    resampler = get_or_create_resampler(source, target)
    step = source // math.gcd(source, target)  # equals a whole number of samples of the result
    context = math.ceil((resampler.width + step) / step) * step
    buffer = torch.zeros(0)
    converted = 0  # samples of the buffer whose result has been yielded
    block = next(blocks, None)
    while block is not None:
        buffer = torch.cat([buffer, block])
        block = next(blocks, None)
        ready = len(buffer) if block is None else (len(buffer) - context) // step * step
        if ready > converted:
            first, last = (-(-n * target // source) for n in (converted, ready))
            yield resampler(buffer)[first:last]
            kept = min(context, ready)  # a multiple of step
            buffer, converted = buffer[ready - kept :], kept


def _rounded_rate(source: int, target: int) -> int:
    step = 10 if source < 48000 else 100
    return source if math.gcd(source, target) >= step else round(source / step) * step
