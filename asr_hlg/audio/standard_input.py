"""Recording from standard input: a sound file of any kind, or raw samples of a known rate.

>>> with standard_input(sys.stdin.buffer, raw_rate=16000) as path:
...     [recording] = recordings(path)
"""

from __future__ import annotations

import shutil
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from asr_hlg.audio.recording import SAMPLE_RATES
from asr_hlg.errors import OptionError

_PART = 1 << 20  # bytes that are copied at once
HEADERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b".snd")
"""First bytes of sound files that have a header."""


@contextmanager
def standard_input(stream: BinaryIO, raw_rate: int | None = None) -> Iterator[Path]:
    """Copy a stream to a file named ``stdin`` in a private temporary folder, until it ends.

    Decoders need a file: they seek, and worker processes have no standard input.

    Parameters
    ----------
    stream : binary file
    raw_rate : int, optional
        The stream holds samples without a header, signed 16 bits, little-endian, one channel, at
        this rate in Hz.  By default it holds a sound file (or a list of recordings).

    Yields
    ------
    Path
        The file, which is removed with its folder at the end of the block.

    Raises
    ------
    OptionError
        If the stream is a terminal, the rate is out of range, or a stream of raw samples begins
        with the header of a sound file.
    """
    if stream.isatty():
        raise OptionError(
            "standard input is a terminal",
            remedy="send a recording to it: asr-hlg transcribe - < talk.wav",
        )
    if raw_rate is not None and raw_rate not in SAMPLE_RATES:
        limits = f"{SAMPLE_RATES.start} to {SAMPLE_RATES.stop - 1}"
        raise OptionError(f"a sample rate of {raw_rate} Hz is out of range ({limits})")
    with tempfile.TemporaryDirectory(prefix="asr-hlg-") as folder:
        path = Path(folder) / "stdin"
        if raw_rate is None:
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file, _PART)
        else:
            _write_wav(path, stream, raw_rate)
        yield path


def _write_wav(path: Path, stream: BinaryIO, rate: int) -> None:
    """Write raw samples as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        part = stream.read(_PART)
        if part.startswith(HEADERS):
            raise OptionError(
                "standard input is a sound file with a header, not raw samples",
                remedy="leave out --raw",
            )
        half_sample = b""
        while part:
            part = half_sample + part
            end = len(part) - len(part) % 2
            half_sample = part[end:]
            file.writeframesraw(part[:end])
            part = stream.read(_PART)
