"""Phones of transcripts, and the times of words that the graph lacks."""

from __future__ import annotations

import json

import pytest

from asr_hlg.align import TimeModel
from asr_hlg.audio import recordings
from asr_hlg.cli import main
from asr_hlg.errors import OptionError
from asr_hlg.output.transcript import Word
from asr_hlg.rescore.pronunciations import Pronouncer
from asr_hlg.transcribe import TranscribeOptions


def transcribe(root, english, *options):
    recording = str(root / "examples" / "01-slt.wav")
    graph = ["--graph", str(english.folder), "--fast", "--quiet"]
    assert main(["transcribe", recording, *graph, *options]) == 0


def test_phones_are_in_json_ctm_and_textgrid(root, english, tmp_path):
    for suffix in ("jsonl", "ctm", "TextGrid"):
        transcribe(root, english, "--phones", "--output", str(tmp_path / f"all.{suffix}"))
    record = json.loads((tmp_path / "all.jsonl").read_text())
    words, phones = record["words"], record["phones"]
    assert [phone["phone"] for phone in phones[:2]] == ["HH", "IY"]
    for word in words:
        inside = [p for p in phones if word["start"] <= p["start"] and p["end"] <= word["end"]]
        assert inside[0]["start"] == word["start"]
        assert inside[-1]["end"] == word["end"]
    lines = [line.split() for line in (tmp_path / "all.ctm").read_text().splitlines()]
    assert [line[4] for line in lines] == [phone["phone"] for phone in phones]
    assert 'name = "phones"' in (tmp_path / "all.TextGrid").read_text()


def test_transcripts_have_no_phones_unless_requested(root, english, tmp_path):
    transcribe(root, english, "--output", str(tmp_path / "all.jsonl"))
    assert "phones" not in json.loads((tmp_path / "all.jsonl").read_text())
    with pytest.raises(OptionError, match="hybrid HMM"):
        TranscribeOptions(phones=True, times="ctc")


def test_a_word_that_the_graph_lacks_is_pronounced_and_aligned(root, english):
    [recording] = recordings([root / "examples" / "01-slt.wav"])
    pronouncer = Pronouncer(english)
    made_up = "keeze"  # in place of "keys"
    assert made_up not in english.words
    spoken = [("his", 1.17, 1.34), (made_up, 1.42, 1.59), ("and", 1.65, 1.73)]
    words, phones = TimeModel.shipped().refine(
        recording.load(16000), [Word(*times, 1.0) for times in spoken], pronouncer.spellings
    )
    assert phones[1][0].text == "K"
    assert (words[1].start, words[1].end) == (phones[1][0].start, phones[1][-1].end)
    assert words[1].start == pytest.approx(1.342, abs=0.05)
