"""Sound that arrives on a pipe: raw samples, or a WAV file whose end is not written yet.

>>> rate, blocks = pcm_stream(sys.stdin.buffer, raw_rate=16000)
>>> for samples in blocks:                     # float32 (n,), as soon as they are there
...     finished = stream.accept(samples)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from asr_hlg.audio.recording import SAMPLE_RATES
from asr_hlg.audio.resampling import Samples
from asr_hlg.audio.standard_input import HEADERS
from asr_hlg.errors import AudioError, OptionError

_PART = 1 << 16  # bytes that are read at most at once
_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # sizes that programs write where they do not know them
_CONVERT = "ffmpeg -i … -f s16le -ac 1 -ar 16000 - | asr-hlg transcribe --live --raw 16000 -"


@dataclass(frozen=True)
class _Form:
    """Sample format of a WAV file."""

    rate: int
    channels: int
    decode: Callable[[bytes], Samples]
    width: int  # bytes of a sample of one channel


def pcm_stream(stream: BinaryIO, raw_rate: int | None = None) -> tuple[int, Iterator[Samples]]:
    """The rate of the samples on a pipe, and the samples as they come, channels averaged.

    Parameters
    ----------
    stream : binary file
    raw_rate : int, optional
        The stream holds samples without a header, signed 16 bits, little-endian, one channel, at
        this rate in Hz. By default it holds a WAV file with PCM or floating-point samples.

    Raises
    ------
    OptionError
        If the stream is a terminal, or the rate is out of range.
    AudioError
        If the stream is neither a WAV file nor, with ``raw_rate``, one of raw samples.
    """
    if stream.isatty():
        raise OptionError("standard input is a terminal", remedy=f"send sound to it: {_CONVERT}")
    if raw_rate is None:
        form, size = _read_header(stream)
        first = b""
    else:
        form, size = _Form(raw_rate, 1, _from_int16, 2), None
        first = _read_some(stream, _PART)
        if first.startswith(HEADERS):
            raise OptionError(
                "standard input is a sound file with a header, not raw samples",
                remedy="leave out --raw",
            )
    if form.rate not in SAMPLE_RATES:
        limits = f"{SAMPLE_RATES.start} to {SAMPLE_RATES.stop - 1}"
        raise OptionError(f"a sample rate of {form.rate} Hz is out of range ({limits})")
    return form.rate, _blocks(stream, form, size, first)


def _blocks(stream: BinaryIO, form: _Form, size: int | None, first: bytes) -> Iterator[Samples]:
    frame = form.width * form.channels
    waiting, remaining = first, size
    while True:
        whole = len(waiting) // frame * frame
        if whole:
            samples = form.decode(waiting[:whole])
            waiting = waiting[whole:]
            yield samples if form.channels == 1 else samples.reshape(-1, form.channels).mean(axis=1)
        wanted = _PART if remaining is None else min(_PART, remaining)
        part = _read_some(stream, wanted) if wanted else b""
        if not part:
            return
        if remaining is not None:
            remaining -= len(part)
        waiting += part


def _read_some(stream: BinaryIO, size: int) -> bytes:
    """What is there, at most ``size`` bytes; waits for the first byte."""
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    return read(size)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = _read_some(stream, min(_PART, size - len(content)))
        if not part:
            raise AudioError("standard input ends within the header of a WAV file")
        content += part
    return content


def _read_header(stream: BinaryIO) -> tuple[_Form, int | None]:
    """Form of the samples of a WAV file, and their bytes; None if the header does not state it."""
    start = _read_exactly(stream, 12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise AudioError("standard input is no WAV file", remedy=f"convert it: {_CONVERT}")
    form: _Form | None = None
    while True:
        name, size = struct.unpack("<4sI", _read_exactly(stream, 8))
        if name == b"data":
            break
        content = _read_exactly(stream, min(size, 1 << 20) + size % 2)
        if name == b"fmt ":
            form = _form(content)
    if form is None:
        raise AudioError("standard input is a WAV file without a format")
    return form, None if size in _UNKNOWN or start[:4] == b"RF64" else size


def _form(content: bytes) -> _Form:
    if len(content) < 16:
        raise AudioError("the format of the WAV file on standard input is incomplete")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == 0xFFFE and len(content) >= 26:
        [tag] = struct.unpack("<H", content[24:26])
    decode = _DECODERS.get((tag, bits))
    if decode is None or not channels:
        raise AudioError(
            f"samples of kind {tag} with {bits} bits are not read from a pipe",
            remedy=f"convert them: {_CONVERT}",
        )
    return _Form(rate, channels, decode, bits // 8)


def _from_uint8(content: bytes) -> Samples:
    return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / np.float32(128)


def _from_int16(content: bytes) -> Samples:
    return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(1 << 15)


def _from_int24(content: bytes) -> Samples:
    parts = np.frombuffer(content, np.uint8).reshape(-1, 3)
    padded: npt.NDArray[np.uint8] = np.pad(parts, ((0, 0), (1, 0)))
    return _from_int32(np.ascontiguousarray(padded).tobytes())


def _from_int32(content: bytes) -> Samples:
    samples = np.frombuffer(content, "<i4") / float(1 << 31)
    return samples.astype(np.float32)


def _from_float(content: bytes) -> Samples:
    return np.frombuffer(content, "<f4").astype(np.float32)


def _from_double(content: bytes) -> Samples:
    return np.frombuffer(content, "<f8").astype(np.float32)


_DECODERS = {
    (1, 8): _from_uint8,
    (1, 16): _from_int16,
    (1, 24): _from_int24,
    (1, 32): _from_int32,
    (3, 32): _from_float,
    (3, 64): _from_double,
}
