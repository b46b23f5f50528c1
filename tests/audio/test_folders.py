"""Folders: all that can be read is found by its name or its content, the rest is counted."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.audio.formats import AV_SUFFIXES, SNDFILE_SUFFIXES
from tests.support.sounds import RATE, fault, ids, tone, write

FORMATS = {
    ".wav": "WAV", ".wave": "WAV", ".aif": "AIFF", ".aifc": "AIFF", ".aiff": "AIFF", ".au": "AU",
    ".snd": "AU", ".caf": "CAF", ".flac": "FLAC", ".oga": "OGG", ".ogg": "OGG", ".rf64": "RF64",
    ".voc": "VOC", ".w64": "W64", ".sph": "NIST", ".nist": "NIST", ".mp3": "MP3", ".8svx": "SVX",
    ".ircam": "IRCAM", ".paf": "PAF", ".pvf": "PVF",
}  # fmt: skip


def test_every_suffix_that_libsndfile_reads_is_found_and_read(tmp_path):
    for number, (suffix, format) in enumerate(FORMATS.items()):
        subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(format, "PCM_16")
        write(tmp_path / "all" / f"{number:02}{suffix}", format=format, subtype=subtype)
    found = list(recordings(tmp_path / "all"))
    assert [r.path.suffix for r in found] == list(FORMATS)
    for recording in found:
        assert abs(len(recording.load(RATE)) - len(tone())) < 2000, recording.path


@pytest.mark.parametrize("name", ["talk", "talk.001", "TALK.dat"])
def test_sound_without_a_known_suffix_is_found_by_its_content(tmp_path, name):
    write(tmp_path / "x.flac").rename(tmp_path / name)
    (tmp_path / "notes").write_text("no sound")
    (tmp_path / "code.ts").write_text("const sound = 1;\n" * 100)
    (tmp_path / "board.dts").write_text("/dts-v1/;\n")
    (tmp_path / "cover.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    assert [r.path.name for r in recordings(tmp_path)] == [name]


def test_what_looks_like_sound_and_is_skipped_is_named(tmp_path):
    write(tmp_path / "a.wav")
    for name in ("b.raw", "sub/c.pcm", "d.mid", "e.aax", "f.txt", "g.png", "._h.raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(2000))
    skipped = []
    assert [r.id for r in recordings(tmp_path, on_skip=skipped.append)] == ["a"]
    assert [p.name for p in skipped] == ["b.raw", "d.mid", "e.aax", "c.pcm"]


def test_a_folder_with_skipped_files_only_says_so(tmp_path):
    (tmp_path / "b.raw").write_bytes(bytes(2000))
    reason = fault(tmp_path)
    assert (
        "no recordings in this folder; 1 that look like sound are not read, such as b.raw" in reason
    )


def test_damaged_files_are_listed_by_their_suffix_and_refused(tmp_path):
    """Each of every suffix, so that no damaged file is passed over in silence."""
    suffixes = sorted(SNDFILE_SUFFIXES | AV_SUFFIXES)
    for suffix in suffixes:
        (tmp_path / f"x{suffix}").write_bytes(bytes(100))
    found = {r.path.suffix for r in recordings(tmp_path)}
    assert set(suffixes) - found <= {
        ".ts", ".dts", ".ra", ".rm", ".oma", ".dv", ".snd", ".sph", ".paf", ".avr", ".htk", ".mpa",
    }  # fmt: skip


def test_all_channels_are_listed_with_their_numbers(tmp_path):
    left, right = tone(hertz=300), tone(hertz=500)
    write(tmp_path / "in" / "talk.wav", np.stack([left, right], axis=1))
    write(tmp_path / "in" / "mono.wav", left)
    write(tmp_path / "in" / "talk-1.wav", right)
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF")
    found = list(recordings(tmp_path / "in", all_channels=True))
    assert [r.id for r in found] == ["bad", "mono", "talk-1", "talk-1_2", "talk-2"]
    sides = [r for r in found if r.path.name == "talk.wav"]
    assert [(r.name, r.channel_name) for r in sides] == [("talk", "1"), ("talk", "2")]
    for recording, expected in zip(sides, (left, right), strict=True):
        np.testing.assert_allclose(recording.load(RATE), expected, atol=1e-4)


def test_ids_never_share_a_file_of_the_output(tmp_path):
    for name in ("a/one.wav", "b/one.wav", "a_one.wav"):
        write(tmp_path / name)
    found = ids(tmp_path)
    assert len({name.replace("/", "_") for name in found}) == 3
    assert soundfile.info(tmp_path / "a_one.wav").frames
