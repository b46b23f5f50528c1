"""Minutes of real speech with texts that differ from it, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_hlg.align import windows
from asr_hlg.audio import recordings
from asr_hlg.cli import main
from asr_hlg.output.text import read_transcripts

pytestmark = pytest.mark.real

RATE = 16000


@pytest.fixture(scope="module")
def sentences(english, speech) -> list[tuple[np.ndarray, str]]:
    """Samples and text of 32 sentences of LJ Speech, of which numbers 8 and 9 are equal."""
    folder = speech / "ljspeech"
    said = read_transcripts(folder / "text")
    some = [(r.load(RATE), said[r.id]) for r in list(recordings(folder / "flac"))[:31]]
    return [*some[:9], *some[8:]]


@pytest.fixture(scope="module")
def talk(sentences, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("long") / "talk.wav"
    soundfile.write(path, np.concatenate([samples for samples, _ in sentences]), RATE)
    return path


def aligned(talk: Path, text: str, *options: str, status: int = 0) -> dict:
    path = talk.with_suffix(".json")
    (talk.parent / "text.txt").write_text(text)
    arguments = ["align", str(talk), "--text", str(talk.parent / "text.txt"), *options]
    assert main([*arguments, "--format", "json", "--output", str(path)]) == status
    return json.loads(path.read_text()) if status == 0 else {}


def starts(sentences) -> list[float]:
    lengths = [len(samples) / RATE for samples, _ in sentences]
    return [0.0, *np.cumsum(lengths)[:-1].tolist()]


@pytest.fixture(autouse=True)
def _with_windows(monkeypatch):
    """Anchors and windows, although the recording is short enough for one window."""
    monkeypatch.setattr(windows, "DIRECT_CELLS", 0)


def test_lines_stay_in_place_where_text_and_sound_differ(sentences, talk, capsys):
    """Lines are dropped, added, repeated, and a page is missing; the others stay in place."""
    begins = starts(sentences)
    front = "A book of which nobody reads this page\nCopyright 1897, by John Smith & Co.\n"
    dropped, repeated = {3, 14, 15, 16, 17}, {22}
    lines, expected = [*front.splitlines()], [None, None]
    for number, (_, text) in enumerate(sentences):
        if number not in dropped:
            lines.append(text)
            expected.append(number)
        if number in repeated:
            lines.append(text)
            expected.append(number)
    lines[8] = lines[8].replace(lines[8].split()[2], "Wagga-Wagga")
    record = aligned(talk, "\n".join(lines))
    twice = [line for line, n in zip(record["lines"], expected, strict=True) if n in repeated]
    assert sum("unspoken" in line for line in twice) == 1
    for line, number in zip(record["lines"], expected, strict=True):
        if number is None or (line in twice and "unspoken" in line):
            assert line["unspoken"]
            continue
        end = begins[number] + len(sentences[number][0]) / RATE
        assert line["start"] == pytest.approx(begins[number], abs=0.3), line
        assert end - 0.8 < line["end"] < end + 0.1, line
    for number in (3, 15):
        middle = begins[number] + len(sentences[number][0]) / RATE / 2
        assert any(s["start"] < middle < s["end"] for s in record["unmatched"])
    lost = sum(len(sentences[number][0]) / RATE for number in dropped)
    assert sum(s["end"] - s["start"] for s in record["unmatched"]) == pytest.approx(lost, rel=0.15)
    errors = capsys.readouterr().err
    assert "sound that the text lacks: " in errors
    assert "not spoken: line 1 (A book of which nobody reads …)" in errors


def test_a_text_in_one_line_and_sound_without_differences(sentences, talk):
    record = aligned(talk, " ".join(text for _, text in sentences))
    unspoken = sum("unspoken" in word for word in record["words"])
    assert unspoken <= 0.01 * len(record["words"])
    place = 0
    for begin, (samples, text) in zip(starts(sentences), sentences, strict=True):
        words = record["words"][place : place + len(text.split())]
        place += len(words)
        timed = [word for word in words if "start" in word]
        assert begin - 0.1 < timed[0]["start"]
        assert timed[-1]["end"] < begin + len(samples) / RATE + 0.1


def test_two_paragraphs_in_the_wrong_order(sentences, talk):
    texts = [text for _, text in sentences]
    record = aligned(talk, "\n".join([*texts[:10], *texts[13:15], *texts[10:13], *texts[15:]]))
    begins = starts(sentences)
    assert [number for number, line in enumerate(record["lines"]) if line.get("unspoken")] == [
        10,
        11,
    ]
    for line, number in zip(record["lines"][12:], [10, 11, 12, *range(15, 32)], strict=True):
        assert line["start"] == pytest.approx(begins[number], abs=0.3)


def test_the_text_of_something_else(talk, capsys):
    other = "turn left at the second light and drive onto the bridge\n" * 3
    aligned(talk, other + "my brother wants to learn how to play the piano", status=1)
    assert "the recording does not contain this text: " in capsys.readouterr().err
