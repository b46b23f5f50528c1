"""Recordings: a file, or a part of one, and how its samples are read."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import lhotse
import numpy as np
import numpy.typing as npt
import soundfile
import torch
from lhotse.cut import Cut
from torch import Tensor

from asr_hlg.audio.resampling import resample_blocks
from asr_hlg.errors import AudioError

Samples = npt.NDArray[np.float32]

_PART = 1 << 18  # samples, over all channels, that are read at once
_MP3_END = 8192  # bytes that may follow the last frame: tags, and the decoder's buffer
_BLOCK_SECONDS = 60  # shorter recordings are read as one block
_COPY_AGAIN = "copy the file again, or leave it out"
_CONVERT = "convert it to FLAC or WAV, with ffmpeg for instance"

SAMPLE_RATES = range(1000, 768001)
"""Sample rates in Hz that recordings have; other values in a header are errors."""


@dataclass(frozen=True)
class Recording:
    """A recording, or a part of one, that has been listed but not read.

    Attributes
    ----------
    id : str
        Unique in its list; without spaces.
    path : Path
        The sound file, or the list or manifest that names the recording.
    offset : float
        Seconds into the file where the recording begins.
    duration : float, optional
        Seconds; ``None`` for all until the end of the file.
    manifest_entry : lhotse.Recording or Cut, optional
        The entry of a Lhotse manifest that describes the recording.
    error : AudioError, optional
        Why the recording cannot be read, if that is clear from the list.
    """

    id: str
    path: Path
    offset: float = 0.0
    duration: float | None = None
    manifest_entry: lhotse.Recording | Cut | None = None
    error: AudioError | None = None

    def expected_duration(self) -> float:
        """Duration in seconds from the list or the file's header; 0 if neither has it."""
        if self.duration is not None:
            return self.duration
        if self.manifest_entry is not None:
            return float(self.manifest_entry.duration)
        if not os.path.isfile(self.path):  # opening a pipe could wait for ever
            return 0.0
        try:
            seconds: float = soundfile.info(os.fsencode(self.path)).duration
        except (OSError, soundfile.SoundFileError):
            return 0.0
        return max(0.0, seconds - self.offset)

    def load(self, sample_rate: int, channel: int | None = None) -> Tensor:
        """Read the whole recording, as one channel.

        Parameters
        ----------
        sample_rate : int
            Of the result, in Hz.
        channel : int, optional
            The channel to read, counted from 0; by default, the average of all.  Ignored for a
            cut of one channel in a Lhotse manifest.

        Returns
        -------
        Tensor
            float32 ``(samples,)`` in [-1, 1].

        Raises
        ------
        AudioError
            If the file is missing, not a sound file, damaged, empty or cut short, does not have
            the channel, or contains only silence.
        """
        return torch.cat(list(self.blocks(sample_rate, channel)))

    def blocks(
        self, sample_rate: int, channel: int | None = None, max_seconds: float = math.inf
    ) -> Iterator[Tensor]:
        """Read the recording as :meth:`load` does, in blocks of about a minute.

        Memory stays constant.  An error near the end of a file is raised there, after the blocks
        before it.  Recordings longer than ``max_seconds`` are an AudioError.
        """
        if self.error is not None:
            raise self.error
        if self.manifest_entry is not None:
            entry = self.manifest_entry
            rate = int(entry.sampling_rate)
            self._check_duration(entry.duration * rate, rate, max_seconds)
            parts = self._manifest_parts(entry, channel)
            yield from self._converted(parts, rate, sample_rate, max_seconds)
            return
        if not os.path.exists(self.path):
            raise self._failure("no such file")
        if not os.path.isfile(self.path):
            raise self._failure("not a regular file", "name a file, not a folder or a pipe")
        try:
            self._check_complete()
            with soundfile.SoundFile(os.fsencode(self.path)) as file:
                if file.format == "RAW":  # which soundfile also concludes from some file names
                    raise self._failure("cannot be read: not a sound file", _CONVERT)
                start, end = self._span(file)
                self._check_duration(end - start, file.samplerate, max_seconds)
                parts = self._file_parts(file, start, end, channel)
                yield from self._converted(parts, file.samplerate, sample_rate, max_seconds)
        except (OSError, soundfile.SoundFileError) as error:
            reason = getattr(error, "error_string", None) or getattr(error, "strerror", error)
            # libsndfile's message for a file that has the suffix of MP3 but another content
            if str(reason).startswith("File does not exist"):
                reason = "not a sound file"
            remedy = None if isinstance(error, OSError) else _CONVERT
            raise self._failure(f"cannot be read: {reason}".rstrip("."), remedy) from None

    def _check_complete(self) -> None:
        """Raise an AudioError for an empty file, and for a WAV or Ogg file whose end is missing.

        Their decoder returns the samples before without an error.  The decoders of other formats
        report it.
        """
        size = self.path.stat().st_size
        if not size:  # also files of the operating system; reading some of them waits for ever
            raise self._failure("the file is empty", _COPY_AGAIN)
        with self.path.open("rb") as file:
            head = file.read(12)
            if head[:4] == b"RIFF" and head[8:] == b"WAVE":
                missing = _missing_in_wav(file, size)
                if missing > 0:
                    reason = f"cut short: the last {missing} bytes are missing"
                    raise self._failure(reason, _COPY_AGAIN)
            elif head[:4] == b"OggS":
                # A page is shorter than 64 KiB.
                file.seek(max(0, size - 65536))
                if not _is_last_ogg_page(file.read().rpartition(b"OggS")[2]):
                    raise self._failure("cut short: the last page is missing", _COPY_AGAIN)

    def _check_duration(self, num_samples: float, rate: int, max_seconds: float) -> None:
        if rate not in SAMPLE_RATES:
            raise self._failure(f"a sample rate of {rate} Hz is out of range", _CONVERT)
        if num_samples > max_seconds * rate:
            raise self._failure(
                f"lasts {num_samples / rate:.0f} s, and {max_seconds:.0f} s are allowed",
                "allow more with --max-duration, or cut it",
            )

    def _converted(
        self, parts: Iterator[Samples], source: int, target: int, max_seconds: float
    ) -> Iterator[Tensor]:
        """Parts of any size as checked and resampled blocks of a minute."""
        checked = self._checked(parts, source, max_seconds)
        blocks = _grouped(checked, _BLOCK_SECONDS * source)
        yield from resample_blocks(map(torch.from_numpy, blocks), source, target)

    def _checked(
        self, parts: Iterator[Samples], rate: int, max_seconds: float
    ) -> Iterator[Samples]:
        """Parts; AudioError if they are longer than allowed, NaN, infinite, empty or all equal.

        Equal samples at the beginning are counted and not kept in memory until a different one
        follows, so that hours of silence take no memory.
        """
        first, num_equal, num_samples, silent = np.float32(0), 0, 0, True
        for part in parts:
            num_samples += len(part)
            self._check_duration(num_samples, rate, max_seconds + 1)  # durations are rounded
            if not np.isfinite(part).all():
                raise self._failure(
                    "the recording holds samples that are not numbers",
                    "export it again, as 16-bit WAV or FLAC",
                )
            if silent:
                first = first if num_equal else part[0]
                if (part == first).all():
                    num_equal = num_samples
                    continue
                silent = False
                for begin in range(0, num_equal, _PART):
                    yield np.full(min(_PART, num_equal - begin), first, dtype=np.float32)
            yield part
        if not num_samples:
            raise self._failure("the recording holds no samples")
        if silent:
            raise self._failure("the recording is silent: all its samples are equal")

    def _span(self, file: soundfile.SoundFile) -> tuple[int, int]:
        """First sample of the recording in its file, and the sample after its last."""
        start = round(self.offset * file.samplerate)
        if 0 < file.frames <= start:
            raise self._failure(
                f"begins at {self.offset:g} s, after the end of the file",
                "correct the segment's times",
            )
        if self.duration is None:
            return start, file.frames
        return start, min(file.frames, start + round(self.duration * file.samplerate))

    def _file_parts(
        self, file: soundfile.SoundFile, start: int, end: int, channel: int | None
    ) -> Iterator[Samples]:
        """Samples of a sound file, of one channel; AudioError if some are missing."""
        if file.format == "MP3" and not _has_mp3_table(self.path):
            # Without it the decoder estimates the length, and stops there even if it is too small.
            with self.path.open("rb") as stream:
                descriptor = stream.fileno()
                with soundfile.SoundFile(descriptor, closefd=False) as mp3:
                    yield from self._read(mp3, start, end, channel)
                    unread = self.path.stat().st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
            if unread > _MP3_END and self.duration is None:
                raise self._failure(
                    "this MP3 has no table of contents, and its end cannot be read",
                    "repair it with: ffmpeg -i OLD.mp3 -c copy NEW.mp3",
                )
            return
        num_read = yield from self._read(file, start, end, channel)
        if num_read < end - start:
            raise self._failure(
                f"cut short: {num_read} of {end - start} samples can be read", _COPY_AGAIN
            )

    def _read(
        self, file: soundfile.SoundFile, start: int, end: int, channel: int | None
    ) -> Generator[Samples, None, int]:
        """Yield the samples ``[start, end)``; return the number that the file has."""
        if start:
            file.seek(start)
        position, size = start, max(1024, _PART // file.channels)
        while position < end:
            part = file.read(min(size, end - position), dtype="float32", always_2d=True)
            if not len(part):
                break
            yield self._one_channel(part.T, channel)
            position += len(part)
        return position - start

    def _manifest_parts(
        self, entry: lhotse.Recording | Cut, channel: int | None
    ) -> Iterator[Samples]:
        """Samples of an entry of a Lhotse manifest, of one channel."""
        if isinstance(entry, lhotse.MonoCut):
            channel = None
        for number in range(max(1, math.ceil(entry.duration / _BLOCK_SECONDS))):
            begin = number * _BLOCK_SECONDS
            try:
                part = entry.to_cut() if isinstance(entry, lhotse.Recording) else entry
                if part.duration > _BLOCK_SECONDS:
                    length = min(_BLOCK_SECONDS, part.duration - begin)
                    part = part.truncate(offset=begin, duration=length)
                samples = np.atleast_2d(part.load_audio())
            except Exception as error:  # Lhotse passes on the errors of its many readers
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise self._failure(f"{self.id} cannot be read: {reason[0]}") from None
            if samples.size:
                yield self._one_channel(samples, channel)

    def _one_channel(self, samples: Samples, channel: int | None) -> Samples:
        """One channel ``(n,)`` of ``(channels, n)``, or the average of all."""
        if channel is None:
            mean: Samples = samples.mean(axis=0, dtype=np.float32)
            return mean
        if not 0 <= channel < len(samples):
            raise self._failure(
                f"there is no channel {channel}: {self.id} has {len(samples)}, counted from 0"
            )
        return np.ascontiguousarray(samples[channel])

    def _failure(self, message: str, remedy: str | None = None) -> AudioError:
        return AudioError(message, path=self.path, remedy=remedy)


def _grouped(parts: Iterator[Samples], size: int) -> Iterator[Samples]:
    """Consecutive parts, joined until they have ``size`` samples or more."""
    group: list[Samples] = []
    for part in parts:
        group.append(part)
        if sum(map(len, group)) >= size:
            yield np.concatenate(group)
            group = []
    if group:
        yield np.concatenate(group)


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
