"""Kaldi's lists and data folders are read as Kaldi reads them."""

from __future__ import annotations

import kaldiio
import numpy as np
import pytest
import soundfile

from asr_hlg.audio import recordings
from tests.support.sounds import RATE, fault, ids, only, tone, write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder: a recording of 2 s, 300 and 500 Hz on the left, 700 and 900 on the right."""
    left = np.concatenate([tone(1.0, hertz=300), tone(1.0, hertz=500)])
    right = np.concatenate([tone(1.0, hertz=700), tone(1.0, hertz=900)])
    write(tmp_path / "call.wav", np.stack([left, right], axis=1))
    write(tmp_path / "mono.wav", left)
    (tmp_path / "wav.scp").write_text("rec call.wav\nmono mono.wav\n")
    return tmp_path


def pitches(recording) -> list[int]:
    """Strongest frequency of each half."""
    samples = np.asarray(recording.load(RATE))
    size = len(samples) // 2
    return [
        round(int(np.abs(np.fft.rfft(part)).argmax()) * RATE / size)
        for part in (samples[:size], samples[size : 2 * size])
    ]


def test_an_end_of_minus_one_is_the_end_of_the_recording(folder):
    (folder / "segments").write_text("a mono 0 -1\nb mono 1 -1\nc mono 0.5 -1.0\n")
    assert [len(r.load(RATE)) for r in recordings(folder)] == [2 * RATE, RATE, 1.5 * RATE]


@pytest.mark.parametrize("line", ["a mono 0 -2", "a mono -1 1", "a mono 1 1", "a mono 0 nan"])
def test_other_negative_and_empty_segments_are_refused(folder, line):
    (folder / "segments").write_text(line + "\n")
    assert f"{folder / 'segments'}:1: a segment " in fault(folder)


def test_a_segment_may_end_half_a_second_after_its_recording(folder):
    (folder / "segments").write_text("a mono 1 2.4\nb mono 1 3\n")
    a, b = recordings(folder)
    assert len(a.load(RATE)) == RATE
    assert "ends at 3 s, after the end of the file at 2 s" in fault([b])


def test_the_fifth_field_of_a_segment_is_a_channel_from_0(folder):
    (folder / "segments").write_text("a rec 0 2 0\nb rec 0 2 1\nc mono 0 2 1\nd rec 0 2 x\n")
    a, b, c, d = recordings(folder)
    assert [pitches(r) for r in (a, b, c)] == [[300, 500], [700, 900], [300, 500]]
    assert "segments:4: expected 'id recording start end [channel]'" in fault([d])


def test_segments_may_be_out_of_order_and_other_files_lie_beside(folder):
    (folder / "segments").write_text("b mono 1 2\na mono 0 1\nc rec 0 1\n")
    (folder / "spk2utt").write_text("x a b\ny c\n")
    (folder / "utt2spk").write_text("a x\nb x\nc y\n")
    (folder / "text").write_text("a one\nb two\nc three\n")
    assert ids(folder) == ["b", "a", "c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "  \t\n", ""])
def test_lines_in_any_form(folder, encoding, end):
    wav_scp = end.join(["rec\tcall.wav", "mono  mono.wav "]) if end else "mono mono.wav"
    segments = end.join(["a\tmono\t0\t1", "b mono 1   2", ""]) if end else "a mono 0 1"
    (folder / "wav.scp").write_bytes((wav_scp + end).encode(encoding))
    (folder / "segments").write_bytes(segments.encode(encoding))
    assert [len(r.load(RATE)) for r in recordings(folder)] == [RATE] * (2 if end else 1)


def test_reco2file_and_channel_names_the_channel_to_read(folder):
    (folder / "wav.scp").write_text("x-A call.wav\nx-B call.wav\nmono mono.wav\n")
    (folder / "reco2file_and_channel").write_text("x-A x A\nx-B x B\nmono mono B\nold\n")
    a, b, mono = recordings(folder)
    assert [pitches(r) for r in (a, b, mono)] == [[300, 500], [700, 900], [300, 500]]
    assert [(r.name, r.channel_name) for r in (a, b)] == [("x", "A"), ("x", "B")]
    (folder / "segments").write_text("u x-B 1 2\n")
    assert pitches(only(folder)) == [900, 900]


def test_entries_of_archives(tmp_path):
    """`wav.ark:offset`, as Kaldi's wav-copy and ESPnet write it, against kaldiio."""
    sounds = {"a": tone(0.5, hertz=300), "b": tone(0.25, hertz=500)}
    with (tmp_path / "wav.ark").open("wb") as ark, (tmp_path / "wav.scp").open("w") as scp:
        for name, samples in sounds.items():
            ark.write(name.encode() + b" ")
            scp.write(f"{name} {tmp_path}/wav.ark:{ark.tell()}\n")
            soundfile.write(tmp_path / "x.wav", samples, RATE)
            ark.write((tmp_path / "x.wav").read_bytes())
    expected = kaldiio.load_scp(str(tmp_path / "wav.scp"))
    for recording in recordings(tmp_path / "wav.scp"):
        rate, samples = expected[recording.id]
        assert rate == RATE
        np.testing.assert_allclose(recording.load(RATE), samples / 32768, atol=1e-6)
    (tmp_path / "wrong.scp").write_text(f"a {tmp_path}/wav.ark:7\n")
    assert "no sound file begins at byte 7" in fault(tmp_path / "wrong.scp")
