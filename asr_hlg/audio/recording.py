"""Recordings: a file, or a part of one, and how its samples are read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr_hlg.audio import sound_file
from asr_hlg.audio.channels import Mixer
from asr_hlg.audio.formats import CONVERT
from asr_hlg.audio.resampling import Samples, resample_blocks
from asr_hlg.audio.sound_file import Sound
from asr_hlg.errors import AudioError, SilenceError

if TYPE_CHECKING:
    import lhotse
    from lhotse.cut import Cut

_PART = 1 << 18  # samples of silence that are passed on at once
_OVERSHOOT = 0.5  # seconds by which a segment may end after its file, as in Kaldi
_BLOCK_SECONDS = 60  # shorter recordings are read as one block

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
    channel : int, optional
        The channel of the file that this recording is, from 0; of a file with one channel, that.
    first_byte : int
        Where the sound file begins in an archive of several, as in Kaldi's ``wav.ark:1234``.
    name, channel_name : str
        Name of the whole recording and of the channel, for formats that have both, such as CTM;
        empty for ``id`` and channel 1.
    notes : list of str
        What was noticed in the sound when it was last read to its end: channels that cancel each
        other, clipping, near silence, damaged packets.
    """

    id: str
    path: Path
    offset: float = 0.0
    duration: float | None = None
    manifest_entry: lhotse.Recording | Cut | None = None
    error: AudioError | None = None
    channel: int | None = None
    first_byte: int = 0
    name: str = ""
    channel_name: str = ""
    notes: list[str] = field(default_factory=list, compare=False)

    def expected_duration(self) -> float:
        """Duration in seconds from the list or the file's header; 0 if neither has it."""
        if self.duration is not None:
            return self.duration
        if self.manifest_entry is not None:
            return float(self.manifest_entry.duration)
        try:
            with sound_file.opened(self.path, self.first_byte) as sound:
                seconds = (sound.num_samples or 0) / max(1, sound.sample_rate)
        except AudioError:
            return 0.0
        return max(0.0, seconds - self.offset)

    def num_channels(self) -> int:
        """Number of channels that the file's header or the manifest states; 1 if it has none."""
        if self.error is not None:
            return 1
        if self.manifest_entry is not None:
            return num_channels(self.manifest_entry)
        try:
            with sound_file.opened(self.path, self.first_byte) as sound:
                return sound.num_channels
        except AudioError:
            return 1

    def load(self, sample_rate: int, channel: int | None = None) -> Samples:
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
        np.ndarray
            float32 ``(samples,)`` in [-1, 1].

        Raises
        ------
        AudioError
            If the file is missing, not a sound file, damaged, empty or cut short, does not have
            the channel, or contains only silence.
        """
        return np.concatenate(list(self.blocks(sample_rate, channel)))

    def blocks(
        self, sample_rate: int, channel: int | None = None, max_seconds: float = math.inf
    ) -> Iterator[Samples]:
        """Read the recording as :meth:`load` does, in blocks of about a minute.

        Memory stays constant.  An error near the end of a file is raised there, after the blocks
        before it.  Recordings longer than ``max_seconds`` are an AudioError.
        """
        if self.error is not None:
            raise self.error
        self.notes.clear()
        if self.manifest_entry is not None:
            entry = self.manifest_entry
            rate = int(entry.sampling_rate)
            self._check_duration(entry.duration * rate, rate, max_seconds)
            import lhotse

            if isinstance(entry, lhotse.MonoCut):
                channel = None
            parts = self._mixed(self._manifest_parts(entry), channel, num_channels(entry))
            yield from self._converted(parts, rate, sample_rate, max_seconds)
            return
        with sound_file.opened(self.path, self.first_byte) as sound:
            start, end = self._span(sound)
            last = sound.num_samples if end is None else end
            self._check_duration((last or start) - start, sound.sample_rate, max_seconds)
            parts = self._mixed(sound.read(start, end), channel, sound.num_channels)
            yield from self._converted(parts, sound.sample_rate, sample_rate, max_seconds)
            self.notes.extend(sound.notes)

    def _check_duration(self, num_samples: float, rate: int, max_seconds: float) -> None:
        if rate not in SAMPLE_RATES:
            raise self._failure(f"a sample rate of {rate} Hz is out of range", CONVERT)
        if num_samples > max_seconds * rate:
            raise self._failure(
                f"lasts {num_samples / rate:.0f} s, and {max_seconds:.0f} s are allowed",
                "allow more with --max-duration, or cut it",
            )

    def _converted(
        self, parts: Iterator[Samples], source: int, target: int, max_seconds: float
    ) -> Iterator[Samples]:
        """Parts of any size as checked and resampled blocks of a minute."""
        checked = self._checked(parts, source, max_seconds)
        blocks = _grouped(checked, _BLOCK_SECONDS * source)
        yield from resample_blocks(blocks, source, target)

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
            message = "the recording is silent: all its samples are equal"
            raise SilenceError(message, path=self.path)

    def _span(self, sound: Sound) -> tuple[int, int | None]:
        """First sample of the recording in its file, and the sample after its last."""
        start = round(self.offset * sound.sample_rate)
        if sound.num_samples is not None and 0 < sound.num_samples <= start:
            raise self._failure(
                f"begins at {self.offset:g} s, after the end of the file",
                "correct the segment's times",
            )
        if self.duration is None:
            return start, None
        end = start + round(self.duration * sound.sample_rate)
        if sound.num_samples and end > sound.num_samples + _OVERSHOOT * sound.sample_rate:
            raise self._failure(
                f"ends at {self.offset + self.duration:g} s, after the end of the file at "
                f"{sound.num_samples / sound.sample_rate:g} s",
                "correct the segment's times",
            )
        return start, end

    def _mixer(self, channel: int | None, num_channels: int) -> Mixer:
        """What makes one channel of those of the file."""
        if self.channel is not None:
            channel = self.channel if num_channels > 1 else None
        if channel is not None and not 0 <= channel < num_channels:
            raise self._failure(
                f"there is no channel {channel}: {self.id} has {num_channels}, counted from 0"
            )
        return Mixer(channel)

    def _mixed(
        self, parts: Iterator[Samples], channel: int | None, num_channels: int
    ) -> Iterator[Samples]:
        """One channel of parts ``(n, channels)``; what is noticed is kept in ``notes``."""
        mixer = self._mixer(channel, num_channels)
        for part in parts:
            yield mixer.mix(part)
        self.notes[:] = mixer.notes()

    def _manifest_parts(self, entry: lhotse.Recording | Cut) -> Iterator[Samples]:
        """Samples ``(n, channels)`` of an entry of a Lhotse manifest."""
        import lhotse

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
                yield samples.T

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


def num_channels(entry: lhotse.Recording | Cut) -> int:
    """Number of channels of a manifest's entry."""
    import lhotse

    if isinstance(entry, lhotse.MonoCut):
        return 1
    try:
        return int(getattr(entry, "num_channels", 1) or 1)
    except TypeError:  # lhotse counts what should be a list; reading names the fault
        return 1
