"""Recordings are found in every kind of list, read as they are, and faulty ones are named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import lhotse
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.audio import recordings, resample
from asr_hlg.audio.resampling import resample_blocks
from asr_hlg.errors import AudioError

RATE = 16000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **kwargs) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if samples is None else samples, rate, **kwargs)
    return path


def only(inputs):
    [recording] = recordings(inputs)
    return recording


def fault(inputs, channel: int | None = None) -> str:
    with pytest.raises(AudioError) as caught:
        only(inputs).load(RATE, channel)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_files_come_back_as_written(tmp_path, suffix):
    samples = only(write(tmp_path / f"a{suffix}")).load(RATE)
    assert samples.dtype == torch.float32
    assert samples.ndim == 1
    np.testing.assert_allclose(samples, tone(), atol=1 / 32768)


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_compressed_files_sound_alike(tmp_path, suffix):
    samples = only(write(tmp_path / f"a{suffix}", tone(1.0))).load(RATE)
    spectrum = torch.fft.rfft(samples[:RATE]).abs()
    assert len(samples) == pytest.approx(RATE, rel=0.1)
    assert abs(int(spectrum.argmax()) - 440) <= 1


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 44101, 48000, 384000])
def test_any_sample_rate_is_converted(tmp_path, rate):
    samples = only(write(tmp_path / "a.wav", tone(1.0, rate), rate)).load(RATE).numpy()
    assert abs(len(samples) - RATE) <= 2
    middle = slice(2000, 14000)
    # The odd rate is rounded, and so drifts by a small fraction of a period.
    np.testing.assert_allclose(samples[middle], tone(1.0)[: len(samples)][middle], atol=0.03)


def test_resample_keeps_what_is_at_the_rate_already():
    samples = torch.randn(100)
    assert resample(samples, 8000, 8000) is samples


def test_resample_removes_what_the_new_rate_cannot_hold():
    high = torch.from_numpy(tone(1.0, 48000, 15000.0)).float()
    assert resample(high, 48000, 16000)[1000:-1000].abs().max() < 0.01


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


# ---------------------------------------------------------------- files that are no recording


def cut(path: Path, keep: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * keep)])
    return path


def noise(seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.1, 0.1, round(seconds * RATE))


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
def test_what_is_no_sound_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert reason in fault(path)


def test_a_header_without_samples_is_refused(tmp_path):
    assert "no samples" in fault(write(tmp_path / "a.wav", np.zeros(0)))


@pytest.mark.parametrize("samples", [np.zeros(8000), np.full(8000, 0.25), np.array([0.5])])
def test_silence_is_refused(tmp_path, samples):
    assert "silent" in fault(write(tmp_path / "a.wav", samples))


def test_two_channels_that_cancel_are_silent_but_each_is_not(tmp_path):
    path = write(tmp_path / "a.wav", np.stack([tone(), -tone()], axis=1), subtype="FLOAT")
    assert "silent" in fault(path)
    assert len(only(path).load(RATE, channel=0)) == len(tone())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value):
    samples = tone()
    samples[100] = value
    assert "not numbers" in fault(write(tmp_path / "a.wav", samples, subtype="FLOAT"))


@pytest.mark.parametrize("rate", [1, 100, 2_000_000_000])
def test_an_absurd_sample_rate_is_refused(tmp_path, rate):
    assert "sample rate" in fault(write(tmp_path / "a.wav", rate=rate))


def test_missing_files_and_what_is_no_file_are_refused(tmp_path):
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


# ---------------------------------------------------------------- lists


def ids(inputs) -> list[str]:
    return [recording.id for recording in recordings(inputs)]


def test_order_is_that_of_the_inputs(tmp_path):
    paths = [write(tmp_path / f"{name}.wav") for name in "cab"]
    assert ids(paths) == ["c", "a", "b"]


def test_names_that_repeat_are_told_apart_by_folder_and_ending(tmp_path):
    paths = [
        write(tmp_path / "x" / "one.wav"),
        write(tmp_path / "y" / "one.wav"),
        write(tmp_path / "y" / "two.wav"),
        write(tmp_path / "y" / "two.flac"),
        tmp_path / "y" / "two.wav",
        write(tmp_path / "z" / "three four.wav"),
    ]
    assert ids(paths) == ["x/one", "y/one", "two.wav", "two.flac", "two.wav_2", "three_four"]


def test_a_folder_is_searched_below_and_sorted(tmp_path):
    for name in ("b/2.flac", "a.wav", "b/1.WAV", "b/notes.txt", ".hidden.wav"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no sound")
        else:
            write(tmp_path / name, format="FLAC" if name.endswith("flac") else "WAV")
    assert ids(tmp_path) == ["a", "1", "2"]


def test_an_empty_folder_is_named(tmp_path):
    assert "no recordings" in fault(tmp_path)


def test_a_list_of_paths_counts_from_the_working_folder_or_its_own(tmp_path, monkeypatch):
    write(tmp_path / "lists" / "near.wav")
    write(tmp_path / "here.wav")
    (tmp_path / "lists" / "all.txt").write_text("near.wav\n\nhere.wav\nnowhere.wav\n")
    monkeypatch.chdir(tmp_path)
    found = list(recordings("lists/all.txt"))
    assert [r.id for r in found] == ["near", "here", "nowhere"]
    assert len(found[0].load(RATE)) == len(found[1].load(RATE)) == len(tone())
    with pytest.raises(AudioError, match="no such file"):
        found[2].load(RATE)


def test_names_in_any_script_and_encoding(tmp_path):
    names = ["ein Wort.wav", "-dash.wav", "🎤.wav", "语音.wav"]
    for name in names:
        write(tmp_path / "all" / name)
    raw = os.fsencode(tmp_path / "all") + b"/caf\xe9.wav"
    os.rename(write(tmp_path / "x.wav"), raw)
    (tmp_path / "list.txt").write_bytes(
        b"\n".join([*(os.fsencode(tmp_path / "all" / name) for name in names), raw])
    )
    found = list(recordings(tmp_path / "list.txt"))
    assert [r.id for r in found] == ["ein_Wort", "-dash", "🎤", "语音", "caf?"]
    assert all(len(r.load(RATE)) == len(tone()) for r in found)


def test_a_missing_list_is_named(tmp_path):
    for name in ("a.txt", "wav.scp", "cuts.jsonl", "cuts.jsonl.gz"):
        assert "no such file" in fault(tmp_path / name)


def test_wav_scp(tmp_path):
    path = write(tmp_path / "some where" / "a.wav")
    scp = tmp_path / "wav.scp"
    scp.write_text(f"utt.1 {path}\nutt.2\t{path}\n")
    assert ids(scp) == ["utt.1", "utt.2"]
    assert [len(r.load(RATE)) for r in recordings(scp)] == [len(tone())] * 2


@pytest.mark.parametrize("command", ["touch {} |", "| touch {}", "sox a.flac -t wav - | touch {}|"])
def test_wav_scp_never_runs_a_command(tmp_path, command):
    trap = tmp_path / "trap"
    good = write(tmp_path / "good.wav")
    scp = tmp_path / "wav.scp"
    scp.write_text(f"good {good}\nbad {command.format(trap)}\nincomplete\n")
    first, second, third = recordings(scp)
    assert len(first.load(RATE)) == len(tone())
    with pytest.raises(AudioError, match=r"wav\.scp:2: .*never run.*list the file it writes"):
        second.load(RATE)
    with pytest.raises(AudioError, match=r"wav\.scp:3: expected 'id path'"):
        third.load(RATE)
    assert not trap.exists()


def test_kaldi_folder_with_segments(tmp_path):
    samples = np.concatenate([tone(1.0, hertz=300), tone(1.0, hertz=500)])
    write(tmp_path / "rec.wav", samples)
    (tmp_path / "wav.scp").write_text("rec rec.wav\n")
    assert ids(tmp_path) == ["rec"]
    lines = ["a rec 0 1", "b rec 1.0 1.5", "c other 0 1", "d rec 1 0.5", "e rec 5 6", "f"]
    (tmp_path / "segments").write_text("\n".join(lines))
    a, b, c, d, e, f = recordings(tmp_path)
    np.testing.assert_allclose(a.load(RATE), samples[:RATE], atol=1e-4)
    np.testing.assert_allclose(b.load(RATE), samples[RATE : RATE + RATE // 2], atol=1e-4)
    for recording, reason in [
        (c, "segments:3: expected"),
        (d, "segments:4: a segment ends before it begins"),
        (e, "begins at 5 s"),
        (f, "segments:6: expected"),
    ]:
        with pytest.raises(AudioError, match=reason):
            recording.load(RATE)


# ---------------------------------------------------------------- Lhotse manifests


@pytest.fixture
def manifest(tmp_path):
    """A stereo recording of 2 s: 300 and 500 Hz on the left, 700 and 900 Hz on the right."""
    left = np.concatenate([tone(1.0, hertz=300), tone(1.0, hertz=500)])
    right = np.concatenate([tone(1.0, hertz=700), tone(1.0, hertz=900)])
    path = write(tmp_path / "stereo.wav", np.stack([left, right], axis=1))
    return left, right, lhotse.Recording.from_file(path, recording_id="talk")


@pytest.mark.parametrize("name", ["recordings.jsonl", "recordings.jsonl.gz"])
def test_recordings_manifest(tmp_path, manifest, name):
    left, right, recording = manifest
    lhotse.RecordingSet.from_recordings([recording]).to_file(tmp_path / name)
    assert ids(tmp_path / name) == ["talk"]
    both = only(tmp_path / name).load(RATE)
    np.testing.assert_allclose(both, (left + right) / 2, atol=1e-4)
    np.testing.assert_allclose(only(tmp_path / name).load(RATE, channel=1), right, atol=1e-4)


def test_cuts_manifest_gives_parts(tmp_path, manifest):
    left, right, recording = manifest
    cuts = [
        lhotse.MonoCut("one", start=0.0, duration=1.0, channel=0, recording=recording),
        lhotse.MonoCut("two", start=1.0, duration=0.5, channel=1, recording=recording),
        recording.to_cut().with_id("both"),
        lhotse.MonoCut("pad", start=0.0, duration=1.0, channel=0, recording=recording).pad(1.5),
    ]
    cuts[3] = cuts[3].with_id("padded")
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    one, two, both, padded = recordings(tmp_path / "cuts.jsonl")
    np.testing.assert_allclose(two.load(RATE, channel=0), two.load(RATE))
    assert [r.id for r in (one, two, both, padded)] == ["one", "two", "both", "padded"]
    assert (two.offset, two.duration) == (1.0, 0.5)
    np.testing.assert_allclose(one.load(RATE), left[:RATE], atol=1e-4)
    np.testing.assert_allclose(two.load(RATE), right[RATE : RATE + 8000], atol=1e-4)
    np.testing.assert_allclose(both.load(RATE), (left + right) / 2, atol=1e-4)
    expected = np.pad(left[:RATE], (0, 8000))
    np.testing.assert_allclose(padded.load(RATE), expected, atol=1e-4)


def test_manifests_never_run_or_fetch_anything(tmp_path, manifest):
    _, _, recording = manifest
    trap = tmp_path / "trap"
    data = recording.to_dict()
    lines = []
    for kind, source in [("command", f"touch {trap}"), ("url", "http://localhost/a.wav")]:
        lines.append({**data, "sources": [{"type": kind, "channels": [0], "source": source}]})
    evil = lines[0]
    # A command may also hide in what a recording is to be reverberated with.
    lines.append(
        {
            **data,
            "transforms": [{"name": "ReverbWithImpulseResponse", "kwargs": {"rir": evil}}],
        }
    )
    # Lhotse gives some names to a shell.
    name = tmp_path / f"x; touch {trap.name} .opus"
    name.write_bytes(b"")
    lines.append({**data, "sources": [{"type": "file", "channels": [0], "source": str(name)}]})
    manifest_path = tmp_path / "evil.jsonl"
    manifest_path.write_text("\n".join(json.dumps(line) for line in lines))
    found = list(recordings(manifest_path))
    assert len(found) == 4
    for recording in found:
        with pytest.raises(AudioError):
            recording.load(RATE)
    assert not trap.exists()
    assert not Path(trap.name).exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not an entry"),
        ("[]", "not an entry"),
        ('{"id": "x"}', "not an entry"),
        ('{"id": "x", "sources": 3}', "not an entry"),
        (
            '{"id": "x", "sources": [{"type": "file", "channels": [0], "source": "gone.wav"}], '
            '"sampling_rate": 16000, "num_samples": 8, "duration": 0.0005}',
            "no such file: gone.wav",
        ),
    ],
)
def test_malformed_manifest_lines_are_named(tmp_path, line, reason):
    path = tmp_path / "cuts.jsonl"
    path.write_text("\n" + line + "\n")
    message = fault(path)
    assert message.startswith(f"{path}:2: ")
    assert reason in message


def test_a_manifest_that_is_cut_short_keeps_what_came_before(tmp_path, manifest):
    path = tmp_path / "recordings.jsonl.gz"
    _, _, recording = manifest
    many = (lhotse.Recording.from_dict({**recording.to_dict(), "id": f"r{k}"}) for k in range(500))
    lhotse.RecordingSet.from_recordings(many).to_file(path)
    cut(path, 0.9)
    found = list(recordings(path))
    assert len(found) > 100
    assert found[0].id == "r0"
    with pytest.raises(AudioError, match=r"recordings\.jsonl\.gz"):
        found[-1].load(RATE)


def test_ids_of_lists_and_files_stay_unique(tmp_path):
    path = write(tmp_path / "a.wav")
    (tmp_path / "wav.scp").write_text(f"a {path}\na_2 {path}\na {path}\n")
    assert ids([path, tmp_path / "wav.scp"]) == ["a", "a_2", "a_2_2", "a_3"]


def test_recordings_are_passed_on(tmp_path):
    recording = only(write(tmp_path / "a.wav"))
    assert list(recordings([recording])) == [recording]


# ---------------------------------------------------------------- block by block


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 22050, 44101])
def test_long_recordings_come_in_blocks_that_join_as_if_resampled_whole(tmp_path, rate):
    samples = np.random.default_rng(rate).normal(0, 0.1, 150 * rate + 7).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, rate, subtype="FLOAT")
    blocks = list(only(tmp_path / "long.wav").blocks(RATE))
    assert len(blocks) > 2
    joined, whole = torch.cat(blocks), resample(torch.from_numpy(samples), rate, RATE)
    # The library rounds the length of its result in float32.
    assert abs(len(joined) - len(whole)) <= 1
    torch.testing.assert_close(joined[: len(whole)], whole[: len(joined)], atol=1e-5, rtol=0)


@given(st.lists(st.integers(0, 700), min_size=1, max_size=8), st.sampled_from([8000, 11025, 48000]))
def test_blocks_of_any_size_are_resampled_as_one(sizes, rate):
    blocks = [torch.randn(size, generator=torch.Generator().manual_seed(size)) for size in sizes]
    found = torch.cat([torch.zeros(0), *resample_blocks(iter(blocks), rate, RATE)])
    whole = torch.cat(blocks)
    expected = resample(whole, rate, RATE) if len(whole) else whole
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_long_cut_comes_in_blocks(tmp_path):
    path = write(tmp_path / "long.wav", tone(130.0))
    item = lhotse.Recording.from_file(path)
    lhotse.CutSet.from_cuts([item.to_cut()]).to_file(tmp_path / "cuts.jsonl.gz")
    recording = only(tmp_path / "cuts.jsonl.gz")
    assert [len(b) // RATE for b in recording.blocks(RATE)] == [60, 60, 10]
    torch.testing.assert_close(recording.load(RATE), only(path).load(RATE))


def test_hours_of_silence_are_refused_before_a_block_is_given_out(tmp_path):
    samples = np.zeros(8000 * 3600, dtype=np.int16)
    soundfile.write(tmp_path / "quiet.wav", samples, 8000)
    with pytest.raises(AudioError, match="silent"):
        next(only(tmp_path / "quiet.wav").blocks(RATE))
    samples[-1] = 1
    soundfile.write(tmp_path / "quiet.wav", samples, 8000)
    assert sum(map(len, only(tmp_path / "quiet.wav").blocks(RATE))) == 3600 * RATE
