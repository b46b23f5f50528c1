"""Sound on a pipe: every kind of sample, headers of unfinished files, short reads."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from asr_hlg.audio.pcm_stream import pcm_stream
from asr_hlg.errors import AudioError, OptionError

SAMPLES = (0.5 * np.sin(np.arange(900) / 7)).astype(np.float32)


class Pipe(io.BytesIO):
    """A stream that gives seven bytes at a time."""

    def read1(self, size=-1):
        return self.read(min(7, size))


def read(content: bytes, raw: int | None = None) -> tuple[int, np.ndarray]:
    rate, blocks = pcm_stream(Pipe(content), raw)
    return rate, np.concatenate([np.zeros(0), *blocks])


def wav(samples: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 11025, format="WAV", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("subtype", "exact"),
    [("PCM_U8", 2e-2), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-6), ("FLOAT", 0)],
)
def test_samples_of_every_kind(subtype, exact):
    rate, found = read(wav(SAMPLES, subtype=subtype))
    assert rate == 11025
    np.testing.assert_allclose(found, SAMPLES, atol=exact)


def test_channels_are_averaged():
    _, found = read(wav(np.stack([SAMPLES, 0 * SAMPLES, SAMPLES], axis=1)))
    np.testing.assert_allclose(found, SAMPLES * 2 / 3, atol=1e-4)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_the_end_of_an_unfinished_file_is_the_end_of_the_pipe(size):
    content = bytearray(wav(SAMPLES))
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", size)
    np.testing.assert_allclose(read(bytes(content))[1], SAMPLES, atol=1e-4)


def test_what_follows_the_samples_is_no_sound():
    found = read(wav(SAMPLES) + b"LIST\x04\0\0\0abcd")[1]
    assert len(found) == len(SAMPLES)


def test_raw_samples_and_half_a_sample_at_the_end():
    content = np.round(SAMPLES * 32767).astype("<i2").tobytes()
    rate, found = read(content + b"\1", raw=8000)
    assert rate == 8000
    np.testing.assert_allclose(found, SAMPLES, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "raw", "message"),
    [
        (b"fLaC" + bytes(50), None, "no WAV file"),
        (b"", None, "within the header"),
        (wav(SAMPLES)[:30], None, "within the header"),
        (wav(SAMPLES, subtype="ALAW"), None, "not read from a pipe"),
        (wav(SAMPLES), 16000, "leave out --raw"),
        (b"\0\0", 1, "out of range"),
    ],
)
def test_what_is_refused(content, raw, message):
    with pytest.raises((AudioError, OptionError), match=message):
        read(content, raw)
