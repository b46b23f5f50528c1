"""Sound that FFmpeg's libraries read: AAC, videos, damage, time stamps, and the missing package."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AudioError
from tests.support.encoded import encode
from tests.support.sounds import RATE, cut, fault, only, tone, write

av = pytest.importorskip("av")

# Endings with the codec and the sample format that encodes a tone well.
ENCODED = {
    ".m4a": "aac", ".aac": "aac", ".mp4": "aac", ".mov": "aac", ".3gp": "aac", ".mkv": "libopus",
    ".webm": "libopus", ".avi": "mp2", ".flv": "aac", ".ts": "aac", ".wma": "wmav2", ".ac3": "ac3",
    ".tta": "tta", ".wv": "wavpack", ".mpg": "mp2", ".ogv": "flac",
}  # fmt: skip


def stereo(seconds: float = 1.0, rate: int = 48000) -> np.ndarray:
    return np.stack([tone(seconds, rate, 300.0), tone(seconds, rate, 600.0)], axis=1)


def pitch(samples, begin: float = 0.3) -> int:
    """Strongest frequency in half a second, in steps of 2 Hz."""
    part = np.asarray(samples)[round(begin * RATE) :][: RATE // 2]
    return 2 * int(np.abs(np.fft.rfft(part)).argmax())


@pytest.mark.parametrize("suffix", ENCODED)
def test_each_format_is_decoded(tmp_path, suffix):
    path = encode(tmp_path / f"a{suffix}", stereo(), ENCODED[suffix])
    recording = only(path)
    samples = recording.load(RATE, channel=0)
    assert abs(len(samples) - RATE) < 0.15 * RATE
    assert pitch(samples) == 300
    assert pitch(recording.load(RATE, channel=1)) == 600
    assert recording.num_channels() == 2


def test_a_video_gives_its_sound(tmp_path):
    path = encode(tmp_path / "a.mp4", stereo(2.0), "aac", video=True)
    samples = only(path).load(RATE)
    assert abs(len(samples) - 2 * RATE) < 0.1 * RATE


def test_a_video_without_sound_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert "has no sound" in fault(path)


def test_the_name_does_not_matter(tmp_path):
    path = encode(tmp_path / "a.m4a", stereo(), "aac")
    assert pitch(only(path.rename(tmp_path / "a.wav")).load(RATE, channel=0)) == 300
    path = write(tmp_path / "b.wav")
    assert len(only(path.rename(tmp_path / "b.raw")).load(RATE)) == len(tone())


def test_parts_are_found_early_and_late(tmp_path):
    """Late ones by seeking: the positions are those of decoding all of the file."""
    steps = [tone(10.0, 48000, hertz) for hertz in (300, 400, 500, 600, 700, 800)]
    path = encode(tmp_path / "rec.m4a", np.concatenate(steps)[:, None], "aac")
    whole = np.asarray(only(path).load(RATE))
    (tmp_path / "wav.scp").write_text(f"rec {path}\n")
    (tmp_path / "segments").write_text("a rec 2 4\nb rec 41.5 43.25\nc rec 55 60\nd rec 70 71\n")
    *parts, late = recordings(tmp_path)
    for recording, (begin, end) in zip(parts, [(2, 4), (41.5, 43.25), (55, 60)], strict=True):
        expected = whole[round(begin * RATE) : round(end * RATE)]
        # The resampler sees zeros before a part.
        np.testing.assert_allclose(recording.load(RATE)[100:-100], expected[100:-100], atol=1e-3)
    assert "after the end" in fault([late])


def test_sound_that_begins_late_in_a_film_keeps_its_times(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        stream = container.add_stream("pcm_s16le", rate=RATE)
        stream.codec_context.layout = "mono"
        for number in range(15):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            picture.pts = number
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
        values = (tone(1.0)[None] * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values, "s16", "mono")
        frame.sample_rate, frame.pts = RATE, 2 * RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples = np.asarray(only(path).load(RATE))
    assert abs(len(samples) - 3 * RATE) < 100
    assert not samples[: 2 * RATE - 100].any()
    assert pitch(samples, 2.3) == 440


def test_tags_may_be_in_any_encoding(tmp_path):
    """With each version of the package, of which some decode tags as UTF-8."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "marker of a title"
        stream = container.add_stream("pcm_s16le", rate=RATE)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray((tone()[None] * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert b"marker of" in content
    path.write_bytes(content.replace(b"marker of", b"m\xe4rk\xff\xfe of"))
    assert len(only(path).load(RATE)) == len(tone())


@pytest.mark.parametrize("suffix", [".m4a", ".mkv", ".tta"])
@pytest.mark.parametrize("keep", [0.02, 0.5])
def test_files_whose_end_is_missing_are_refused(tmp_path, suffix, keep):
    path = encode(tmp_path / f"a{suffix}", stereo(5.0), ENCODED[suffix])
    reason = fault(cut(path, keep))
    assert "cut short" in reason or "cannot be read" in reason


def damaged(path, places) -> None:
    """Overwrite 40 bytes at some places, which are shares of the file's sound."""
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat")
    for place in places:
        at = begin + round(place * (len(content) - begin))
        content[at : at + 40] = bytes(range(200, 240))
    path.write_bytes(content)


def test_a_damaged_packet_is_left_out_with_a_note(tmp_path):
    path = encode(tmp_path / "a.m4a", tone(10.0, 48000)[:, None], "aac")
    whole = only(path).load(RATE)
    damaged(path, [0.5])
    recording = only(path)
    samples = recording.load(RATE)
    assert abs(len(samples) - len(whole)) < 0.1 * RATE
    assert pitch(samples, 8.0) == pitch(whole, 8.0) == 440
    [note] = recording.notes
    assert "packets of the sound are damaged" in note


def test_a_file_of_damaged_packets_is_refused(tmp_path):
    path = encode(tmp_path / "a.m4a", stereo(10.0), "aac")
    damaged(path, np.linspace(0.2, 0.8, 200))
    assert "cannot be read: damaged" in fault(path)


def test_wav_of_a_recorder_that_was_stopped(tmp_path):
    """Its header states the length 0; as in Kaldi, the samples go to the end of the file."""
    path = write(tmp_path / "a.wav", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_allclose(only(path).load(RATE), tone(), atol=1e-4)
    path.write_bytes(content[: at + 4])
    assert "holds no samples" in fault(path)


@pytest.mark.parametrize("content", [b"#EXTM3U\n{}\n", b"ffconcat version 1.0\nfile {}\n"])
@pytest.mark.parametrize("suffix", [".m3u8", ".mp4", ".concat", ".wav"])
def test_no_file_makes_another_be_opened(tmp_path, content, suffix):
    other = encode(tmp_path / "other.m4a", stereo(), "aac")
    path = tmp_path / f"list{suffix}"
    path.write_bytes(content.replace(b"{}", str(other).encode()))
    with pytest.raises(AudioError, match="cannot be read"):
        Recording("x", path).load(RATE)


def test_without_the_package_the_remedies_are_named(tmp_path, monkeypatch):
    path = encode(tmp_path / "a talk.m4a", stereo(), "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    reason = fault(path)
    assert reason.startswith(f"{path}: reading this format needs the package av")
    assert reason.endswith("(pip install 'asr-hlg[av]', or: ffmpeg -i 'a talk.m4a' 'a talk.wav')")


@pytest.mark.parametrize("suffix", [".raw", ".pcm", ".sln", ".ulaw", ".vox"])
def test_raw_samples_are_refused_with_the_remedy(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes((tone() * 32767).astype("<i2").tobytes())
    reason = fault(path)
    assert "raw samples" in reason
    assert f"--raw RATE - < a{suffix}; or" in reason
    assert f"ffmpeg -f s16le -ar RATE -ac 1 -i a{suffix} a.wav" in reason
