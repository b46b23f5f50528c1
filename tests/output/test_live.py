"""Segments are written as they end; the words of an unfinished one are written over."""

from __future__ import annotations

import io
import json

import pytest

from asr_hlg.errors import OptionError
from asr_hlg.output.live import LIVE_FORMATS, LiveWriter
from asr_hlg.output.transcript import Transcript, Word


def segment(number: int, *texts: str) -> Transcript:
    words = [Word(t, 10.0 * number + k, 10.0 * number + k + 0.9, 1.0) for k, t in enumerate(texts)]
    return Transcript(f"s-{number}", " ".join(texts), words, duration=5.0)


def written(format: str) -> str:
    out = io.StringIO()
    writer = LiveWriter(format, out)
    writer.write(segment(1, "the", "cat"))
    writer.write(segment(2))
    writer.write(segment(3, "and"))
    return out.getvalue()


def test_text_and_json():
    assert written("text") == "the cat\nand\n"
    lines = [json.loads(line) for line in written("json").splitlines()]
    assert [line["id"] for line in lines] == ["s-1", "s-3"]
    assert lines[1]["words"][0]["start"] == 30.0


def test_subtitles_are_numbered_on():
    assert written("srt") == (
        "1\n00:00:10,000 --> 00:00:11,900\nthe cat\n\n2\n00:00:30,000 --> 00:00:31,000\nand\n\n"
    )
    assert written("vtt").count("WEBVTT") == 1
    assert written("vtt").count(" --> ") == 2


def test_every_segment_is_flushed():
    class Target(io.StringIO):
        flushed = ""

        def flush(self):
            self.flushed = self.getvalue()

    for format in LIVE_FORMATS:
        target = Target()
        writer = LiveWriter(format, target)
        writer.write(segment(1, "the"))
        assert target.flushed == target.getvalue() != ""


def test_partial_words_are_written_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "11")
    out, terminal = io.StringIO(), io.StringIO()
    writer = LiveWriter("text", out, terminal)
    for texts in (["the"], ["the"], ["the", "cat", "and", "hat"]):
        writer.show(segment(1, *texts))
    writer.write(segment(1, "the", "cat"))
    assert terminal.getvalue() == "\r\x1b[Kthe\r\x1b[K…t and hat\r\x1b[K"
    assert out.getvalue() == "the cat\n"


def test_other_formats_are_refused():
    with pytest.raises(OptionError, match="text, json, srt, vtt"):
        LiveWriter("ctm", io.StringIO())
