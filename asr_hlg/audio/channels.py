"""One channel made of several, and what is noticed about the sound: cancelling, clipping, silence.

>>> mixer = Mixer(channel=None)
>>> mono = [mixer.mix(part) for part in parts]      # parts (n, channels) -> (n,)
>>> mixer.notes()
['the channels cancel each other in their average: channel 1 alone was used (see --channel)']
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

CANCELLED = 0.1
"""Channels cancel if the power of their average is below this times that of unrelated channels."""

FULL_SCALE = 0.999
"""Samples of at least this size are at the limit of the format."""

BEYOND = 2.0
"""Samples larger than this, times full scale, are scaled down."""

CLIPPED = 0.002
"""Fraction of samples in runs at the limit from which a recording counts as clipped."""

QUIET = 1e-3
"""A recording whose samples are all smaller than this (-60 dB of full scale) is almost silent."""

DIFFERENT = 0.2
"""Channels contain different speech if their loudness over time correlates less than this."""

_LOUDNESS = 800  # samples in a value of the loudness over time
_SIMILAR = 100.0  # ratio of powers (20 dB) up to which two channels both contain speech


class Mixer:
    """Makes one channel of consecutive parts of a recording.

    Parameters
    ----------
    channel : int, optional
        The channel to use, from 0; by default the average of all, or, in a part in which they
        cancel each other, the loudest.
    """

    def __init__(self, channel: int | None = None):
        self._channel = channel
        self._used_alone: int | None = None  # channel of the latest part in which they cancelled
        self._num_samples = self._num_at_limit = 0
        self._peak = 0.0
        self._gain = 1.0  # for samples far beyond full scale
        self._sums: npt.NDArray[np.float64] | None = None  # of loudness: see _add_loudness

    def mix(self, samples: Samples) -> Samples:
        """One channel, float32 ``(n,)``, of ``(n, channels)``; NaN and infinity are passed on."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self._mix(samples)

    def _mix(self, samples: Samples) -> Samples:
        if samples.shape[1] == 1:
            mono = np.ascontiguousarray(samples[:, 0])
        elif self._channel is not None:
            mono = np.ascontiguousarray(samples[:, self._channel])
        else:
            mono = self._average(samples)
        self._add_level(mono if self._channel is not None else samples)
        if BEYOND < self._peak < math.inf:
            # A power of two: the samples of a file of floats as large as 16-bit numbers become
            # exactly those of a 16-bit file.
            self._gain = 2.0 ** -math.ceil(math.log2(self._peak))
        return mono if self._gain == 1 else (mono * self._gain).astype(np.float32)

    def _average(self, samples: Samples) -> Samples:
        """Average of the channels, or the loudest of them where they cancel."""
        mean: Samples = samples.mean(axis=1, dtype=np.float32)
        powers = np.var(samples, axis=0, dtype=np.float64)
        unrelated = powers.sum() / len(powers) ** 2
        self._add_loudness(samples)
        if np.var(mean, dtype=np.float64) >= CANCELLED * unrelated:
            return mean
        self._used_alone = int(powers.argmax())
        return np.ascontiguousarray(samples[:, self._used_alone])

    def _add_level(self, samples: Samples) -> None:
        """Count samples at the limit, those of several in a row only: peaks of speech are single.

        Samples beyond full scale show that the format has no limit there.
        """
        size = np.abs(samples.reshape(len(samples), -1))
        self._num_samples += len(samples)
        if not len(samples):
            return
        peak = float(size.max())
        self._peak = max(self._peak, peak)
        if peak >= FULL_SCALE:
            full = size >= FULL_SCALE
            self._num_at_limit += int((full[1:] & full[:-1]).sum(axis=0).max(initial=0))

    def _add_loudness(self, samples: Samples) -> None:
        """Add up products of the loudness of the first two channels, for their correlation."""
        num = len(samples) // _LOUDNESS
        if not num:
            return
        two = samples[: num * _LOUDNESS, :2].reshape(num, _LOUDNESS, 2)
        loudness = np.log(np.var(two, axis=1, dtype=np.float64) + 1e-8)
        power = np.var(two, axis=(0, 1), dtype=np.float64) * num
        a, b = loudness.T
        sums = np.array([num, a.sum(), b.sum(), a @ a, b @ b, a @ b, *power])
        self._sums = sums if self._sums is None else self._sums + sums

    def _are_different(self) -> bool:
        """Whether two channels contain different speech, as in a recorded telephone call."""
        if self._sums is None or self._sums[0] < 40:
            return False
        num, a, b, aa, bb, ab, left, right = self._sums
        if not left or not right or not 1 / _SIMILAR < left / right < _SIMILAR:
            return False
        variances = (aa / num - (a / num) ** 2) * (bb / num - (b / num) ** 2)
        if variances <= 0:
            return False
        return bool((ab / num - a * b / num**2) / math.sqrt(variances) < DIFFERENT)

    def notes(self) -> list[str]:
        """What a user should know about the sound that has been mixed so far."""
        notes = []
        if self._used_alone is not None:
            notes.append(
                "the channels cancel each other in their average: channel "
                f"{self._used_alone} alone was used (see --channel)"
            )
        elif self._are_different():
            notes.append(
                "the channels contain different speech, and their average was used: "
                "--channel all transcribes each by itself"
            )
        if self._gain != 1:
            notes.append(
                f"its samples reach {self._peak:.3g} times full scale, and were scaled down"
            )
        if self._peak <= 1.001 and self._num_at_limit > CLIPPED * self._num_samples:
            share = 100 * self._num_at_limit / self._num_samples
            notes.append(
                f"clipped: {share:.1f} % of the samples are at the limit, and words may be wrong; "
                "record with a lower level"
            )
        if self._num_samples and self._peak < QUIET:
            decibels = 20 * math.log10(max(self._peak, 1e-40))
            notes.append(f"almost silent: the largest sample is {decibels:.0f} dB of full scale")
        return notes
