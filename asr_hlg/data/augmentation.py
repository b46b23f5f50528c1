"""Making training data harder and more varied, with Lhotse's transforms.

What happens to a cut depends on the seed, the epoch and the cut's id alone, so that it is the same
in whichever process or batch the cut turns up.
"""

from __future__ import annotations

import io
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import lhotse
import lhotse.dataset
import numpy as np
import soundfile
from lhotse import CutSet
from lhotse.audio import AudioSource
from lhotse.cut import Cut
from torch import Tensor

from asr_hlg.errors import OptionError

_NOISE_SECONDS = 30.0


@dataclass(frozen=True)
class Augmentation:
    """What is done to cuts; the defaults do nothing.

    Attributes
    ----------
    speeds : tuple of float
        Factors, one of which is drawn for every cut: tempo and pitch together, as in Ko et al.,
        "Audio augmentation for speech recognition" (2015), who take 0.9, 1.0 and 1.1.
    volumes : tuple of float
        The least and the greatest factor on the samples; drawn evenly in decibels.
    noise : float
        Share of cuts to which noise is added.
    snr : tuple of float
        The least and the greatest ratio of speech to noise, in decibels.
    join : float
        Share of cuts that have others joined to them, so that a model of single words learns to
        expect more.
    join_most : int
        The most cuts in one that was joined.
    """

    speeds: tuple[float, ...] = (1.0,)
    volumes: tuple[float, ...] = (1.0, 1.0)
    noise: float = 0.0
    snr: tuple[float, ...] = (10.0, 30.0)
    join: float = 0.0
    join_most: int = 3

    def __post_init__(self):
        if not self.speeds or not all(0.5 <= factor <= 2.0 for factor in self.speeds):
            raise OptionError(f"speeds are factors from 0.5 to 2, not {self.speeds}")
        for name, least in (("volumes", 0.0), ("snr", -math.inf)):
            pair = getattr(self, name)
            if len(pair) != 2 or not least < pair[0] <= pair[1] < math.inf:
                raise OptionError(f"{name} are the least and the greatest value, not {pair}")
        for name in ("noise", "join"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if self.join_most < 2:
            raise OptionError(f"join_most is at least 2, not {self.join_most}")

    def reshaped(self, cuts: Iterable[Cut], seed: int, epoch: int) -> Iterator[Cut]:
        """Cuts with other lengths: at another speed, and some joined to those that follow."""
        drawn = random.Random(f"{seed} {epoch} join")
        perturbed = (self._faster(cut, seed, epoch) for cut in cuts)
        for cut in perturbed:
            if self.join and drawn.random() < self.join:
                more = itertools.islice(perturbed, drawn.randint(1, self.join_most - 1))
                cut = joined([cut, *more])
            yield cut

    def coloured(self, cut: Cut, noises: Sequence[Cut], seed: int, epoch: int) -> Cut:
        """A cut at another volume, and some with noise."""
        drawn = random.Random(f"{seed} {epoch} {cut.id} colour")
        quiet, loud = self.volumes
        if self.volumes != (1.0, 1.0):
            factor = math.exp(drawn.uniform(math.log(quiet), math.log(loud)))
            cut = cut.perturb_volume(factor, affix_id=False)
        if drawn.random() < self.noise:
            noise = _part(drawn.choice(noises), cut.duration, drawn)
            cut = cut.mix(noise, snr=drawn.uniform(*self.snr), preserve_id="left")
        return cut

    def _faster(self, cut: Cut, seed: int, epoch: int) -> Cut:
        factor = random.Random(f"{seed} {epoch} {cut.id} speed").choice(self.speeds)
        return cut if factor == 1.0 else cut.perturb_speed(factor, affix_id=False)


@dataclass(frozen=True)
class SpecAugmentOptions:
    """How much of the features is masked: Park et al., "SpecAugment" (2019), and its names.

    Attributes
    ----------
    frequency_masks : int
        Bands masked in an utterance.
    frequency_width : int
        A band is narrower than this many filters.
    time_masks : int
        Stretches of frames masked in an utterance, at most.
    time_width : int
        A stretch is shorter than this many frames.
    time_share : float
        The most of an utterance that is masked in time.
    time_warp : int
        Frames by which a point of an utterance is moved at most; 0 does not warp.  Labels of
        frames do not move along, so leave it at 0 where the loss needs them.
    probability : float
        Share of utterances that are masked at all.
    """

    frequency_masks: int = 2
    frequency_width: int = 27
    time_masks: int = 10
    time_width: int = 40
    time_share: float = 0.15
    time_warp: int = 0
    probability: float = 0.9

    def __post_init__(self):
        for name in ("frequency_masks", "frequency_width", "time_masks", "time_width"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, not {getattr(self, name)}")
        for name in ("time_share", "probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if self.time_warp < 0:
            raise OptionError(f"time_warp must not be negative, it is {self.time_warp}")


class SpecAugment:
    """Masks bands and stretches of features; networks call it in training as ``augment``.

    >>> network.augment = SpecAugment(SpecAugmentOptions(frequency_width=10))

    Lhotse's, but for padding, which it would count as speech.  Draws from the global random
    generators of Python, NumPy and torch, as Lhotse does: whoever trains seeds them.
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
            ``(B, T, F)``; masked places hold the utterance's mean.
        """
        features = features.clone()
        for index, length in enumerate(lengths.tolist()):
            # Lhotse divides by the number of masks, and a shorter utterance has room for none.
            if length * self.options.time_share >= 1:
                part = slice(index, index + 1), slice(length)
                features[part] = self._mask(features[part])
        return features


def joined(cuts: Sequence[Cut]) -> Cut:
    """One cut after the other, as one; its id names them all."""
    whole = cuts[0]
    for cut in cuts[1:]:
        whole = whole.append(cut)
    return whole.with_id("+".join(cut.id for cut in cuts))


def noises(sample_rate: int) -> CutSet:
    """White and pink noise, half a minute of each, held in memory.

    White noise has the same power at every frequency, pink noise half of it for every octave up,
    which is nearer to that of rooms and streets.
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


def in_memory(name: str, samples: np.ndarray, sample_rate: int) -> lhotse.Recording:
    """A recording of samples ``(n,)`` that are held in memory, as 32-bit floats."""
    stream = io.BytesIO()
    soundfile.write(stream, samples.astype(np.float32), sample_rate, format="WAV", subtype="FLOAT")
    source = AudioSource("memory", [0], stream.getvalue())
    duration = len(samples) / sample_rate
    return lhotse.Recording(name, [source], sample_rate, len(samples), duration)


def _part(noise: Cut, duration: float, drawn: random.Random) -> Cut:
    """A stretch of noise of that duration, from anywhere in it; repeated where it is too short."""
    if noise.duration < duration:
        noise = joined([noise] * math.ceil(duration / noise.duration))
    return noise.truncate(
        offset=drawn.uniform(0, noise.duration - duration), duration=duration, preserve_id=True
    )
