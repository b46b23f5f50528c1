"""Distortions of training sounds: rooms, frequency responses, noise, telephones, compression."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

RATE = 16000

Samples = npt.NDArray[np.float32]


def distort(
    samples: Samples, rng: random.Random, voices: Sequence[Samples], music: Sequence[Samples]
) -> Samples:
    """A copy of a recording with some distortions, at a random level.

    Parameters
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)`` at 16 kHz.
    rng : random.Random
    voices, music : sequences of np.ndarray
        Sounds that are mixed in as noise.
    """
    if rng.random() < 0.3:
        samples = in_room(samples, rng)
    if rng.random() < 0.4:
        samples = equalised(samples, rng)
    if rng.random() < 0.55:
        added = noise(len(samples), rng, voices, music)
        ratio = (np.mean(samples**2) + 1e-9) / (np.mean(added**2) + 1e-9)
        samples = samples + np.sqrt(ratio / 10 ** (rng.uniform(2, 25) / 10)) * added
    if rng.random() < 0.3:
        samples = by_telephone(samples, rng)
    elif rng.random() < 0.08:
        samples = compressed(samples, rng)
    level = 10 ** (rng.uniform(-26, -0.5) / 20)
    return np.asarray(samples / max(1e-4, np.abs(samples).max()) * level, dtype=np.float32)


def noise(
    size: int, rng: random.Random, voices: Sequence[Samples], music: Sequence[Samples]
) -> Samples:
    """Coloured noise, several voices, music or hum."""
    random_numbers = np.random.default_rng(rng.getrandbits(32))
    kind = rng.random()
    if kind < 0.45:
        spectrum = np.fft.rfft(random_numbers.standard_normal(size))
        slope = rng.choice((0, 0.5, 1, 1, 1.5, 2))  # exponent of 1/f, of power
        shaped = spectrum / np.maximum(np.arange(len(spectrum)), 8) ** (slope / 2)
        return np.asarray(np.fft.irfft(shaped, size), dtype=np.float32)
    if kind < 0.75:
        total = np.zeros(size, dtype=np.float32)
        for _ in range(rng.choice((1, 2, 4, 6))):
            voice = rng.choice(voices)
            voice = voice / (np.sqrt(np.mean(voice**2)) + 1e-6)
            total += rng.uniform(0.3, 1) * _section(voice, size, rng)
        return total
    if kind < 0.9:
        return _section(rng.choice(music), size, rng)
    time, pitch = np.arange(size) / RATE, rng.choice((50, 60, 100, 120, 180))
    hum = 0.2 * random_numbers.standard_normal(size)
    for harmonic in range(1, 8):
        phase = 2 * np.pi * pitch * harmonic * time + rng.uniform(0, 6)
        hum += rng.uniform(0.1, 1) * np.sin(phase)
    return np.asarray(hum, dtype=np.float32)


def _section(sound: Samples, size: int, rng: random.Random) -> Samples:
    """A part of a sound, which is repeated if it is too short."""
    repeated = np.tile(sound, size // len(sound) + 2)
    start = rng.randrange(len(repeated) - size)
    return repeated[start : start + size]


def in_room(samples: Samples, rng: random.Random) -> Samples:
    """Reverberation: an echo of exponentially decaying noise, 0.1 to 0.6 s long."""
    size = int(RATE * rng.uniform(0.1, 0.6))
    random_numbers = np.random.default_rng(rng.getrandbits(32))
    response = random_numbers.standard_normal(size) * np.exp(-6.9 * np.arange(size) / size)
    response *= 1.5 * rng.uniform(0.05, 0.35) / np.sqrt(np.sum(response**2))
    response[0] = 1
    return np.asarray(fftconvolve(samples, response)[: len(samples)], dtype=np.float32)


def equalised(samples: Samples, rng: random.Random) -> Samples:
    """A random, smooth frequency response."""
    gains = [rng.gauss(0, 4), rng.gauss(0, 3), 0, rng.gauss(0, 4), rng.gauss(0, 6), rng.gauss(0, 8)]
    spectrum = np.fft.rfft(samples)
    frequencies = np.linspace(0, RATE / 2, len(spectrum))
    decibels = np.interp(frequencies, [0, 250, 1000, 2500, 5000, 8000], gains)
    return np.asarray(np.fft.irfft(spectrum * 10 ** (decibels / 20), len(samples)), np.float32)


def by_telephone(samples: Samples, rng: random.Random) -> Samples:
    """8 kHz, mostly band-limited, then mu-law, GSM or neither."""
    narrow = resample_poly(samples, 1, 2)
    if rng.random() < 0.7:
        order = rng.choice((2, 4))
        band = [rng.uniform(150, 350) / 4000, rng.uniform(3200, 3700) / 4000]
        narrow = sosfilt(butter(order, band, "band", output="sos"), narrow)
    narrow = narrow / max(1e-4, np.abs(narrow).max()) * rng.uniform(0.2, 0.9)
    kind = rng.random()
    if kind < 0.75:
        narrow = _coded(narrow, 8000, "WAV", "ULAW" if kind < 0.5 else "GSM610")
    wide = resample_poly(narrow, 2, 1)
    return _fitted(wide, len(samples))


def compressed(samples: Samples, rng: random.Random) -> Samples:
    """MP3 or Ogg Vorbis."""
    samples = samples / max(1, np.abs(samples).max())
    return _fitted(_coded(samples, RATE, rng.choice(("MP3", "OGG")), None), len(samples))


def _coded(samples: Samples, rate: int, format: str, subtype: str | None) -> Samples:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=format, subtype=subtype)
    stream.seek(0)
    decoded: Samples = soundfile.read(stream, dtype="float32")[0]
    return decoded


def _fitted(samples: Samples, size: int) -> Samples:
    return np.asarray(np.pad(samples, (0, max(0, size - len(samples))))[:size], dtype=np.float32)
