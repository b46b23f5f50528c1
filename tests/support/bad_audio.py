"""Recordings as nobody wants them, made here: each is a trap that some file in the wild has set.

>>> for name, bad in CORPUS.items():
...     path = bad.make(folder)           # a file, or whatever else stands where one should
...     bad.answer                        # part of the reason why it is refused; "" if it is read
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
LONGEST = 600.0  # seconds; the corpus has a file of ten hours


@dataclass(frozen=True)
class Bad:
    """How a file is made, and what the answer to it contains; an empty one is a transcript."""

    make: Callable[[Path], Path]
    answer: str


CORPUS: dict[str, Bad] = {}


def _bad(answer: str, suffix: str = ".wav", name: str | None = None):
    """Put a function that writes a path, or returns its bytes, into the corpus."""

    def register(write: Callable[[Path], bytes | None]):
        def make(folder: Path) -> Path:
            path = folder / (name or write.__name__ + suffix)
            content = write(path)
            if content is not None:
                path.write_bytes(content)
            return path

        CORPUS[write.__name__] = Bad(make, answer)
        return write

    return register


def _noise(seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (round(seconds * rate), channels))
    return samples.astype(np.float32)


def _encoded(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **kwargs) -> bytes:
    soundfile.write(path, _noise() if samples is None else samples, rate, **kwargs)
    return path.read_bytes()


def _wav(
    data: bytes,
    *,
    kind: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    data_size: int | None = None,
    riff_size: int | None = None,
    between: bytes = b"",
) -> bytes:
    """A WAV file whose header may say anything."""
    block = channels * bits // 8
    fields = struct.pack("<HHIIHH", kind, channels, rate, rate * block % 2**32, block % 2**16, bits)
    size = len(data) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", 16) + fields + between
    body += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


_PCM = (_noise()[:, 0] * 32767).astype("<i2").tobytes()


# ---------------------------------------------------------------- no sound file at all


@_bad("empty")
def empty(path):
    return b""


@_bad("cannot be read")
def text_named_wav(path):
    return b"This is a letter, not a recording.\n" * 100


@_bad("not a sound file", ".mp3")
def text_named_mp3(path):
    return b"dear reader\n" * 1000


@_bad("not a sound file", ".au")
def text_named_au(path):
    return b"dear reader\n" * 1000


@_bad("cannot be read", ".vox")
def text_named_vox(path):
    return b"dear reader\n" * 1000


@_bad("cannot be read")
def random_bytes(path):
    return np.random.default_rng(5).bytes(5000)


@_bad("cannot be read")
def zeros_only(path):
    return bytes(10_000)


@_bad("cannot be read")
def zip_named_wav(path):
    return b"PK\3\4" + bytes(500)


@_bad("not a sound file", ".mp3")
def web_page_named_mp3(path):
    return b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


@_bad("no recordings in this folder")
def directory(path):
    path.mkdir()


@_bad("not a regular file")
def fifo(path):
    os.mkfifo(path)


@_bad("not a regular file")
def device_without_end(path):
    path.symlink_to("/dev/zero")


@_bad("empty")
def log_of_the_system(path):
    path.symlink_to("/proc/kmsg")  # waits for more when read


@_bad("no such file")
def dangling_link(path):
    path.symlink_to(path.with_name("nothing"))


@_bad("no such file")
def link_to_itself(path):
    path.symlink_to(path)


@_bad("no such file")
def missing(path):
    return None


@_bad("no such file", name="long" * 80 + ".wav")
def name_too_long(path):
    return None


@_bad("" if os.geteuid() == 0 else "cannot be read")
def no_permission(path):
    _encoded(path)
    path.chmod(0)  # which does not stop root


# ---------------------------------------------------------------- headers that lie


@_bad("no samples")
def header_of_44_bytes(path):
    return _wav(b"")


@_bad("cannot be read")
def header_cut_in_half(path):
    return _wav(_PCM)[:20]


@_bad("cut short")
def more_samples_than_there_are(path):
    return _wav(_PCM, data_size=10 * len(_PCM))


@_bad("")
def fewer_samples_than_there_are(path):
    return _wav(_PCM, data_size=len(_PCM) // 2)


@_bad("")
def length_unknown_as_from_a_pipe(path):
    return _wav(_PCM, data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF)


@_bad("")
def wrong_length_of_the_whole(path):
    return _wav(_PCM, riff_size=7)


@_bad("cannot be read")
def no_channels(path):
    return _wav(_PCM, channels=0)


@_bad("cannot be read")
def channels_by_the_thousand(path):
    return _wav(_PCM, channels=65535)


@_bad("")
def two_channels_that_are_one(path):
    return _wav(_PCM, channels=2)


@_bad("cannot be read")
def no_sample_rate(path):
    return _wav(_PCM, rate=0)


@_bad("sample rate")
def sample_rate_of_1_hz(path):
    return _wav(_PCM, rate=1)


@_bad("sample rate")
def sample_rate_of_2_ghz(path):
    return _wav(_PCM, rate=2_000_000_000)


@_bad("cannot be read")
def no_bits(path):
    return _wav(_PCM, bits=0)


@_bad("cannot be read")
def samples_of_17_bytes(path):
    return _wav(_PCM, bits=136)


@_bad("")
def bytes_that_are_words(path):
    return _wav(_PCM, bits=8)


@_bad("cannot be read")
def unknown_codec(path):
    return _wav(_PCM, kind=0x6666)


@_bad("")
def chunk_of_odd_length(path):
    return _wav(_PCM, between=b"LIST" + struct.pack("<I", 3) + b"abc\0")


@_bad("cannot be read")
def chunk_larger_than_the_file(path):
    return _wav(_PCM, between=b"LIST" + struct.pack("<I", 0x7FFFFFFF))


@_bad("")
def a_thousand_chunks(path):
    return _wav(_PCM, between=1000 * (b"junk" + struct.pack("<I", 4) + b"junk"))


@_bad("are allowed", ".flac")
def flac_of_a_trillion_samples(path):
    content = bytearray(_encoded(path))
    content[21] |= 0x0F  # the 36 bits of their number, in STREAMINFO
    content[22:26] = b"\xff\xff\xff\xff"
    return bytes(content)


# ---------------------------------------------------------------- files that were cut or damaged


@_bad("cut short")
def wav_cut(path):
    content = _encoded(path)
    return content[: len(content) // 2]


@_bad("cannot be read", ".flac")
def flac_cut(path):
    content = _encoded(path)
    return content[: len(content) // 2]


@_bad("cut short", ".mp3")
def mp3_cut(path):
    content = _encoded(path, _noise(5.0))
    return content[: len(content) // 2]


@_bad("cut short", ".ogg")
def ogg_cut_in_a_page(path):
    content = _encoded(path, _noise(5.0))
    return content[: len(content) // 2 + 7]


@_bad("cannot be read", ".flac")
def flac_with_damage(path):
    content = bytearray(_encoded(path))
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    return bytes(content)


@_bad("cut short", ".mp3")
def mp3_with_damage(path):
    content = bytearray(_encoded(path, _noise(3.0)))
    content[9000:9050] = b"\xff" * 50
    return bytes(content)


@_bad("", ".mp3")
def mp3_behind_a_large_tag(path):
    tag = b"ID3\4\0\0" + bytes([0, 2, 0, 0])  # 32 KiB, in groups of seven bits
    return tag + bytes(32768) + _encoded(path, _noise(3.0))


@_bad("", ".mp3")
def mp3_with_a_tag_at_its_end(path):
    return _encoded(path, _noise(3.0)) + b"TAG" + b"x" * 125


# ---------------------------------------------------------------- samples


@_bad("not numbers")
def not_a_number(path):
    samples = _noise()
    samples[5000] = np.nan
    return _encoded(path, samples, subtype="FLOAT")


@_bad("not numbers")
def infinite(path):
    samples = _noise()
    samples[5000] = np.inf
    return _encoded(path, samples, subtype="FLOAT")


@_bad("not numbers")
def too_large_for_single_precision(path):
    return _encoded(path, _noise().astype(np.float64) * 1e300, subtype="DOUBLE")


@_bad("")
def very_loud(path):
    return _encoded(path, _noise() * 1e30, subtype="FLOAT")


@_bad("")
def very_quiet(path):
    return _encoded(path, _noise() * 1e-38, subtype="FLOAT")


@_bad("silent")
def digital_silence(path):
    return _encoded(path, np.zeros(RATE))


@_bad("silent")
def constant(path):
    return _encoded(path, np.full(RATE, 0.25))


@_bad("silent")
def one_sample(path):
    return _encoded(path, np.full(1, 0.5))


@_bad("")
def two_samples(path):
    return _encoded(path, np.array([0.5, -0.5]))


@_bad("")
def shorter_than_a_frame(path):
    return _encoded(path, _noise(0.005))


@_bad("")
def clipped(path):
    return _encoded(path, np.sign(_noise()))


@_bad("silent")
def channels_that_cancel(path):
    mono = _noise()
    return _encoded(path, np.hstack([mono, -mono]), subtype="FLOAT")


@_bad("")
def sixteen_channels(path):
    return _encoded(path, _noise(0.5, channels=16))


@_bad("")
def rate_of_384_khz(path):
    return _encoded(path, _noise(0.2, 384000), 384000)


@_bad("")
def rate_that_is_prime(path):
    return _encoded(path, _noise(0.5, 44101), 44101)


@_bad(f"lasts 36000 s, and {LONGEST:.0f} s are allowed")
def ten_hours_of_noise(path):
    """A second of noise, and a hole in the file up to the last one."""
    path.write_bytes(_wav(_PCM, data_size=36000 * len(_PCM)))
    with path.open("r+b") as file:
        file.seek(44 + 35999 * len(_PCM))
        file.write(_PCM)


@_bad(f"lasts 36000 s, and {LONGEST:.0f} s are allowed", ".flac")
def ten_hours_of_silence_in_little_room(path):
    with soundfile.SoundFile(path, "w", 1000, 1, "PCM_16") as file:
        for _ in range(36):
            file.write(np.zeros(1_000_000, dtype=np.int16))


# ---------------------------------------------------------------- rare but right


for _kind, _format, _subtype in [
    ("rf64", "RF64", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("mu_law", "WAV", "ULAW"),
    ("eight_bits", "WAV", "PCM_U8"),
    ("doubles", "WAV", "DOUBLE"),
    ("adpcm", "WAV", "IMA_ADPCM"),
    ("sphere", "NIST", "PCM_16"),
    ("core_audio", "CAF", "PCM_24"),
    ("opus", "OGG", "OPUS"),
]:

    def _write(path, format=_format, subtype=_subtype):
        return _encoded(path, format=format, subtype=subtype)

    _write.__name__ = _kind
    _bad("")(_write)

for _kind, _name in [
    ("name_with_blanks", " two  blanks .wav"),
    ("name_with_a_line_break", "two\nlines.wav"),
    ("name_with_a_terminal_code", "red\x1b[31m.wav"),
    ("name_of_a_microphone", "🎤.wav"),
    ("name_with_a_leading_dash", "-rf.wav"),
    ("name_without_ending", "recording"),
    ("name_that_a_shell_would_run", "$(touch x); `touch y` | cat .wav"),
]:

    def _write(path):
        return _encoded(path.with_name("plain.wav"))

    _write.__name__ = _kind
    _bad("", name=_name)(_write)
