"""Resampling: whole recordings, and long ones block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from lhotse.augmentation import get_or_create_resampler
from torch import Tensor


def resample(samples: Tensor, source: int, target: int) -> Tensor:
    """Samples ``(n,)`` at ``source`` Hz as float32 samples at ``target`` Hz.

    The filter's size grows with the two rates over their greatest common divisor.  Where that is
    small, as for 44101 and 16000, the source counts as the nearest multiple of 10 Hz (100 Hz from
    48 kHz): that moves a time by less than 0.1 % at 8 kHz and above.
    """
    source = _nominal(source, target)
    return samples if source == target else get_or_create_resampler(source, target)(samples)


def resample_blocks(blocks: Iterator[Tensor], source: int, target: int) -> Iterator[Tensor]:
    """Consecutive blocks of one recording, resampled as if they were one.

    A sample of the result depends on the few around it. Those before a block are kept from the
    one before, and what lacks those after it waits for the next.
    """
    source = _nominal(source, target)
    if source == target:
        yield from blocks
        return
    resampler = get_or_create_resampler(source, target)
    step = source // math.gcd(source, target)  # a whole number of samples of the result
    reach = math.ceil((resampler.width + step) / step) * step
    held = torch.zeros(0)
    done = 0  # samples of `held` whose result has been given out
    block = next(blocks, None)
    while block is not None:
        held = torch.cat([held, block])
        block = next(blocks, None)
        ready = len(held) if block is None else (len(held) - reach) // step * step
        if ready > done:
            first, last = (-(-n * target // source) for n in (done, ready))
            yield resampler(held)[first:last]
            kept = min(reach, ready)  # a multiple of step
            held, done = held[ready - kept :], kept


def _nominal(source: int, target: int) -> int:
    step = 10 if source < 48000 else 100
    return source if math.gcd(source, target) >= step else round(source / step) * step
