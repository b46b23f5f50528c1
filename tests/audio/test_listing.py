"""Recordings are listed from files, folders, lists and manifests, which run nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import lhotse
import numpy as np
import pytest

from asr_hlg.audio import recordings
from asr_hlg.errors import AudioError
from tests.support.sounds import RATE, cut, fault, ids, only, tone, write


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


def test_a_file_that_is_given_twice_is_numbered(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.wav")
    assert ids([tmp_path, tmp_path]) == ["a", "b", "a_2", "b_2"]
    assert ids([tmp_path / "a.wav", tmp_path / "." / "a.wav"]) == ["a", "a_2"]


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


@pytest.mark.parametrize("name", ["list", "list.dat", "list.m3u", "wav", "stdin"])
def test_a_list_of_paths_is_recognised_by_its_content(tmp_path, name):
    path = write(tmp_path / "é.wav")
    absent = tmp_path / "nowhere.wav"
    (tmp_path / name).write_text(f"\n{path}\n{absent}\n")
    found = list(recordings(tmp_path / name))
    assert [r.path for r in found] == [path, absent]
    (tmp_path / name).write_text("Dear reader,\n")
    assert "a text, but no list, since 'Dear reader,' is no file" in fault(tmp_path / name)


def test_a_manifest_is_recognised_by_its_content(tmp_path):
    entry = lhotse.Recording.from_file(write(tmp_path / "a.wav"), recording_id="from-manifest")
    (tmp_path / "list").write_text(json.dumps(entry.to_dict()) + "\n")
    assert ids(tmp_path / "list") == ["from-manifest"]


@pytest.mark.parametrize(
    "format", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "NIST"]
)
def test_a_recording_without_an_ending_is_no_list(tmp_path, format):
    path = write(tmp_path / "recording", format=format)
    assert [r.path for r in recordings(path)] == [path]
    if format != "MP3":  # libsndfile knows them by their name
        assert len(only(path).load(RATE)) > 0


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
        (c, "segments:3: the recording other is not in wav.scp"),
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
