"""Augmentation changes cuts as its options state, in the share of cuts that they state."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from lhotse import CutSet

from asr_hlg import data
from asr_hlg.data import Augmentation, LoaderOptions, SpecAugment, SpecAugmentOptions
from asr_hlg.data.augmentation import in_memory, joined, noises
from asr_hlg.errors import OptionError
from tests.support.corpora import RATE, make_cuts, sound


def by_id(cuts, augmentation, **options):
    """The waveform of every cut or joined cut."""
    loader = data.loader(cuts, None, LoaderOptions(**options), augmentation)
    return {
        name: row[:length]
        for batch in loader
        for name, row, length in zip(batch.ids, batch.inputs, batch.lengths, strict=True)
    }


def test_speed_moves_tempo_and_pitch():
    times = np.arange(RATE) / RATE
    cut = in_memory("tone", 0.5 * np.sin(2 * np.pi * 1000 * times), RATE).to_cut()
    cut.supervisions = make_cuts([1.0])[0].supervisions
    for factor in (0.9, 1.1):
        samples = by_id(CutSet([cut]), Augmentation(speeds=(factor,)))["tone"]
        assert len(samples) == pytest.approx(RATE / factor, abs=1)
        peak = int(torch.fft.rfft(samples).abs().argmax()) * RATE / len(samples)
        assert peak == pytest.approx(1000 * factor, abs=2)


def test_all_speeds_are_drawn():
    cuts = make_cuts([0.2] * 60)
    lengths = {len(samples) for samples in by_id(cuts, Augmentation((0.8, 1.0, 1.25))).values()}
    assert lengths == {4000, 3200, 2560}


def test_volume_is_one_factor_within_its_range():
    cuts = make_cuts([0.1] * 40)
    factors = []
    for name, samples in by_id(cuts, Augmentation(volumes=(0.25, 1.0))).items():
        original = torch.from_numpy(sound(0.1, int(name[1:])))
        factor = float(samples @ original / (original @ original))
        torch.testing.assert_close(samples, factor * original)
        factors.append(factor)
    assert 0.25 <= min(factors) < 0.4
    assert 0.7 < max(factors) <= 1.0
    # Even in decibels: half of them above the middle of 12 dB.
    assert 10 <= sum(factor > 0.5 for factor in factors) <= 30


def test_noise_has_the_ratio_that_was_drawn():
    cuts = make_cuts([0.5] * 30)
    ratios = []
    for name, samples in by_id(cuts, Augmentation(noise=0.5, snr=(5.0, 15.0))).items():
        original = torch.from_numpy(sound(0.5, int(name[1:])))
        assert len(samples) == len(original)
        added = samples - original
        if added.any():
            ratios.append(float(10 * (original.square().mean() / added.square().mean()).log10()))
    assert 6 <= len(ratios) <= 24
    # Clipping and Lhotse's rounding of energies may take a little.
    assert 4.5 <= min(ratios) <= max(ratios) <= 15.5


def test_given_noise_is_used_and_repeated_where_it_is_short():
    beep = in_memory("beep", 0.1 * np.sin(np.arange(800) * 2 * np.pi / 8), RATE).to_cut()
    cuts = make_cuts([0.5])
    loader = data.loader(cuts, None, augmentation=Augmentation(noise=1.0), noises=CutSet([beep]))
    added = next(iter(loader)).inputs[0] - torch.from_numpy(sound(0.5, 0))
    spectrum = torch.fft.rfft(added).abs()
    assert int(spectrum.argmax()) == 1000  # 2 kHz, which is a tone all the way
    assert spectrum[1000] > 0.45 * added.abs().max() * len(added)


def test_noises_have_their_colours():
    white, pink = noises(RATE)
    for cut, slope in ((white, 0.0), (pink, -3.01)):
        samples = cut.load_audio()[0]
        assert np.abs(samples).max() < 1.5
        assert samples.std() == pytest.approx(0.25, rel=0.01)
        power = np.abs(np.fft.rfft(samples)) ** 2
        octaves = [
            10 * math.log10(power[first : 2 * first].mean())
            for first in (2**k * 30 * 100 for k in range(6))
        ]
        assert np.diff(octaves) == pytest.approx([slope] * 5, abs=0.3)


def test_joined_cuts_are_one_after_the_other():
    cuts = make_cuts([0.3, 0.2, 0.4])
    cut = joined(list(cuts))
    assert cut.id == "c0+c1+c2"
    assert data.text_of(cut) == "word 0 word 1 word 2"
    expected = np.concatenate([sound(0.3, 0), sound(0.2, 1), sound(0.4, 2)])
    np.testing.assert_allclose(cut.load_audio()[0], expected, atol=1e-6)


def test_joining_loses_no_cut_and_keeps_to_its_limit():
    cuts = make_cuts([0.1] * 200)
    augmentation = Augmentation(join=0.5, join_most=4)
    heard = by_id(cuts, augmentation)
    groups = [name.split("+") for name in heard]
    assert sorted(name for group in groups for name in group) == sorted(cut.id for cut in cuts)
    assert {len(group) for group in groups} == {1, 2, 3, 4}
    assert 0.35 < sum(len(group) > 1 for group in groups) / len(groups) < 0.65
    for name, samples in heard.items():
        assert len(samples) == 1600 * len(name.split("+"))


def test_nothing_happens_by_default():
    cuts = make_cuts([0.1, 0.2])
    for name, samples in by_id(cuts, Augmentation()).items():
        number = int(name[1:])
        assert torch.equal(samples, torch.from_numpy(sound((0.1, 0.2)[number], number)))


@pytest.mark.parametrize(
    "fields",
    [
        {"speeds": ()},
        {"speeds": (0.1,)},
        {"volumes": (0.0, 1.0)},
        {"volumes": (2.0, 1.0)},
        {"snr": (10.0,)},
        {"noise": 1.5},
        {"join": -0.1},
        {"join_most": 1},
    ],
)
def test_augmentation_out_of_range(fields):
    with pytest.raises(OptionError, match=next(iter(fields))):
        Augmentation(**fields)


def seeded(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def test_spec_augment_masks_within_its_limits_and_leaves_the_rest():
    features = torch.randn(6, 100, 40, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([100, 80, 60, 40, 20, 3])
    options = SpecAugmentOptions(frequency_width=8, time_width=10, time_share=0.2, probability=1.0)
    spec_augment = SpecAugment(options)
    untouched = features.clone()
    masked_in_time = masked_in_frequency = 0
    for seed in range(20):
        seeded(seed)
        result = spec_augment(features, lengths)
        assert torch.equal(features, untouched)
        for row, original, length in zip(result, features, lengths.tolist(), strict=True):
            assert torch.equal(row[length:], original[length:])
            changed = row[:length] != original[:length]
            frames, bands = changed.all(1), changed.all(0)
            assert torch.equal(changed, frames[:, None] | bands[None, :])
            assert frames.sum() <= 0.2 * length
            assert bands.sum() <= 2 * 7
            if changed.any():
                filling = row[:length][changed]
                assert torch.allclose(filling, original[:length].mean(), atol=1e-6)
            masked_in_time += int(frames.sum())
            masked_in_frequency += int(bands.sum())
    assert masked_in_time
    assert masked_in_frequency
    assert torch.equal(result[5], features[5])  # too short for a mask


def test_spec_augment_repeats_with_the_seed_and_spares_its_share():
    features, lengths = torch.randn(50, 60, 20), torch.full((50,), 60)
    spec_augment = SpecAugment(SpecAugmentOptions(frequency_width=8, probability=0.5))
    results = []
    for seed in (1, 1, 2):
        seeded(seed)
        results.append(spec_augment(features, lengths))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    spared = sum(bool((r == f).all()) for r, f in zip(results[0], features, strict=True))
    assert 12 <= spared <= 38


@pytest.mark.parametrize(
    "fields",
    [{"frequency_masks": 0}, {"time_share": 2.0}, {"probability": -1.0}, {"time_warp": -1}],
)
def test_spec_augment_out_of_range(fields):
    with pytest.raises(OptionError, match=next(iter(fields))):
        SpecAugmentOptions(**fields)
