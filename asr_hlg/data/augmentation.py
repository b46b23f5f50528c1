"""Augmentation of training data: speed, volume, noise, joined cuts and SpecAugment.

The random choices for a cut depend only on the seed, the epoch and the cut's id, not on the process
or the batch that the cut is in.
"""

from __future__ import annotations

import io
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import lhotse
import lhotse.dataset
import numpy as np
import numpy.typing as npt
import soundfile
from lhotse import CutSet
from lhotse.audio import AudioSource
from lhotse.cut import Cut
from torch import Tensor

from asr_hlg.errors import OptionError
from asr_hlg.settings import Bounded, Bounds, Count, Share, Size

_NOISE_SECONDS = 30.0


@dataclass(frozen=True)
class Augmentation(Bounded):
    """Options of the augmentation of cuts; the defaults change nothing.

    Attributes
    ----------
    speeds : tuple of float
        Speed factors, one of which is drawn for every cut. They change tempo and pitch together,
        as in Ko et al., "Audio augmentation for speech recognition" (2015), who use 0.9, 1.0 and
        1.1.
    volumes : tuple of float
        Minimum and maximum factor on the samples; drawn uniformly in decibels.
    noise : float
        Share of cuts to which noise is added.
    snr : tuple of float
        Minimum and maximum signal-to-noise ratio, in decibels.
    join : float
        Share of cuts to which the next ones are joined, so that a model of single words also
        learns sequences.
    join_most : int
        Maximum number of cuts that are joined to one.
    """

    speeds: tuple[float, ...] = (1.0,)
    volumes: tuple[float, ...] = (1.0, 1.0)
    noise: Share = 0.0
    snr: tuple[float, ...] = (10.0, 30.0)
    join: Share = 0.0
    join_most: Annotated[int, Bounds("at least 2", lambda value: value >= 2)] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.speeds or not all(0.5 <= factor <= 2.0 for factor in self.speeds):
            raise OptionError(f"speeds are factors from 0.5 to 2, not {self.speeds}")
        for name, least in (("volumes", 0.0), ("snr", -math.inf)):
            pair = getattr(self, name)
            if len(pair) != 2 or not least < pair[0] <= pair[1] < math.inf:
                raise OptionError(f"{name} are the minimum and the maximum, not {pair}")

    def change_lengths(self, cuts: Iterable[Cut], seed: int, epoch: int) -> Iterator[Cut]:
        """Change the speed of cuts, and join some with the next ones."""
        rng = random.Random(f"{seed} {epoch} join")
        perturbed = (self._change_speed(cut, seed, epoch) for cut in cuts)
        for cut in perturbed:
            if self.join and rng.random() < self.join:
                more = itertools.islice(perturbed, rng.randint(1, self.join_most - 1))
                cut = joined([cut, *more])
            yield cut

    def change_sound(self, cut: Cut, noises: Sequence[Cut], seed: int, epoch: int) -> Cut:
        """Change the volume of a cut, and add noise to some cuts."""
        rng = random.Random(f"{seed} {epoch} {cut.id} colour")
        min_volume, max_volume = self.volumes
        if self.volumes != (1.0, 1.0):
            factor = math.exp(rng.uniform(math.log(min_volume), math.log(max_volume)))
            cut = cut.perturb_volume(factor, affix_id=False)
        if rng.random() < self.noise:
            noise = _section(rng.choice(noises), cut.duration, rng)
            cut = cut.mix(noise, snr=rng.uniform(*self.snr), preserve_id="left")
        return cut

    def _change_speed(self, cut: Cut, seed: int, epoch: int) -> Cut:
        factor = random.Random(f"{seed} {epoch} {cut.id} speed").choice(self.speeds)
        return cut if factor == 1.0 else cut.perturb_speed(factor, affix_id=False)


@dataclass(frozen=True)
class SpecAugmentOptions(Bounded):
    """Options of SpecAugment (Park et al. 2019): how much of the features is masked.

    Attributes
    ----------
    frequency_masks : int
        Number of frequency bands masked in an utterance.
    frequency_width : int
        Exclusive upper bound on the width of a band, in filters.
    time_masks : int
        Maximum number of time spans masked in an utterance.
    time_width : int
        Exclusive upper bound on the length of a span, in frames.
    time_share : float
        Maximum share of an utterance that is masked in time.
    time_warp : int
        Maximum shift of time warping, in frames; 0 does not warp. Frame labels are not warped, so
        leave it at 0 for losses that need them.
    probability : float
        Share of utterances that are masked.
    """

    frequency_masks: Size = 2
    frequency_width: Size = 27
    time_masks: Size = 10
    time_width: Size = 40
    time_share: Share = 0.15
    time_warp: Count = 0
    probability: Share = 0.9


class SpecAugment:
    """Masks frequency bands and time spans of features; networks call it as ``augment``.

    >>> network.augment = SpecAugment(SpecAugmentOptions(frequency_width=10))

    It applies Lhotse's SpecAugment to each utterance without its padding. As in Lhotse, random
    numbers come from the global generators of Python, NumPy and torch, which the training loop
    seeds.
    """

    def __init__(self, options: SpecAugmentOptions | None = None):
        self.options = options = options or SpecAugmentOptions()
        self._mask = lhotse.dataset.SpecAugment(
            time_warp_factor=options.time_warp or None,
            num_feature_masks=options.frequency_masks,
            features_mask_size=options.frequency_width,
            num_frame_masks=options.time_masks,
            frames_mask_size=options.time_width,
            max_frames_mask_fraction=options.time_share,
            p=options.probability,
        )

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Mask every utterance of a batch.

        Parameters
        ----------
        features : Tensor
            floating ``(B, T, F)``; not changed.
        lengths : Tensor
            int ``(B,)``: frames of each utterance.

        Returns
        -------
        Tensor
            ``(B, T, F)``; masked values are the mean of the utterance.
        """
        features = features.clone()
        for index, length in enumerate(lengths.tolist()):
            # Lhotse divides by the number of masks, which is 0 for shorter utterances.
            if length * self.options.time_share >= 1:
                part = slice(index, index + 1), slice(length)
                features[part] = self._mask(features[part])
        return features


def joined(cuts: Sequence[Cut]) -> Cut:
    """Concatenate cuts; the id contains the ids of all."""
    result = cuts[0]
    for cut in cuts[1:]:
        result = result.append(cut)
    return result.with_id("+".join(cut.id for cut in cuts))


def noises(sample_rate: int) -> CutSet:
    """Half a minute of white and of pink noise, in memory.

    White noise has the same power at every frequency. The power of pink noise halves with every
    octave, roughly as in the noise of rooms and streets.
    """
    count = round(_NOISE_SECONDS * sample_rate)
    generator = np.random.default_rng(0)
    white = generator.standard_normal(count)
    spectrum = np.fft.rfft(generator.standard_normal(count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    pink = np.fft.irfft(spectrum, count)
    return CutSet(
        [
            in_memory(name, samples / (4 * samples.std()), sample_rate).to_cut()
            for name, samples in (("white", white), ("pink", pink))
        ]
    )


def in_memory(name: str, samples: npt.NDArray[Any], sample_rate: int) -> lhotse.Recording:
    """Make a recording of samples ``(n,)``, held in memory as 32-bit floats."""
    stream = io.BytesIO()
    soundfile.write(stream, samples.astype(np.float32), sample_rate, format="WAV", subtype="FLOAT")
    source = AudioSource("memory", [0], stream.getvalue())
    duration = len(samples) / sample_rate
    return lhotse.Recording(name, [source], sample_rate, len(samples), duration)


def _section(noise: Cut, duration: float, rng: random.Random) -> Cut:
    """Random section of a noise with that duration; the noise is repeated if it is too short."""
    if noise.duration < duration:
        noise = joined([noise] * math.ceil(duration / noise.duration))
    return noise.truncate(
        offset=rng.uniform(0, noise.duration - duration), duration=duration, preserve_id=True
    )
