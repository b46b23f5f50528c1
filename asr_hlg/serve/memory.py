"""Memory of finished streams, given back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from contextlib import suppress

from asr_hlg.serve.service import Service

INTERVAL = 5.0
"""Seconds between two looks at whether streams have finished."""


async def keep_small(service: Service) -> None:
    """Release memory while the server runs, some seconds after a stream or recording has ended.

    Lattices are in reference cycles, which Python collects only now and then; and the C library
    keeps what is freed, up to hundreds of MB after a noisy stream without pauses.
    """
    gc.freeze()  # graphs and models need not be looked at again
    released = 0
    while True:
        await asyncio.sleep(INTERVAL)
        ended = service.streams.ended + service.uploads.ended
        if ended != released:
            released = ended
            await service.prepare(_release)


def _release() -> None:
    gc.collect()
    with suppress(OSError, AttributeError):  # other systems have no malloc_trim
        ctypes.CDLL("libc.so.6").malloc_trim(0)
