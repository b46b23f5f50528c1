"""Features, labels and augmentation of scripts/train_times.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import signal

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.numpy_fbank import fbank

RATE = 16000  # Hz
_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH"),
    *("T", "TH", "V", "W", "Y", "Z", "ZH"),
)
PHONES = (*sorted(_VOWELS + _CONSONANTS), "SIL")

Floats = npt.NDArray[np.float32]
Segment = tuple[tuple[str, ...], float, float]

_INDEX = {phone: number for number, phone in enumerate(PHONES)}
_SPEEDS = (85, 88, 91, 94, 97, 103, 106, 109, 112, 116)  # percent


def augmented(
    samples: Floats,
    segments: Sequence[Segment],
    options: FbankOptions,
    copy: int,
    rng: np.random.Generator,
) -> tuple[Floats, npt.NDArray[np.int16]]:
    """Filter banks and labels of a changed recording; the first copy often keeps its speed."""
    factor = 1.0
    x = samples.astype(np.float64)
    if copy > 0 or rng.random() < 0.3:
        speed = int(rng.choice(_SPEEDS))
        x, factor = signal.resample_poly(x, 100, speed), 100 / speed
    if rng.random() < 0.25:  # a telephone's band
        band = [rng.uniform(80, 350), rng.uniform(3200, 3700)]
        x = signal.sosfiltfilt(signal.butter(3, band, "band", fs=RATE, output="sos"), x)
    if rng.random() < 0.25:  # a room
        size = int(RATE * rng.uniform(0.02, 0.25))
        echo = rng.standard_normal(size) * np.exp(-6.9 * np.arange(size) / size)
        echo *= rng.uniform(0.02, 0.12)
        echo[0] = 1.0
        x = signal.fftconvolve(x, echo)[: len(x)]
    x *= 10 ** rng.uniform(-1.6, -0.02) / (np.abs(x).max() + 1e-6)
    if rng.random() < 0.92:  # noise
        snr = rng.uniform(8, 35) if rng.random() < 0.65 else rng.uniform(35, 70)
        x += coloured_noise(len(x), rng) * np.sqrt((x**2).mean()) * 10 ** (-snr / 20)
    features = fbank(x.astype(np.float32), RATE, options)
    return features, labels(segments, len(features), options.frame_shift, factor)


def coloured_noise(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise of power 1 whose spectrum falls or rises."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum *= (np.arange(len(spectrum)) + 20.0) ** (-rng.uniform(-1, 1.5) / 2)
    noise = np.fft.irfft(spectrum, size)
    result: npt.NDArray[np.float64] = noise / np.sqrt((noise**2).mean() + 1e-12)
    return result


def labels(
    segments: Sequence[Segment], num_frames: int, shift: float, factor: float
) -> npt.NDArray[np.int16]:
    """Columns of the frames: three equal states a phone; -1 where it is not known.

    Of a segment of two phones, the middle is not known.
    """
    result = np.full(num_frames, -1, np.int16)
    middles = (np.arange(num_frames) + 0.5) * shift
    for phones, start, end in _joined_pauses(segments):
        begin, stop = np.searchsorted(middles, [start * factor, end * factor])
        place = (middles[begin:stop] / factor - start) / max(end - start, 1e-6)
        if len(phones) == 1:
            result[begin:stop] = _states(phones[0], place)
        else:
            inner = np.full(stop - begin, -1)
            first, second = place < 0.35, place > 0.7
            inner[first] = _states(phones[0], place[first] / 0.55)
            inner[second] = _states(phones[1], (place[second] - 0.55) / 0.45)
            result[begin:stop] = inner
    return result


def _states(phone: str, place: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return _INDEX[phone] * 3 + np.clip((place * 3).astype(int), 0, 2)


def _joined_pauses(segments: Sequence[Segment]) -> list[Segment]:
    result: list[Segment] = []
    for phones, start, end in segments:
        if result and phones == ("SIL",) == result[-1][0]:
            result[-1] = (phones, result[-1][1], end)
        else:
            result.append((phones, start, end))
    return result


def merged(
    theirs: Sequence[Sequence[Any]], ours: Sequence[Sequence[Any]], late: float
) -> list[Segment]:
    """Segments from two alignments of the same words.

    Boundaries within speech are theirs, ``late`` seconds later, unless both differ by more than
    60 ms or the pronunciations differ; edges of pauses are ours.
    """
    segments: list[Segment] = []
    time = 0.0
    for number, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        is_same = [phone[0] for phone in a] == [phone[0] for phone in b]
        for place, (name, start, end) in enumerate(b):
            follows = place > 0 or (number > 0 and start - ours[number - 1][-1][2] < 1e-3)
            is_last = place == len(b) - 1
            goes_on = not is_last or (
                number + 1 < len(ours) and ours[number + 1][0][1] - end < 1e-3
            )
            if is_same and follows:
                start = _theirs_if_near(start, a[place][1] + late)
            if is_same and goes_on:
                end = _theirs_if_near(end, a[place][2] + late)
            start = max(start, time)
            end = max(end, start + 0.01)
            if start > time + 0.012:
                segments.append((("SIL",), time, start))
            else:
                start = time
            segments.append(((name,), start, end))
            time = end
    return segments


def _theirs_if_near(ours: float, theirs: float) -> float:
    return ours if abs(theirs - ours) > 0.06 else theirs


_COSINES = np.stack(
    [
        np.cos(np.pi * k * (np.arange(40) + 0.5) / 40) * np.sqrt((2 if k else 1) / 40)
        for k in range(40)
    ],
    axis=1,
).astype(np.float32)


def disturbed(frames: Floats, rng: np.random.Generator) -> Floats:
    """Filter banks ``(num_frames, 40)`` with another spectral slope, smoother, or with a gap."""
    slope = rng.standard_normal(4).astype(np.float32) @ _COSINES[:, 1:5].T * np.sqrt(20) * 0.4
    frames = frames + slope.astype(np.float32) + np.float32(0.5 * rng.normal())
    if rng.random() < 0.3:
        kept = _COSINES[:, : int(rng.integers(12, 28))]
        frames = frames @ kept @ kept.T
    if rng.random() < 0.2 and len(frames) > 2:
        w = np.float32(rng.uniform(0.1, 0.33))
        frames[1:-1] = (1 - 2 * w) * frames[1:-1] + w * (frames[:-2] + frames[2:])
    if rng.random() < 0.3:
        first = int(rng.integers(0, 36))
        frames[:, first : first + int(rng.integers(1, 5))] = frames.mean()
    return frames
