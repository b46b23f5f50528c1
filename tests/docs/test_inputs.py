"""What docs/inputs.md states: each row is an input that a user may have."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from kaldialign import edit_distance

from asr_hlg.cli import main

RATE = 16000
WORDS = "the cat slept on the chair while the rain fell outside"


@pytest.fixture
def run(root, english, capsys, tmp_path, monkeypatch):
    """Function that runs ``asr-hlg transcribe`` in a folder: status, output, messages."""
    monkeypatch.chdir(tmp_path)

    def transcribe(*arguments: str) -> tuple[int, str, str]:
        graph = str(root / "graphs" / "en")
        status = main(["transcribe", "--graph", graph, "--workers", "1", "--fast", *arguments])
        return status, *capsys.readouterr()

    return transcribe


@pytest.fixture
def talk(root) -> np.ndarray:
    return soundfile.read(root / "examples" / "03-awb.wav")[0]


def ffmpeg(*arguments: str | Path) -> None:
    """Run FFmpeg's program; the test is skipped where it is missing."""
    try:
        subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)
    except FileNotFoundError:
        pytest.skip("needs the program ffmpeg: apt install ffmpeg")


@pytest.mark.parametrize("suffix", ["m4a", "mp4", "webm", "mkv", "wma", "aac", "spx"])
def test_formats_of_ffmpeg_are_read(run, root, tmp_path, suffix):
    pytest.importorskip("av")
    codec = ["-c:a", "libopus"] if suffix == "webm" else []
    ffmpeg("-i", root / "examples" / "03-awb.wav", *codec, tmp_path / f"talk.{suffix}")
    status, out, _ = run(f"talk.{suffix}")
    assert status == 0
    # one word, or "onto" for "on to"
    assert edit_distance(WORDS.split(), out.split()[1:])["total"] <= 2


def test_a_video_gives_its_sound(run, root, tmp_path):
    pytest.importorskip("av")
    pictures = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:d=4"]
    ffmpeg(*pictures, "-i", root / "examples" / "03-awb.wav", "-c:a", "aac", tmp_path / "film.mp4")
    assert run("film.mp4")[:2] == (0, f"film {WORDS}\n")


def test_raw_samples_are_refused_with_the_remedy(run, talk, tmp_path):
    (tmp_path / "talk.raw").write_bytes((talk * 32767).astype("<i2").tobytes())
    status, _, messages = run("talk.raw")
    assert status == 1
    assert "raw samples" in messages
    assert "--raw RATE - < talk.raw" in messages


def test_a_folder_is_read_whole_and_what_is_skipped_is_counted(run, talk, tmp_path):
    for suffix, format in {"aif": "AIFF", "aifc": "AIFF", "voc": "VOC", "caf": "CAF"}.items():
        soundfile.write(tmp_path / f"{suffix}.{suffix}", talk, RATE, format=format)
    soundfile.write(tmp_path / "x.wav", talk, RATE)
    (tmp_path / "x.wav").rename(tmp_path / "bare")
    (tmp_path / "y.raw").write_bytes(bytes(100))
    status, out, messages = run(".")
    assert status == 0
    assert out == "".join(f"{name} {WORDS}\n" for name in ("aif", "aifc", "bare", "caf", "voc"))
    assert "1 files that look like sound skipped (y.raw)" in messages


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_in_any_encoding(run, talk, tmp_path, encoding):
    soundfile.write(tmp_path / "talk.wav", talk, RATE)
    (tmp_path / "wav.scp").write_text("rec talk.wav \r\n", encoding=encoding)
    assert run("wav.scp")[1] == f"rec {WORDS}\n"


def test_segments_to_the_end_and_of_a_channel(run, talk, tmp_path):
    noise = np.random.default_rng(0).normal(0, 1e-3, len(talk))
    soundfile.write(tmp_path / "talk.wav", np.stack([noise, talk], 1), RATE)
    (tmp_path / "wav.scp").write_text("rec talk.wav\n")
    (tmp_path / "segments").write_text("a rec 0 -1 1\n")
    assert run(".")[1] == f"a {WORDS}\n"


def test_reco2file_and_channel(run, talk, tmp_path):
    noise = np.random.default_rng(0).normal(0, 1e-3, len(talk))
    soundfile.write(tmp_path / "call.wav", np.stack([noise, talk], 1), RATE)
    (tmp_path / "wav.scp").write_text("x-B call.wav\n")
    (tmp_path / "reco2file_and_channel").write_text("x-B x B\n")
    lines = run(".", "--format", "ctm")[1].splitlines()
    assert {tuple(line.split()[:2]) for line in lines} == {("x", "B")}
    assert " ".join(line.split()[4] for line in lines) == WORDS


def test_entries_of_archives(run, talk, tmp_path):
    stream = io.BytesIO()
    soundfile.write(stream, talk, RATE, format="WAV")
    (tmp_path / "wav.ark").write_bytes(b"rec " + stream.getvalue())
    (tmp_path / "wav.scp").write_text("rec wav.ark:4\n")
    assert run("wav.scp")[1] == f"rec {WORDS}\n"


@pytest.mark.parametrize(
    ("form", "note"),
    [
        (lambda x: np.stack([x, -x], 1), "cancel each other"),
        (lambda x: np.clip(2 * x / np.abs(x).max(), -1, 1)[:, None], "clipped"),
        (lambda x: 32768 * x[:, None], "times full scale"),
    ],
)
def test_what_is_noticed(run, talk, tmp_path, form, note):
    soundfile.write(tmp_path / "talk.wav", form(talk), RATE, subtype="FLOAT")
    status, out, messages = run("talk.wav")
    assert status == 0
    assert out.startswith("talk the cat slept on the")
    assert note in messages


def test_near_silence_is_noticed(run, talk, tmp_path):
    soundfile.write(tmp_path / "talk.wav", 5e-4 * talk, RATE, subtype="FLOAT")
    status, _, messages = run("talk.wav")
    assert status == 0
    assert "almost silent" in messages


def test_channels_by_themselves(run, root, talk, tmp_path):
    other = soundfile.read(root / "examples" / "01-slt.wav")[0]
    sides = np.random.default_rng(0).normal(0, 1e-4, (len(talk) + len(other), 2))
    sides[: len(talk), 0] += talk
    sides[len(talk) :, 1] += other
    soundfile.write(tmp_path / "talk.wav", sides, RATE)
    assert "--channel all" in run("talk.wav")[2]
    status, out, _ = run("talk.wav", "--channel", "all", "--format", "json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(r["id"], r["recording"], r["channel"]) for r in records] == [
        ("talk-1", "talk", "1"),
        ("talk-2", "talk", "2"),
    ]
    assert records[0]["text"] == WORDS


def test_another_language_is_noticed(run, speech):
    assert "perhaps it is not of the graph's language" in run(str(speech / "ko"))[2]


def test_names_that_would_share_a_file_of_the_output(run, talk, tmp_path):
    pytest.importorskip("praatio")
    for name in ("a/one.wav", "b/one.wav", "a_one.wav", "long" * 60 + ".wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, talk[:RATE], RATE)
    assert run("in", "--format", "textgrid", "--output", "grids", "--quiet")[0] == 0
    assert len(list((tmp_path / "grids").iterdir())) == 4


# ---------------------------------------------------------------- the page itself


def test_the_page_lists_the_endings_of_the_code(root):
    from asr_hlg.audio.formats import AV_SUFFIXES, RAW_SUFFIXES, SNDFILE_SUFFIXES

    page = (root / "docs" / "inputs.md").read_text()
    [line] = [line for line in page.splitlines() if line.startswith("`.3g2 ")]
    assert set(line.strip("`").split()) == SNDFILE_SUFFIXES | AV_SUFFIXES
    for suffix in (".raw", ".pcm", ".sln", ".ulaw", ".alaw", ".vox"):
        assert suffix in RAW_SUFFIXES
        assert f"`{suffix}`" in page


def test_the_remedies_of_the_page_are_those_of_the_messages(root):
    from asr_hlg.audio.formats import how_to_convert

    page = (root / "docs" / "inputs.md").read_text()
    pip, _, convert = how_to_convert(Path("talk.m4a")).partition(", or: ")
    assert f"`{pip}`" in page
    assert f"`{convert}`" in page
    assert shlex.quote("talk.wav") in convert
