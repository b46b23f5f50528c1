"""Sound files: opened by libsndfile, or else by FFmpeg's libraries, and read in parts.

>>> with opened(Path("talk.wav")) as sound:
...     for samples in sound.read(0, None):      # float32 (n, channels)
...         print(sound.sample_rate, samples.shape)
"""

from __future__ import annotations

import os
import shlex
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from asr_hlg.audio import container, formats
from asr_hlg.errors import AudioError

Samples = npt.NDArray[np.float32]

_PART = 1 << 18  # samples, over all channels, that are read at once
_MP3_END = 8192  # bytes that may follow the last frame: tags, and the decoder's buffer
_MPEG_PADDING = 2304  # samples: a header may count those that the encoder added
_COPY_AGAIN = "copy the file again, or leave it out"
_NAME_RATE = "name their rate: --raw RATE - < {0}; or: ffmpeg -f s16le -ar RATE -ac 1 -i {0} {1}"


class Sound(Protocol):
    """Open sound file."""

    sample_rate: int
    num_channels: int
    num_samples: int | None
    """Of each channel, as the header states; None if it does not."""
    notes: list[str]
    """What was noticed while it was read."""

    def read(self, start: int, end: int | None) -> Iterator[Samples]:
        """Samples ``[start, end)`` as float32 parts ``(n, channels)`` in [-1, 1]."""


@contextmanager
def opened(path: Path, first_byte: int = 0) -> Iterator[Sound]:
    """Open a sound file, or one that begins at ``first_byte`` of an archive.

    Raises
    ------
    AudioError
        If the file is missing, empty, cut short, damaged, or not of a known format.
    """
    if not os.path.exists(path):
        is_address = path.parts[:1] in [("http:",), ("https:",)]
        remedy = "download it first: nothing is fetched" if is_address else None
        raise AudioError("no such file", path=path, remedy=remedy)
    if not os.path.isfile(path):
        raise AudioError(
            "not a regular file", path=path, remedy="name a file, not a folder or a pipe"
        )
    try:
        _check_complete(path, first_byte)
        with path.open("rb", buffering=0) as stream:
            stream.seek(first_byte)
            # By its descriptor: libsndfile would take some files for raw samples by their names.
            file = _open(path, stream, first_byte)
            if isinstance(file, soundfile.SoundFile):
                with file:
                    yield SndfileSound(file, path, first_byte)
                return
        with container.opened(path, file) as sound:
            yield sound
    except (OSError, soundfile.SoundFileError) as error:
        raise _refusal(path, error) from None


def _open(path: Path, stream: BinaryIO, first_byte: int) -> soundfile.SoundFile | AudioError | None:
    """Open a file by libsndfile.

    Returns None if FFmpeg's libraries may read the file, and libsndfile's error if the format is
    one that both know, such as WAV with AAC. A WAV file without samples is such a one, too: a
    recorder that was stopped may have left the length 0 in the header.
    """
    try:
        file = soundfile.SoundFile(stream.fileno(), closefd=False)
        if file.frames or first_byte or not file.format.startswith("WAV"):
            return file
        return AudioError("the recording holds no samples", path=path)
    except soundfile.SoundFileError as error:
        if first_byte:
            text = f"no sound file begins at byte {first_byte}"
            raise AudioError(text, path=path) from None
        suffix, head = path.suffix.lower(), formats.head(path)
        if formats.is_shared(head):
            return _refusal(path, error)
        if suffix in formats.AV_SUFFIXES or formats.is_container(head):
            return None
        if suffix in formats.RAW_SUFFIXES:
            raise AudioError(
                "cannot be read: not a sound file, or raw samples, which have no header",
                path=path,
                remedy=_NAME_RATE.format(shlex.quote(path.name), shlex.quote(path.stem + ".wav")),
            ) from None
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> AudioError:
    """Error of the operating system or of libsndfile."""
    reason = str(getattr(error, "error_string", None) or getattr(error, "strerror", error))
    remedy = None if isinstance(error, OSError) else formats.CONVERT
    if reason.startswith("Format not recognised"):
        reason = "not a sound file of a known format"
        remedy = f"{formats.CONVERT}; samples without a header need a rate: --raw RATE - < FILE"
    return AudioError(f"cannot be read: {reason}".rstrip("."), path=path, remedy=remedy)


class SndfileSound:
    """Sound file that libsndfile reads; see :class:`Sound`."""

    def __init__(self, file: soundfile.SoundFile, path: Path, first_byte: int = 0):
        self._file, self._path, self._first_byte = file, path, first_byte
        self.sample_rate: int = file.samplerate
        self.num_channels: int = file.channels
        self.num_samples: int | None = file.frames
        self.notes: list[str] = []

    def read(self, start: int, end: int | None) -> Iterator[Samples]:
        """Samples ``[start, end)``; AudioError if some of them are missing."""
        last = self._file.frames if end is None else min(end, self._file.frames)
        is_mp3 = self._file.format == "MP3" and not self._first_byte
        if is_mp3 and not _has_mp3_table(self._path):
            yield from self._mp3_of_unknown_length(start, last, end is None)
            return
        num_read = 0
        for part in _parts(self._file, start, last):
            num_read += len(part)
            yield part
        padding = _MPEG_PADDING if self._file.subtype.startswith("MPEG") else 0
        if num_read < last - start - padding:
            raise AudioError(
                f"cut short: {num_read} of {last - start} samples can be read",
                path=self._path,
                remedy=_COPY_AGAIN,
            )

    def _mp3_of_unknown_length(self, start: int, end: int, to_end: bool) -> Iterator[Samples]:
        """Samples of an MP3 file whose length the decoder estimates, where it then stops."""
        with self._path.open("rb") as stream:
            descriptor = stream.fileno()
            with soundfile.SoundFile(descriptor, closefd=False) as mp3:
                yield from _parts(mp3, start, end)
                unread = self._path.stat().st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
        if unread > _MP3_END and to_end:
            raise AudioError(
                "this MP3 has no table of contents, and its end cannot be read",
                path=self._path,
                remedy="repair it with: ffmpeg -i OLD.mp3 -c copy NEW.mp3",
            )


def _parts(file: soundfile.SoundFile, start: int, end: int) -> Iterator[Samples]:
    """Samples ``[start, end)`` of an open file, or fewer if the file ends before."""
    if start:
        file.seek(start)
    position, size = start, max(1024, _PART // file.channels)
    while position < end:
        part: Samples = file.read(min(size, end - position), dtype="float32", always_2d=True)
        if not len(part):
            return
        yield part
        position += len(part)


def _check_complete(path: Path, first_byte: int) -> None:
    """Raise an AudioError for an empty file, and for a WAV or Ogg file whose end is missing.

    Their decoder returns the samples before without an error.  The decoders of other formats
    report it.
    """
    size = path.stat().st_size
    if not size:  # also files of the operating system; reading some of them waits for ever
        raise AudioError("the file is empty", path=path, remedy=_COPY_AGAIN)
    with path.open("rb") as file:
        file.seek(first_byte)
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            missing = _missing_in_wav(file, size)
            if missing > 0:
                raise AudioError(
                    f"cut short: the last {missing} bytes are missing",
                    path=path,
                    remedy=_COPY_AGAIN,
                )
        elif head[:4] == b"OggS" and not first_byte:
            # A page is shorter than 64 KiB.
            file.seek(max(0, size - 65536))
            if not _is_last_ogg_page(file.read().rpartition(b"OggS")[2]):
                reason = "cut short: the last page is missing"
                raise AudioError(reason, path=path, remedy=_COPY_AGAIN)


def _is_last_ogg_page(page: bytes) -> bool:
    """Whether a page, without its magic, is complete and the last of its stream (RFC 3533, 6)."""
    if len(page) < 23 or not page[1] & 4:
        return False
    segments = page[22]
    return len(page) >= 23 + segments + sum(page[23 : 23 + segments])


def _missing_in_wav(file: BinaryIO, size: int) -> int:
    """Bytes by which a WAV file is shorter than its header states."""
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            # Programs that write into a pipe cannot know the length, and write 2 or 4 GiB.
            known = 0 < length < 0x7FFF0000
            return int(file.tell() + length - size) if known else 0
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _has_mp3_table(path: Path) -> bool:
    """Whether an MP3 file has a table of contents, and with it its exact length."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    return b"Xing" in head or b"Info" in head
