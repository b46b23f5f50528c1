"""Sound of files that libsndfile does not read (AAC, MP4, WebM, …), by FFmpeg's libraries.

The package ``av`` contains the libraries. A file is read through a Python file object, and formats
that name other files or addresses (playlists, HLS, image sequences) are refused, so that a file
from a stranger cannot make FFmpeg open anything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from asr_hlg.audio.formats import CONVERT, how_to_convert
from asr_hlg.errors import AsrHlgError, AudioError
from asr_hlg.versions import optional

Samples = npt.NDArray[np.float32]

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,loas,amr,amrnb,amrwb,asf,avi,flv,mpegts,mpeg,"
    "mpegvideo,mp3,ogg,wav,w64,caf,aiff,au,voc,ac3,eac3,dts,dtshd,truehd,mlp,ape,wv,tta,tak,mpc,"
    "mpc8,rm,gsm,g722,dsf,mxf,oma,shn,nut,dv,qcp,iff,flac,wtv,live_flv"
)
_WITH_LENGTH = frozenset(
    ("mov", "matroska", "asf", "avi", "caf", "aiff", "wav", "ape", "wv", "tta")
)
"""Formats whose headers state the length of the sound; FFmpeg estimates that of others."""

_WITH_INDEX = frozenset(("mov", "matroska"))  # in which a place is found exactly
_PART = 1 << 18  # samples, over all channels, that are passed on at once
_GAP = 0.1  # seconds without sound, by the time stamps, that become silence
_LONGEST_GAP = 600.0  # seconds; more is a fault of the time stamps
_SEEK_FROM = 30.0  # seconds into the file before which all is decoded
_DECODE_BEFORE = 2.0  # seconds decoded before a place, for the decoder to settle
_MISSING = 1.0  # seconds by which a file may be shorter than its header states
_DAMAGED = 3, 0.01  # packets that may be damaged, and the share of packets that may be so as well

_SAMPLE_TYPES: dict[str, tuple[np.dtype[Any], float]] = {
    "u8": (np.dtype(np.uint8), 128.0),
    "s16": (np.dtype(np.int16), 32768.0),
    "s32": (np.dtype(np.int32), 2147483648.0),
    "flt": (np.dtype(np.float32), 1.0),
    "dbl": (np.dtype(np.float64), 1.0),
}
"""Type and largest value of each sample format of FFmpeg."""


@contextmanager
def opened(path: Path, refusal: AudioError | None = None) -> Iterator[ContainerSound]:
    """Open a file of sound or video.

    Parameters
    ----------
    path : Path
    refusal : AudioError, optional
        Why libsndfile does not read the file; is raised if FFmpeg cannot open it either.

    Raises
    ------
    AudioError
        If the package ``av`` is missing, or the file has no sound that it can decode.
    """
    try:
        av = optional("av", "av.error", purpose="reading this format", extra="av")
    except AsrHlgError as error:
        raise refusal or AudioError(error.message, path=path, remedy=how_to_convert(path)) from None
    with path.open("rb") as stream, _errors_of(path):
        try:
            container = _open(av, stream)
        except Exception as error:
            raise refusal or error from None
        with container:
            try:
                sound = ContainerSound(container, path)
            except Exception as error:
                raise refusal or error from None
            yield sound


class _ShortReads:
    """File that returns a megabyte at most, however much a damaged file makes FFmpeg ask for."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.seek, self.tell, self.name = stream.seek, stream.tell, stream.name

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, 1 << 20))


def _open(av: Any, stream: BinaryIO) -> Any:
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    # Until version 19, tags that are not UTF-8 are an error unless this is given.
    tags = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
    return av.open(_ShortReads(stream), mode="r", options=options, **tags)


class ContainerSound:
    """First sound stream of an open file.

    Attributes
    ----------
    sample_rate, num_channels : int
    num_samples : int, optional
        As the header states it; None if FFmpeg only estimates it.
    notes : list of str
        What was noticed so far: damaged packets.
    """

    def __init__(self, container: Any, path: Path):
        self._container, self._path = container, path
        self.notes: list[str] = []
        if not container.streams.audio:
            raise self._failure("has no sound", "name a file with sound")
        self._stream = container.streams.audio[0]
        if self._stream.codec_context is None:
            raise self._failure("cannot be read: its codec is unknown", CONVERT)
        self._stream.codec_context.thread_count = 1  # workers are single-threaded
        self._starts_at_zero = True
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise self._failure("cannot be read: no sound can be decoded", CONVERT)
        self._frames = chain([first], self._frames)
        self.sample_rate = int(first.sample_rate)
        self.num_channels = int(first.layout.nb_channels)
        self._seconds = self._stated_duration()
        self.num_samples = (
            None if self._seconds is None else math.ceil(self._seconds * self.sample_rate)
        )

    def read(self, start: int, end: int | None) -> Iterator[Samples]:
        """Samples ``[start, end)`` as float32 parts ``(n, channels)``.

        Raises
        ------
        AudioError
            If the file is damaged, or its sound is shorter than the header states.
        """
        if start > _SEEK_FROM * self.sample_rate and self._has(_WITH_INDEX):
            self._seek(start)
        group: list[Samples] = []
        for position, samples in self._placed():
            begin = max(0, start - position)
            samples = samples[begin : None if end is None else max(0, end - position)]
            if len(samples):
                group.append(samples)
            if sum(map(len, group)) * self.num_channels >= _PART:
                yield np.concatenate(group)
                group = []
            if end is not None and position + begin + len(samples) >= end:
                break
        if group:
            yield np.concatenate(group)

    def _placed(self) -> Iterator[tuple[int, Samples]]:
        """Samples of each frame with the position of the first; silence where there are none.

        Positions count from the start of the file, which may be before the start of its sound.
        """
        position: int | None = None
        shift = 0  # of the time stamps, after a fault
        for frame in self._frames:
            samples = self._samples(frame)
            stated = self._position(frame)
            if position is None:
                position = 0 if self._starts_at_zero or stated is None else max(0, stated)
            if stated is not None:
                gap = stated + shift - position
                if gap > _LONGEST_GAP * self.sample_rate:
                    shift -= gap
                elif gap > _GAP * self.sample_rate:
                    yield position, np.zeros((gap, self.num_channels), dtype=np.float32)
                    position += gap
            yield position, samples
            position += len(samples)
        self._check_length(position or 0)

    def _seek(self, start: int) -> None:
        """Continue with frames a little before a sample."""
        seconds = start / self.sample_rate - _DECODE_BEFORE + self._start_seconds()
        self._container.seek(
            int(seconds / self._stream.time_base), stream=self._stream, backward=True
        )
        self._frames, self._starts_at_zero = self._decode(), False

    def _decode(self) -> Iterator[Any]:
        """Frames; packets before the first that cannot be decoded, and a few others, are left out.

        Where the time stamps show a gap, it becomes silence.
        """
        num_packets = num_damaged = 0
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except OSError:
                raise
            except Exception:  # of many classes
                if not num_packets:
                    continue
                num_damaged += 1
                if num_damaged > _DAMAGED[0] + _DAMAGED[1] * num_packets:
                    raise
                self.notes[:] = [f"{num_damaged} packets of the sound are damaged and left out"]
                continue
            num_packets += bool(frames)
            yield from frames

    def _samples(self, frame: Any) -> Samples:
        """Samples of a frame, float32 ``(n, channels)`` in [-1, 1]."""
        if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.num_channels):
            raise self._failure("its rate or number of channels changes within the file", CONVERT)
        name = frame.format.name.removesuffix("p")
        if name not in _SAMPLE_TYPES:
            raise self._failure(f"cannot be read: samples of type {name}", CONVERT)
        dtype, full_scale = _SAMPLE_TYPES[name]
        # Not by to_ndarray: it crashes on some frames of more channels than eight.
        if frame.format.is_planar:
            planes = frame.planes[: self.num_channels]
            values: npt.NDArray[Any] = np.stack(
                [np.frombuffer(p, dtype, frame.samples) for p in planes], axis=1
            )
        else:
            num_values = frame.samples * self.num_channels
            values = np.frombuffer(frame.planes[0], dtype, num_values)
            values = values.reshape(-1, self.num_channels)
        samples: Samples = values.astype(np.float32)
        if name == "u8":
            samples -= 128.0
        samples /= full_scale
        return samples

    def _position(self, frame: Any) -> int | None:
        """Position of a frame's first sample by its time stamp."""
        if frame.pts is None or frame.time_base is None:
            return None
        seconds = float(frame.pts * frame.time_base) - self._start_seconds()
        return round(seconds * self.sample_rate)

    def _start_seconds(self) -> float:
        return (self._container.start_time or 0) / 1e6

    def _stated_duration(self) -> float | None:
        """Seconds of sound that the header states, None if it does not.

        The duration of a film without one of its sound stream is no statement about the sound.
        """
        stream = self._stream
        if not self._has(_WITH_LENGTH):
            return None
        if stream.duration is not None and stream.time_base is not None:
            return max(0.0, float(stream.duration * stream.time_base))
        if self._container.duration is None or self._container.streams.video:
            return None
        return max(0.0, float(self._container.duration) / 1e6)

    def _check_length(self, num_samples: int) -> None:
        """Raise an AudioError if the sound is shorter than the header states."""
        if self._seconds is None:
            return
        seconds = num_samples / self.sample_rate
        if seconds < self._seconds - max(_MISSING, 0.02 * self._seconds):
            raise self._failure(
                f"cut short: {seconds:.1f} of {self._seconds:.1f} s can be read",
                "copy the file again, or leave it out",
            )

    def _has(self, formats: frozenset[str]) -> bool:
        """Whether the file's format is one of these."""
        return not formats.isdisjoint(self._container.format.name.split(","))

    def _failure(self, message: str, remedy: str | None) -> AudioError:
        return AudioError(message, path=self._path, remedy=remedy)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Errors of FFmpeg and of its Python package, as AudioError."""
    try:
        yield
    except AsrHlgError:
        raise
    except Exception as error:  # of many classes, depending on what is damaged
        # FFmpeg has an error of this kind, too, for files that claim enormous packets.
        if isinstance(error, MemoryError) and not hasattr(error, "errno"):
            raise
        reason = getattr(error, "strerror", None)
        if reason is None:  # not an error of FFmpeg, but of the package
            reason = f"damaged, or not sound; {type(error).__name__}: {error}"
        elif not reason.strip() or "Invalid data" in reason:
            reason = "damaged, or not sound"
        raise AudioError(f"cannot be read: {reason}", path=path, remedy=CONVERT) from None
