"""Corpus of faulty and unusual recordings, made by the tests; each is a case met in practice.

>>> for name, case in CORPUS.items():
...     path = case.make(folder)          # a file, or whatever else is in its place
...     case.reason                       # part of the error message; "" if it can be read
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
class Case:
    """How a file is made, and part of the reason why it is refused; ``""`` if it can be read."""

    name: str
    write: Callable[[Path], bytes | None]
    reason: str
    file_name: str

    def make(self, folder: Path) -> Path:
        path = folder / self.file_name
        content = self.write(path)
        if content is not None:
            path.write_bytes(content)
        return path


CORPUS: dict[str, Case] = {}


def _case(
    name: str,
    reason: str,
    content: bytes | Callable[[Path], bytes | None],
    suffix: str = ".wav",
    file_name: str = "",
) -> None:
    """Add a case: the bytes of the file, or a function that makes them or the file itself."""
    write = content if callable(content) else lambda path: content
    CORPUS[name] = Case(name, write, reason, file_name or name + suffix)


def _noise(seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (round(seconds * rate), channels))
    return samples.astype(np.float32)


def _encoded(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **kwargs) -> bytes:
    soundfile.write(path, _noise() if samples is None else samples, rate, **kwargs)
    return path.read_bytes()


def _encoder(samples: np.ndarray | None = None, rate: int = RATE, **kwargs):
    return lambda path: _encoded(path, samples, rate, **kwargs)


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
    """A WAV file with any header."""
    block = channels * bits // 8
    fields = struct.pack("<HHIIHH", kind, channels, rate, rate * block % 2**32, block % 2**16, bits)
    size = len(data) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", 16) + fields + between
    body += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


_PCM = (_noise()[:, 0] * 32767).astype("<i2").tobytes()
_LETTER = b"dear reader\n" * 1000


# ---------------------------------------------------------------- not a sound file


_case("empty", "empty", b"")
_case("text_named_wav", "cannot be read", b"This is a letter, not a recording.\n" * 100)
_case("text_named_mp3", "not a sound file", _LETTER, ".mp3")
_case("text_named_au", "not a sound file", _LETTER, ".au")
_case("text_named_vox", "cannot be read", _LETTER, ".vox")
_case("random_bytes", "cannot be read", np.random.default_rng(5).bytes(5000))
_case("zeros_only", "cannot be read", bytes(10_000))
_case("zip_named_wav", "cannot be read", b"PK\3\4" + bytes(500))
_case(
    "web_page_named_mp3",
    "not a sound file",
    b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    ".mp3",
)
_case("directory", "no recordings in this folder", lambda path: path.mkdir())
_case("fifo", "not a regular file", lambda path: os.mkfifo(path))
_case("device_without_end", "not a regular file", lambda path: path.symlink_to("/dev/zero"))
# Reading it waits for more messages.
_case("log_of_the_system", "empty", lambda path: path.symlink_to("/proc/kmsg"))
_case("dangling_link", "no such file", lambda path: path.symlink_to(path.with_name("nothing")))
_case("link_to_itself", "no such file", lambda path: path.symlink_to(path))
_case("missing", "no such file", lambda path: None)
_case("name_too_long", "no such file", lambda path: None, file_name="long" * 80 + ".wav")


def _without_permission(path: Path) -> None:
    _encoded(path)
    path.chmod(0)  # which does not stop root


_case("no_permission", "" if os.geteuid() == 0 else "cannot be read", _without_permission)


# ---------------------------------------------------------------- wrong headers


_UNKNOWN_LENGTH = 0xFFFFFFFF
_case("header_of_44_bytes", "no samples", _wav(b""))
_case("header_cut_in_half", "cannot be read", _wav(_PCM)[:20])
_case("more_samples_than_there_are", "cut short", _wav(_PCM, data_size=10 * len(_PCM)))
_case("fewer_samples_than_there_are", "", _wav(_PCM, data_size=len(_PCM) // 2))
_case(
    "length_unknown_as_from_a_pipe",
    "",
    _wav(_PCM, data_size=_UNKNOWN_LENGTH, riff_size=_UNKNOWN_LENGTH),
)
_case("wrong_length_of_the_whole", "", _wav(_PCM, riff_size=7))
_case("no_channels", "cannot be read", _wav(_PCM, channels=0))
_case("channels_by_the_thousand", "cannot be read", _wav(_PCM, channels=65535))
_case("two_channels_that_are_one", "", _wav(_PCM, channels=2))
_case("no_sample_rate", "cannot be read", _wav(_PCM, rate=0))
_case("sample_rate_of_1_hz", "sample rate", _wav(_PCM, rate=1))
_case("sample_rate_of_2_ghz", "sample rate", _wav(_PCM, rate=2_000_000_000))
_case("no_bits", "cannot be read", _wav(_PCM, bits=0))
_case("samples_of_17_bytes", "cannot be read", _wav(_PCM, bits=136))
_case("bytes_that_are_words", "", _wav(_PCM, bits=8))
_case("unknown_codec", "cannot be read", _wav(_PCM, kind=0x6666))
_case("chunk_of_odd_length", "", _wav(_PCM, between=b"LIST" + struct.pack("<I", 3) + b"abc\0"))
_case(
    "chunk_larger_than_the_file",
    "cannot be read",
    _wav(_PCM, between=b"LIST" + struct.pack("<I", 0x7FFFFFFF)),
)
_case(
    "a_thousand_chunks",
    "",
    _wav(_PCM, between=1000 * (b"junk" + struct.pack("<I", 4) + b"junk")),
)


def _flac_of_a_trillion_samples(path: Path) -> bytes:
    content = bytearray(_encoded(path))
    content[21] |= 0x0F  # the 36 bits of their number, in STREAMINFO
    content[22:26] = b"\xff\xff\xff\xff"
    return bytes(content)


_case("flac_of_a_trillion_samples", "are allowed", _flac_of_a_trillion_samples, ".flac")


# ---------------------------------------------------------------- cut or damaged files


def _first_half(seconds: float = 1.0, extra: int = 0):
    def write(path: Path) -> bytes:
        content = _encoded(path, _noise(seconds))
        return content[: len(content) // 2 + extra]

    return write


def _flac_with_damage(path: Path) -> bytes:
    content = bytearray(_encoded(path))
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    return bytes(content)


def _mp3_with_damage(path: Path) -> bytes:
    content = bytearray(_encoded(path, _noise(3.0)))
    content[9000:9050] = b"\xff" * 50
    return bytes(content)


_TAG = b"ID3\4\0\0" + bytes([0, 2, 0, 0])  # of 32 KiB, in groups of seven bits

_case("wav_cut", "cut short", _first_half())
_case("flac_cut", "cannot be read", _first_half(), ".flac")
_case("mp3_cut", "cut short", _first_half(5.0), ".mp3")
_case("ogg_cut_in_a_page", "cut short", _first_half(5.0, extra=7), ".ogg")
_case("flac_with_damage", "cannot be read", _flac_with_damage, ".flac")
_case("mp3_with_damage", "cut short", _mp3_with_damage, ".mp3")
_case(
    "mp3_behind_a_large_tag",
    "",
    lambda path: _TAG + bytes(32768) + _encoded(path, _noise(3.0)),
    ".mp3",
)
_case(
    "mp3_with_a_tag_at_its_end",
    "",
    lambda path: _encoded(path, _noise(3.0)) + b"TAG" + b"x" * 125,
    ".mp3",
)


# ---------------------------------------------------------------- samples


def _with_sample(value: float) -> np.ndarray:
    samples = _noise()
    samples[5000] = value
    return samples


def _ten_hours_of_noise(path: Path) -> None:
    """A second of noise, and a hole in the file up to the last one."""
    path.write_bytes(_wav(_PCM, data_size=36000 * len(_PCM)))
    with path.open("r+b") as file:
        file.seek(44 + 35999 * len(_PCM))
        file.write(_PCM)


def _ten_hours_of_silence(path: Path) -> None:
    with soundfile.SoundFile(path, "w", 1000, 1, "PCM_16") as file:
        for _ in range(36):
            file.write(np.zeros(1_000_000, dtype=np.int16))


_DOUBLES = _noise().astype(np.float64) * 1e300
_CANCELLING = np.hstack([_noise(), -_noise()])
_TOO_LONG = f"lasts 36000 s, and {LONGEST:.0f} s are allowed"

_case("not_a_number", "not numbers", _encoder(_with_sample(np.nan), subtype="FLOAT"))
_case("infinite", "not numbers", _encoder(_with_sample(np.inf), subtype="FLOAT"))
_case("too_large_for_single_precision", "not numbers", _encoder(_DOUBLES, subtype="DOUBLE"))
_case("very_loud", "", _encoder(_noise() * 1e30, subtype="FLOAT"))
_case("very_quiet", "", _encoder(_noise() * 1e-38, subtype="FLOAT"))
_case("digital_silence", "silent", _encoder(np.zeros(RATE)))
_case("constant", "silent", _encoder(np.full(RATE, 0.25)))
_case("one_sample", "silent", _encoder(np.full(1, 0.5)))
_case("two_samples", "", _encoder(np.array([0.5, -0.5])))
_case("shorter_than_a_frame", "", _encoder(_noise(0.005)))
_case("clipped", "", _encoder(np.sign(_noise())))
_case("channels_that_cancel", "", _encoder(_CANCELLING, subtype="FLOAT"))
_case("sixteen_channels", "", _encoder(_noise(0.5, channels=16)))
_case("rate_of_384_khz", "", _encoder(_noise(0.2, 384000), 384000))
_case("rate_that_is_prime", "", _encoder(_noise(0.5, 44101), 44101))
_case("ten_hours_of_noise", _TOO_LONG, _ten_hours_of_noise)
_case("ten_hours_of_silence_in_little_room", _TOO_LONG, _ten_hours_of_silence, ".flac")


# ---------------------------------------------------------------- rare but valid


for _name, _format, _subtype in [
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
    _case(_name, "", _encoder(format=_format, subtype=_subtype))

for _name, _file_name in [
    ("name_with_blanks", " two  blanks .wav"),
    ("name_with_a_line_break", "two\nlines.wav"),
    ("name_with_a_terminal_code", "red\x1b[31m.wav"),
    ("name_of_a_microphone", "🎤.wav"),
    ("name_with_a_leading_dash", "-rf.wav"),
    ("name_without_ending", "recording"),
    ("name_that_a_shell_would_run", "$(touch x); `touch y` | cat .wav"),
]:
    _case(_name, "", lambda path: _encoded(path.with_name("plain.wav")), file_name=_file_name)
