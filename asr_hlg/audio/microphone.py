"""Sound from a microphone, through PortAudio.

>>> with microphone() as (rate, blocks):
...     for samples in blocks:                     # int16 (n,)
...         finished = stream.accept(samples)
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.versions import optional

_BLOCK = 0.05  # seconds of sound in a block
_WAIT = 0.2  # seconds; so often a wait for sound is interrupted, so that Ctrl-C is noticed


@contextmanager
def microphone(device: str | None = None) -> Iterator[tuple[int, Iterator[npt.NDArray[np.int16]]]]:
    """Record from a microphone, at its own rate, until the block ends.

    Parameters
    ----------
    device : str, optional
        Number or part of the name of an input, as :func:`inputs` lists them; by default the
        system's choice.

    Yields
    ------
    rate : int
        Hz.
    blocks : iterator of np.ndarray
        int16 ``(n,)``, as they are recorded, without end.

    Raises
    ------
    AsrHlgError
        If the package sounddevice or its library PortAudio is missing.
    OptionError
        If there is no such microphone, or it cannot be opened.
    """
    sounddevice = _sounddevice()
    blocks: queue.SimpleQueue[npt.NDArray[np.int16]] = queue.SimpleQueue()
    name = int(device) if device is not None and device.isdigit() else device

    def take(recorded: npt.NDArray[np.int16], *_: object) -> None:
        blocks.put(recorded[:, 0].copy())

    try:
        rate = round(sounddevice.query_devices(name, "input")["default_samplerate"])
        stream = sounddevice.InputStream(
            samplerate=rate,
            device=name,
            channels=1,
            dtype="int16",
            blocksize=round(_BLOCK * rate),
            callback=take,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise _no_microphone(device, error) from None
    with stream:
        yield rate, _until_closed(blocks)


def inputs() -> list[tuple[int, str]]:
    """Numbers and names of the inputs from which can be recorded."""
    sounddevice = _sounddevice()
    devices = enumerate(sounddevice.query_devices())
    return [(number, device["name"]) for number, device in devices if device["max_input_channels"]]


def _until_closed(
    blocks: queue.SimpleQueue[npt.NDArray[np.int16]],
) -> Iterator[npt.NDArray[np.int16]]:
    while True:
        try:
            yield blocks.get(timeout=_WAIT)
        except queue.Empty:
            continue


def _sounddevice() -> Any:
    try:
        return optional("sounddevice", purpose="a microphone", extra="live")
    except OSError as error:
        raise AsrHlgError(
            f"a microphone needs the library PortAudio: {error}",
            remedy="on Debian: apt install libportaudio2",
        ) from None


def _no_microphone(device: str | None, error: Exception) -> OptionError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    which = "there is no microphone" if device is None else f"cannot record from {device!r}"
    return OptionError(
        f"{which}: {reason}",
        remedy="asr-hlg live --inputs lists what can be recorded from; without any, send sound to "
        "asr-hlg transcribe --live -",
    )
