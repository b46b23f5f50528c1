"""One recording: what is known of it, and reading it."""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import lhotse
import numpy as np
import soundfile
import torch
from lhotse.augmentation import get_or_create_resampler
from lhotse.cut import Cut
from torch import Tensor

from asr_hlg.errors import AudioError

_BLOCK = 1 << 18  # samples read at once, so that 16 channels never lie in memory whole
_RATES = range(1000, 768001)  # Hz; a header that says otherwise lies


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
    item : lhotse.Recording or Cut, optional
        The entry of a Lhotse manifest that describes it.
    fault : AudioError, optional
        Why it cannot be read, where that is known without trying.
    """

    id: str
    path: Path
    offset: float = 0.0
    duration: float | None = None
    item: lhotse.Recording | Cut | None = None
    fault: AudioError | None = None

    def load(self, sample_rate: int, channel: int | None = None) -> Tensor:
        """Read it as one channel.

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
        if self.fault is not None:
            raise self.fault
        if self.item is not None:
            samples, rate = self._read_item(self.item, channel)
        else:
            samples, rate = self._read_file(channel)
        if samples.size == 0:
            raise AudioError("the recording holds no samples", path=self.path)
        if not np.isfinite(samples).all():
            raise AudioError("the recording holds samples that are not numbers", path=self.path)
        if samples.min() == samples.max():
            raise AudioError("the recording is silent: all its samples are equal", path=self.path)
        if rate not in _RATES:
            raise AudioError(f"a sample rate of {rate} Hz is not one of speech", path=self.path)
        return resample(torch.from_numpy(samples), rate, sample_rate)

    def _read_file(self, channel: int | None) -> tuple[np.ndarray, int]:
        if not os.path.exists(self.path):
            raise AudioError("no such file", path=self.path)
        if not os.path.isfile(self.path):
            raise AudioError("not a regular file", path=self.path)
        try:
            _check_complete(self.path)
            with soundfile.SoundFile(os.fsencode(self.path)) as file:
                return self._read_open(file, channel), file.samplerate
        except (OSError, soundfile.SoundFileError) as error:
            reason = getattr(error, "error_string", None) or getattr(error, "strerror", error)
            raise AudioError(f"cannot be read: {reason}".rstrip("."), path=self.path) from None

    def _read_open(self, file: soundfile.SoundFile, channel: int | None) -> np.ndarray:
        start = round(self.offset * file.samplerate)
        if start:
            if start >= file.frames:
                raise AudioError(
                    f"begins at {self.offset:g} s, where the file has ended", path=self.path
                )
            file.seek(start)
        wanted = file.frames - start
        if self.duration is not None:
            wanted = min(wanted, round(self.duration * file.samplerate))
        blocks, got = [], 0
        while got < wanted:
            block = file.read(min(_BLOCK, wanted - got), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(self._mixed(block.T, channel))
            got += len(block)
        # The length of an MP3 without a table of contents is only an estimate.
        if got < wanted and not (file.format == "MP3" and not _has_mp3_table(self.path)):
            raise AudioError(f"cut short: {got} of {wanted} samples are there", path=self.path)
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def _read_item(
        self, item: lhotse.Recording | Cut, channel: int | None
    ) -> tuple[np.ndarray, int]:
        try:
            samples = np.atleast_2d(item.load_audio())
        except Exception as error:  # Lhotse raises what its many readers raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise AudioError(f"{self.id} cannot be read: {reason[0]}", path=self.path) from None
        if isinstance(item, lhotse.MonoCut):
            channel = None
        return self._mixed(samples, channel), int(item.sampling_rate)

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


def resample(samples: Tensor, source: int, target: int) -> Tensor:
    """Samples ``(n,)`` at ``source`` Hz as float32 samples at ``target`` Hz.

    The filter's size grows with the two rates over their greatest common divisor.  Where that is
    small, as for 44101 and 16000, the source counts as the nearest multiple of 10 Hz (100 Hz from
    48 kHz): that moves a time by less than 0.1 % at 8 kHz and above.
    """
    step = 10 if source < 48000 else 100
    if math.gcd(source, target) < step:
        source = round(source / step) * step
    if source == target:
        return samples
    return get_or_create_resampler(source, target)(samples)


def _check_complete(path: Path) -> None:
    """Raise an error for a WAV or Ogg file whose end is missing.

    Their decoder takes what there is without a word.  Other formats are noticed when read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise AudioError("the file is empty", path=path)
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
