"""MFCCs and filter banks against kaldifeat, and the options of Kaldi's configuration files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr_hlg.acoustic.kaldi import features
from asr_hlg.acoustic.kaldi.conf import read_decoding_options
from asr_hlg.acoustic.kaldi.features import FeatureOptions, read_feature_options
from asr_hlg.errors import AsrHlgError

HIRES = FeatureOptions(num_mel_bins=40, num_ceps=40, high_freq=7600.0, use_energy=False)


def sound(seconds=1.0):
    random = np.random.default_rng(5)
    time = np.arange(round(16000 * seconds)) / 16000
    tones = sum(np.sin(2 * np.pi * f * time * (1 + 0.1 * time)) / f for f in (130, 900, 3100))
    return (9000 * (tones / abs(tones).max() + 0.05 * random.normal(size=len(time)))).astype("f4")


def reference(samples, options):
    kaldifeat = pytest.importorskip("kaldifeat")
    import torch

    of = kaldifeat.MfccOptions() if options.kind == "mfcc" else kaldifeat.FbankOptions()
    of.frame_opts.dither = 0
    for name in ("snip_edges", "window_type", "remove_dc_offset"):
        setattr(of.frame_opts, name, getattr(options, name))
    of.mel_opts.num_bins, of.mel_opts.high_freq = options.num_mel_bins, options.high_freq
    of.mel_opts.low_freq = options.low_freq
    for name in ("use_energy", "raw_energy", "htk_compat"):
        setattr(of, name, getattr(options, name))
    if options.kind == "mfcc":
        of.num_ceps, of.cepstral_lifter = options.num_ceps, options.cepstral_lifter
    else:
        of.use_power, of.use_log_fbank = options.use_power, options.use_log_fbank
    computer = kaldifeat.Mfcc if options.kind == "mfcc" else kaldifeat.Fbank
    return computer(of)(torch.from_numpy(samples)).numpy()


@pytest.mark.parametrize(
    "options",
    [
        HIRES,
        FeatureOptions(),
        replace(HIRES, snip_edges=False),
        FeatureOptions(use_energy=False, htk_compat=True, window_type="hamming"),
        FeatureOptions(raw_energy=False, htk_compat=True, remove_dc_offset=False),
        FeatureOptions("fbank", use_energy=False, num_mel_bins=80),
        FeatureOptions("fbank", use_power=False, window_type="hanning", high_freq=-400.0),
        FeatureOptions("fbank", use_energy=False, use_log_fbank=False, low_freq=60.0),
    ],
    ids=str,
)
def test_features_are_those_of_kaldifeat(options):
    samples = sound()
    expected = reference(samples, options)
    found = features.compute(samples, options)
    scale = max(1.0, float(abs(expected).max()) / 100)  # energies without logarithm are large
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3 * scale)


@pytest.mark.parametrize("snip_edges", [True, False])
def test_frames_before_the_end_stay_the_same(snip_edges):
    options = replace(HIRES, snip_edges=snip_edges)
    samples = sound()
    whole = features.compute(samples, options)
    for size in (0, 399, 400, 800, 5000, 15999):
        count = features.num_frames(size, options, finished=False)
        part = features.compute(samples[:size], options)[:count]
        np.testing.assert_allclose(part, whole[:count], rtol=1e-4, atol=1e-4)
        assert count >= (size - 400) // 160 - 1


def test_options_come_from_the_file(tmp_path):
    (tmp_path / "mfcc.conf").write_text(
        "--use-energy=false   # only non-default options\n\n--num-mel-bins=40\n--num-ceps=30\n"
        "--low-freq=40\n--high-freq=-200\n--sample-frequency=8000\n--allow-downsample=true\n"
    )
    options = read_feature_options(tmp_path)
    assert options == FeatureOptions(
        use_energy=False, num_mel_bins=40, num_ceps=30, low_freq=40, high_freq=-200,
        sample_frequency=8000,
    )  # fmt: skip
    assert (options.shift, options.length, options.width) == (80, 200, 30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--num-mel-bin=40\n", r"mfcc.conf:1: the option --num-mel-bin is unknown"),
        ("\n--num-mel-bins=many\n", r"mfcc.conf:2: --num-mel-bins has the wrong value 'many'"),
        ("num-mel-bins=40\n", r"expected --name=value"),
        ("--num-ceps=24\n", r"--num-ceps exceeds --num-mel-bins"),
        ("--high-freq=9000\n", r"--low-freq and --high-freq contradict"),
        ("--window-type=round\n", r"the window 'round' is unknown"),
        ("--frame-shift=0\n", r"shift is out of range"),
        ("--sample-frequency=inf\n", r"--sample-frequency is out of range"),
        ("--sample-frequency=nan\n", r"--sample-frequency is out of range"),
        ("--num-mel-bins=1000\n--frame-length=1000\n", r"too long for so many --num-mel-bins"),
    ],
)
def test_a_faulty_option_is_named(tmp_path, text, message):
    (tmp_path / "mfcc.conf").write_text(text)
    with pytest.raises(AsrHlgError, match=message):
        read_feature_options(tmp_path)


def test_pitch_and_plp_are_refused_and_a_lack_of_options_named(tmp_path):
    with pytest.raises(AsrHlgError, match=r"neither mfcc.conf nor fbank.conf"):
        read_feature_options(tmp_path)
    (tmp_path / "plp.conf").write_text("--sample-frequency=16000\n")
    with pytest.raises(AsrHlgError, match="PLP features"):
        read_feature_options(tmp_path)
    (tmp_path / "pitch.conf").write_text("--sample-frequency=16000\n")
    with pytest.raises(AsrHlgError, match="pitch features"):
        read_feature_options(tmp_path)


def test_options_of_the_search(tmp_path):
    path = tmp_path / "model.conf"
    path.write_text(
        "--min-active=200\n--max-active=3000\n--beam=10.0\n--lattice-beam=2.0\n"
        "--acoustic-scale=1.0\n--frame-subsampling-factor=3\n"
        "--endpoint.silence-phones=1:2:3\n--endpoint.rule2.min-trailing-silence=0.5\n"
    )
    options = read_decoding_options(path)
    assert (options.beam, options.lattice_beam, options.max_active) == (10.0, 2.0, 3000)
    assert options.silence_phones == (1, 2, 3)
