"""One recording: what is known of it, and reading it."""

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
import soundfile
import torch
from lhotse.cut import Cut
from torch import Tensor

from asr_hlg.audio.resampling import resample_blocks
from asr_hlg.errors import AudioError

_PART = 1 << 18  # samples of all channels read at once, so that many never lie in memory whole
_MP3_END = 8192  # bytes that may follow the last sound: tags, and what decoders read ahead
_BLOCK_SECONDS = 60  # what is shorter comes as one block
RATES = range(1000, 768001)
"""Sample rates in Hz that sound has; a header that says otherwise lies."""


@dataclass(frozen=True)
class Recording:
    """One recording, or a part of one, that has been found but not read.

    Attributes
    ----------
    id : str
        Unique in its list; without spaces.
    path : Path
        The file that holds it, or the list that names it.
    offset : float
        Seconds into the file where it begins.
    duration : float, optional
        Seconds; ``None`` to the end of the file.
    manifest_entry : lhotse.Recording or Cut, optional
        The entry of a Lhotse manifest that describes it.
    error : AudioError, optional
        Why it cannot be read, where that is known without trying.
    """

    id: str
    path: Path
    offset: float = 0.0
    duration: float | None = None
    manifest_entry: lhotse.Recording | Cut | None = None
    error: AudioError | None = None

    def expected_duration(self) -> float:
        """Seconds that it should last, by what its list or its header says; 0 if they do not."""
        if self.duration is not None:
            return self.duration
        if self.manifest_entry is not None:
            return self.manifest_entry.duration
        if not os.path.isfile(self.path):  # a pipe, say, which would be waited for
            return 0.0
        try:
            return max(0.0, soundfile.info(os.fsencode(self.path)).duration - self.offset)
        except (OSError, soundfile.SoundFileError):
            return 0.0

    def load(self, sample_rate: int, channel: int | None = None) -> Tensor:
        """Read it whole, as one channel.

        Parameters
        ----------
        sample_rate : int
            Of the result, in Hz.
        channel : int, optional
            The channel to read, counted from 0; by default, the average of all.  A cut of one
            channel of a Lhotse recording has chosen already.

        Returns
        -------
        Tensor
            float32 ``(samples,)`` in [-1, 1].

        Raises
        ------
        AudioError
            If the file is missing, no sound file, damaged, empty or cut short, has not the
            channel asked for, or holds nothing but silence.
        """
        return torch.cat(list(self.blocks(sample_rate, channel)))

    def blocks(
        self, sample_rate: int, channel: int | None = None, max_seconds: float = math.inf
    ) -> Iterator[Tensor]:
        """Read it as :meth:`load` does, about a minute at a time, so that memory stays flat.

        What is wrong near the end of a file is raised there, after the blocks before it. Longer
        recordings than ``max_seconds`` are refused.
        """
        if self.error is not None:
            raise self.error
        if self.manifest_entry is not None:
            rate = int(self.manifest_entry.sampling_rate)
            self._check_size(self.manifest_entry.duration * rate, rate, max_seconds)
            parts = self._item_parts(self.manifest_entry, channel)
            yield from self._prepared(parts, rate, sample_rate, max_seconds)
            return
        if not os.path.exists(self.path):
            raise AudioError("no such file", path=self.path)
        if not os.path.isfile(self.path):
            raise AudioError("not a regular file", path=self.path)
        try:
            _check_complete(self.path)
            with soundfile.SoundFile(os.fsencode(self.path)) as file:
                if file.format == "RAW":  # which a name's ending alone may stand for
                    raise AudioError("cannot be read: not a sound file", path=self.path)
                start, end = self._span(file)
                self._check_size(end - start, file.samplerate, max_seconds)
                parts = self._file_parts(file, start, end, channel)
                yield from self._prepared(parts, file.samplerate, sample_rate, max_seconds)
        except (OSError, soundfile.SoundFileError) as error:
            reason = getattr(error, "error_string", None) or getattr(error, "strerror", error)
            if str(reason).startswith("File does not exist"):  # said of what is called .mp3
                reason = "not a sound file"
            raise AudioError(f"cannot be read: {reason}".rstrip("."), path=self.path) from None

    def _check_size(self, num_samples: float, rate: int, most: float) -> None:
        """Refuse what lasts longer than so many seconds, or has a rate that no sound has."""
        if rate not in RATES:
            raise AudioError(f"a sample rate of {rate} Hz is not one of speech", path=self.path)
        if num_samples > most * rate:
            raise AudioError(
                f"lasts {num_samples / rate:.0f} s, and {most:.0f} s are allowed",
                path=self.path,
                remedy="allow more with --max-duration, or cut it",
            )

    def _prepared(
        self, parts: Iterator[np.ndarray], source: int, target: int, most: float
    ) -> Iterator[Tensor]:
        """Parts of any size as checked and resampled blocks of a minute."""
        sounding = self._sounding(self._counted(parts, source, most))
        blocks = _grouped(sounding, _BLOCK_SECONDS * source)
        yield from resample_blocks(map(torch.from_numpy, blocks), source, target)

    def _counted(self, parts: Iterator[np.ndarray], rate: int, most: float) -> Iterator[np.ndarray]:
        """The parts, as long as they do not grow beyond what their header said they would."""
        got = 0
        for part in parts:
            got += len(part)
            self._check_size(got, rate, most + 1)  # headers round
            yield part

    def _sounding(self, parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The parts of a recording that is more than one value repeated.

        Such a beginning is counted rather than kept: hours of silence take neither memory nor
        the time of a search.
        """
        first, equal, sounds = 0.0, 0, False
        for part in parts:
            if not np.isfinite(part).all():
                raise AudioError("the recording holds samples that are not numbers", path=self.path)
            if not sounds:
                first = first if equal else part[0]
                if (part == first).all():
                    equal += len(part)
                    continue
                sounds = True
                for begin in range(0, equal, _PART):
                    yield np.full(min(_PART, equal - begin), first, dtype=np.float32)
            yield part
        if not sounds:
            raise AudioError(
                "the recording is silent: all its samples are equal"
                if equal
                else "the recording holds no samples",
                path=self.path,
            )

    def _span(self, file: soundfile.SoundFile) -> tuple[int, int]:
        """The samples at which the recording begins and ends in its file."""
        start = round(self.offset * file.samplerate)
        if 0 < file.frames <= start:
            raise AudioError(
                f"begins at {self.offset:g} s, where the file has ended", path=self.path
            )
        if self.duration is None:
            return start, file.frames
        return start, min(file.frames, start + round(self.duration * file.samplerate))

    def _file_parts(
        self, file: soundfile.SoundFile, start: int, end: int, channel: int | None
    ) -> Iterator[np.ndarray]:
        if file.format == "MP3" and not _has_mp3_table(self.path):
            # Its length is only an estimate, at which the decoder stops if it is too small.
            with self.path.open("rb") as stream:
                place = stream.fileno()
                with soundfile.SoundFile(place, closefd=False) as again:
                    yield from self._read(again, start, end, channel)
                    left = self.path.stat().st_size - os.lseek(place, 0, os.SEEK_CUR)
            if left > _MP3_END and self.duration is None:
                raise AudioError(
                    "this MP3 does not say how long it is, and its end cannot be read",
                    path=self.path,
                    remedy="repair it with: ffmpeg -i OLD.mp3 -c copy NEW.mp3",
                )
            return
        got = yield from self._read(file, start, end, channel)
        if got < end - start:
            raise AudioError(f"cut short: {got} of {end - start} samples are there", path=self.path)

    def _read(
        self, file: soundfile.SoundFile, start: int, end: int, channel: int | None
    ) -> Generator[np.ndarray, None, int]:
        """Samples between two places, as far as there are any; returns how many there were."""
        if start:
            file.seek(start)
        at, size = start, max(1024, _PART // file.channels)
        while at < end:
            part = file.read(min(size, end - at), dtype="float32", always_2d=True)
            if not len(part):
                break
            yield self._mixed(part.T, channel)
            at += len(part)
        return at - start

    def _item_parts(
        self, item: lhotse.Recording | Cut, channel: int | None
    ) -> Iterator[np.ndarray]:
        if isinstance(item, lhotse.MonoCut):
            channel = None
        for number in range(max(1, math.ceil(item.duration / _BLOCK_SECONDS))):
            begin = number * _BLOCK_SECONDS
            try:
                part = item.to_cut() if isinstance(item, lhotse.Recording) else item
                if part.duration > _BLOCK_SECONDS:
                    length = min(_BLOCK_SECONDS, part.duration - begin)
                    part = part.truncate(offset=begin, duration=length)
                samples = np.atleast_2d(part.load_audio())
            except Exception as error:  # Lhotse raises what its many readers raise
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise AudioError(f"{self.id} cannot be read: {reason[0]}", path=self.path) from None
            if samples.size:
                yield self._mixed(samples, channel)

    def _mixed(self, samples: np.ndarray, channel: int | None) -> np.ndarray:
        """``(channels, n)`` to one channel ``(n,)``."""
        if channel is None:
            return samples.mean(axis=0, dtype=np.float32)
        if not 0 <= channel < len(samples):
            raise AudioError(
                f"there is no channel {channel}: {self.id} has {len(samples)}, counted from 0",
                path=self.path,
            )
        return np.ascontiguousarray(samples[channel])


def _grouped(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Consecutive parts joined until they have ``size`` samples or more."""
    group: list[np.ndarray] = []
    for part in parts:
        group.append(part)
        if sum(map(len, group)) >= size:
            yield np.concatenate(group)
            group = []
    if group:
        yield np.concatenate(group)


def _check_complete(path: Path) -> None:
    """Raise an error for a WAV or Ogg file whose end is missing.

    Their decoder takes what there is without a word.  Other formats are noticed when read.
    """
    size = path.stat().st_size
    if not size:  # also files of the system's own, some of which wait for ever when read
        raise AudioError("the file is empty", path=path)
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            missing = _missing_in_wav(file, size)
            if missing > 0:
                raise AudioError(f"cut short: the last {missing} bytes are missing", path=path)
        elif head[:4] == b"OggS":
            # A page is shorter than 64 KiB.
            file.seek(max(0, size - 65536))
            if not _ends_ogg(file.read().rpartition(b"OggS")[2]):
                raise AudioError("cut short: the last page is missing", path=path)


def _ends_ogg(page: bytes) -> bool:
    """Whether a page, without its magic, is whole and the last of its stream (RFC 3533, 6)."""
    if len(page) < 23 or not page[1] & 4:
        return False
    segments = page[22]
    return len(page) >= 23 + segments + sum(page[23 : 23 + segments])


def _missing_in_wav(file: BinaryIO, size: int) -> int:
    """Bytes that the header promises and the file lacks."""
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            # Programs that write into a pipe cannot know the length, and claim 2 or 4 GiB.
            known = 0 < length < 0x7FFF0000
            return file.tell() + length - size if known else 0
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _has_mp3_table(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(1 << 20)
    return b"Xing" in head or b"Info" in head
