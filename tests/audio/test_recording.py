"""Recordings are read as they are, whole or in blocks, and faulty ones are refused."""

from __future__ import annotations

import os
import tracemalloc

import lhotse
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from lhotse.augmentation import get_or_create_resampler

from asr_hlg.audio import recordings, resample
from asr_hlg.audio.resampling import resample_blocks
from asr_hlg.errors import AudioError
from tests.support.sounds import RATE, cut, fault, noise, only, tone, write


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_files_come_back_as_written(tmp_path, suffix):
    samples = only(write(tmp_path / f"a{suffix}")).load(RATE)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    np.testing.assert_allclose(samples, tone(), atol=1 / 32768)


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_compressed_files_keep_the_spectrum(tmp_path, suffix):
    samples = only(write(tmp_path / f"a{suffix}", tone(1.0))).load(RATE)
    spectrum = np.abs(np.fft.rfft(samples[:RATE]))
    assert len(samples) == pytest.approx(RATE, rel=0.1)
    assert abs(int(spectrum.argmax()) - 440) <= 1


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 44101, 48000, 384000])
def test_any_sample_rate_is_converted(tmp_path, rate):
    samples = only(write(tmp_path / "a.wav", tone(1.0, rate), rate)).load(RATE)
    assert abs(len(samples) - RATE) <= 2
    middle = slice(2000, 14000)
    # The odd rate is rounded, and so drifts by a small fraction of a period.
    np.testing.assert_allclose(samples[middle], tone(1.0)[: len(samples)][middle], atol=0.03)


def test_resample_keeps_what_is_at_the_rate_already():
    samples = np.zeros(100, np.float32)
    assert resample(samples, 8000, 8000) is samples


def test_resample_removes_what_the_new_rate_cannot_hold():
    high = tone(1.0, 48000, 15000.0)
    assert np.abs(resample(high, 48000, 16000)[1000:-1000]).max() < 0.01


@pytest.mark.parametrize("source", [8000, 11025, 22050, 32000, 44100, 48000, 96000])
@pytest.mark.parametrize("target", [8000, 16000])
def test_resample_gives_what_lhotse_does(source, target):
    samples = np.random.default_rng(source).normal(0, 0.1, 2 * source + 13).astype(np.float32)
    theirs = get_or_create_resampler(source, target)(torch.from_numpy(samples)).numpy()
    ours = resample(samples, source, target)
    assert ours.dtype == np.float32
    # Lhotse computes the times of its filter in float32.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("source", "target"), [(16000, 16001), (15997, 16000), (47999, 16000), (1009, 47999)]
)
def test_rates_without_a_common_divisor_take_little_memory(source, target):
    """The ratio of the rates is as large as they are; times may change by 0.035 %."""
    samples, expected = tone(1.0, source, 100.0), tone(1.0, target, 100.0)
    tracemalloc.start()
    found = resample(samples, source, target)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 150e6
    assert len(found) == pytest.approx(target, rel=3.5e-4, abs=2)
    middle = slice(target // 10, target // 2)
    np.testing.assert_allclose(found[middle], expected[middle], atol=0.05)


def test_channels_are_averaged_or_one_is_picked(tmp_path):
    left, right = tone(hertz=300), tone(hertz=500)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1))
    np.testing.assert_allclose(only(path).load(RATE), (left + right) / 2, atol=1e-4)
    np.testing.assert_allclose(only(path).load(RATE, channel=0), left, atol=1e-4)
    np.testing.assert_allclose(only(path).load(RATE, channel=1), right, atol=1e-4)
    assert "no channel 2" in fault(path, channel=2)
    assert "no channel -1" in fault(path, channel=-1)


def test_long_files_of_many_channels_are_read_in_blocks(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (600_000, 3))
    path = write(tmp_path / "a.wav", samples)
    np.testing.assert_allclose(only(path).load(RATE), samples.mean(1), atol=1e-4)


# ---------------------------------------------------------------- faulty files


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, suffix, keep):
    path = write(tmp_path / f"a{suffix}", noise())
    assert len(only(path).load(RATE)) > 3 * RATE
    reason = fault(cut(path, keep))
    assert str(path) in reason
    assert "cut short" in reason or "cannot be read" in reason


def test_mp3_without_table_of_contents_is_whole(tmp_path):
    # Its length is then an estimate, far off where silence compresses better than the rest.
    path = write(tmp_path / "a.mp3", np.concatenate([np.zeros(8 * RATE), noise(8)]))
    content = path.read_bytes()
    second = content.index(content[:2], 4)
    path.write_bytes(content[second:])
    with soundfile.SoundFile(path) as file:
        assert file.frames > 17 * RATE
    assert len(only(path).load(RATE)) == pytest.approx(16 * RATE, rel=0.01)


def test_wav_from_a_pipe_has_no_length_but_is_whole(tmp_path):
    path = write(tmp_path / "a.wav")
    content = path.read_bytes()
    place = content.index(b"data") + 4
    path.write_bytes(content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :])
    assert len(only(path).load(RATE)) == len(tone())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is text", "cannot be read"),
        (os.urandom(2000), "cannot be read"),
        (b"RIFF", "cannot be read"),
        (b"OggS", "cut short"),
    ],
)
def test_files_without_sound_are_refused(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert reason in fault(path)


def test_a_header_without_samples_is_refused(tmp_path):
    assert "no samples" in fault(write(tmp_path / "a.wav", np.zeros(0)))


@pytest.mark.parametrize("samples", [np.zeros(8000), np.full(8000, 0.25), np.array([0.5])])
def test_silence_is_refused(tmp_path, samples):
    assert "silent" in fault(write(tmp_path / "a.wav", samples))


def test_of_channels_that_cancel_one_is_used_and_a_note_says_so(tmp_path):
    path = write(tmp_path / "a.wav", np.stack([tone(), -0.8 * tone()], axis=1))
    recording = only(path)
    np.testing.assert_allclose(recording.load(RATE), tone(), atol=1e-4)
    assert recording.notes == [
        "the channels cancel each other in their average: channel 0 alone was used (see --channel)"
    ]
    np.testing.assert_allclose(recording.load(RATE, channel=1), -0.8 * tone(), atol=1e-4)
    assert recording.notes == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path, value):
    samples = tone()
    samples[100] = value
    assert "not numbers" in fault(write(tmp_path / "a.wav", samples, subtype="FLOAT"))


@pytest.mark.parametrize("rate", [1, 100, 2_000_000_000])
def test_an_absurd_sample_rate_is_refused(tmp_path, rate):
    assert "sample rate" in fault(write(tmp_path / "a.wav", rate=rate))


def test_missing_files_and_pipes_are_refused(tmp_path):
    assert "no such file" in fault(tmp_path / "missing.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert "not a regular file" in fault(tmp_path / "pipe.wav")
    assert "no such file" in fault(tmp_path / ("long" * 100))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = write(tmp_path / "a.wav")
    path.chmod(0)
    assert "cannot be read" in fault(path)


def test_a_faulty_file_does_not_stop_the_others(tmp_path):
    paths = [write(tmp_path / "a.wav"), tmp_path / "b.wav", write(tmp_path / "c.wav")]
    outcomes: list[tuple[str, int | None]] = []
    for recording in recordings(paths):
        try:
            outcomes.append((recording.id, len(recording.load(RATE))))
        except AudioError:
            outcomes.append((recording.id, None))
    assert outcomes == [("a", 8000), ("b", None), ("c", 8000)]


# ---------------------------------------------------------------- block by block


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 22050, 44101])
def test_long_recordings_come_in_blocks_that_join_as_if_resampled_whole(tmp_path, rate):
    samples = np.random.default_rng(rate).normal(0, 0.1, 150 * rate + 7).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, rate, subtype="FLOAT")
    blocks = list(only(tmp_path / "long.wav").blocks(RATE))
    assert len(blocks) > 2
    np.testing.assert_allclose(
        np.concatenate(blocks), resample(samples, rate, RATE), rtol=0, atol=1e-6
    )


@given(st.lists(st.integers(0, 700), min_size=1, max_size=8), st.sampled_from([8000, 11025, 48000]))
def test_blocks_of_any_size_are_resampled_as_one(sizes, rate):
    blocks = [np.random.default_rng(s).standard_normal(s).astype(np.float32) for s in sizes]
    found = np.concatenate([np.zeros(0), *resample_blocks(iter(blocks), rate, RATE)])
    whole = np.concatenate(blocks)
    expected = resample(whole, rate, RATE) if len(whole) else whole
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_long_cut_comes_in_blocks(tmp_path):
    path = write(tmp_path / "long.wav", tone(130.0))
    item = lhotse.Recording.from_file(path)
    lhotse.CutSet.from_cuts([item.to_cut()]).to_file(tmp_path / "cuts.jsonl.gz")
    recording = only(tmp_path / "cuts.jsonl.gz")
    assert [len(b) // RATE for b in recording.blocks(RATE)] == [60, 60, 10]
    np.testing.assert_allclose(recording.load(RATE), only(path).load(RATE), atol=1e-6)


def test_hours_of_silence_are_refused_before_the_first_block(tmp_path):
    samples = np.zeros(8000 * 3600, dtype=np.int16)
    soundfile.write(tmp_path / "quiet.wav", samples, 8000)
    with pytest.raises(AudioError, match="silent"):
        next(only(tmp_path / "quiet.wav").blocks(RATE))
    samples[-1] = 1
    soundfile.write(tmp_path / "quiet.wav", samples, 8000)
    assert sum(map(len, only(tmp_path / "quiet.wav").blocks(RATE))) == 3600 * RATE
