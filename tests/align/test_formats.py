"""Formats of alignments: lines, words that are not spoken, unmatched sound, speakers."""

from __future__ import annotations

import io
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from asr_hlg.align.alignment import Alignment, Line, Token
from asr_hlg.align.formats import ALIGNMENT_FORMATS
from asr_hlg.align.matching import assembled
from asr_hlg.align.summary import summary
from asr_hlg.output.transcript import Word
from asr_hlg.output.writers import writer


def token(text: str, spoken: str, *times: float) -> Token:
    """A token whose words follow each other at some times; of one phone each."""
    spans = zip(spoken.split(), times[:-1], times[1:], strict=True) if times else ()
    words = tuple(Word(word, start, end, 0.9) for word, start, end in spans)
    return Token(
        text, spoken, words, tuple(Word(w.text[0].upper(), w.start, w.end, 0.9) for w in words)
    )


def example(*speakers: str) -> Alignment:
    lines = [
        [token("Chapter", "chapter"), token("1.", "one")],
        [
            token("He", "he", 1.0, 1.25),
            token("paid", "paid", 1.2501, 1.6),
            token("$5 —", "five dollars", 1.6, 1.9, 2.5),
        ],
        [token("<not>", "not"), token("&", "and", 3.0, 3.2), token("left.", "left", 3.5, 4.0)],
        [token("The end.", "the end")],
    ]  # fmt: skip
    names = [*speakers, *[""] * 4]
    made = [
        Line(" ".join(t.text for t in tokens), tuple(tokens), name, number)
        for number, (tokens, name) in enumerate(zip(lines, names, strict=False), start=1)
    ]
    return assembled(
        Alignment("talk", "", lines=made, unmatched=[(2.5, 3.0)], duration=5.0, sound="talk.mp3")
    )


def text_of(name: str, alignment: Alignment) -> str:
    stream = io.StringIO()
    with writer(name, stream, formats=ALIGNMENT_FORMATS) as out:
        out.write(alignment)
    return stream.getvalue()


def test_json_marks_what_is_not_spoken():
    record = json.loads(text_of("json", example()))
    assert record["text"] == "chapter one he paid five dollars not and left the end"
    assert [word["word"] for word in record["words"]] == record["text"].split()
    assert record["words"][0] == {"word": "chapter", "unspoken": True}
    assert record["words"][4] == {"word": "five", "start": 1.6, "end": 1.9, "confidence": 0.9}
    assert record["lines"] == [
        {"text": "Chapter 1.", "unspoken": True},
        {"text": "He paid $5 —", "start": 1.0, "end": 2.5},
        {"text": "<not> & left.", "start": 3.0, "end": 4.0, "unspoken_words": 1},
        {"text": "The end.", "unspoken": True},
    ]
    assert record["unmatched"] == [{"start": 2.5, "end": 3.0}]
    assert record["written"] == "Chapter 1. He paid $5 — <not> & left. The end."


def test_ctm_has_what_is_spoken():
    words = [line.split()[2:5] for line in text_of("ctm", example()).splitlines()]
    assert words[:2] == [["1.000", "0.250", "he"], ["1.250", "0.350", "paid"]]
    assert [word for *_, word in words] == ["he", "paid", "five", "dollars", "and", "left"]
    phones = [line.split()[4] for line in text_of("ctm-phones", example()).splitlines()]
    assert phones == list("HPFDAL")


def test_a_line_is_a_subtitle():
    assert text_of("srt", example()) == (
        "1\n00:00:01,000 --> 00:00:02,500\nHe paid $5 —\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\n<not> & left.\n\n"
    )
    vtt = text_of("vtt", example("", "Ann", "Bob"))
    assert vtt == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n<v Ann>He paid $5 —\n\n"
        "00:00:03.000 --> 00:00:04.000\n<v Bob>&lt;not&gt; &amp; left.\n\n"
    )


def test_a_text_of_one_line_is_cut_into_subtitles():
    tokens = tuple(token(f"Word{n},", "word", n, n + 0.5) for n in range(40))
    whole = assembled(Alignment("a", "", lines=[Line("…", tokens)], duration=41.0))
    cues = re.findall(r"(\S+) --> (\S+)\n(.*\n)+?\n", text_of("srt", whole))
    assert len(cues) > 4


@pytest.mark.parametrize("layout", ["textgrid", "short-textgrid"])
def test_tiers_of_a_textgrid_have_no_gaps(tmp_path, layout):
    textgrid = pytest.importorskip("praatio.textgrid")
    path = tmp_path / "talk.TextGrid"
    path.write_text(text_of(layout, example()), encoding="utf-8")
    assert (path.read_text().count("xmin") > 0) == (layout == "textgrid")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    assert grid.tierNames == ("lines", "words", "phones", "unmatched")
    for name in grid.tierNames:
        entries = grid.getTier(name).entries
        assert (entries[0].start, entries[-1].end) == (0.0, 5.0)
        assert all(a.end == b.start for a, b in itertools.pairwise(entries))
    words = [entry for entry in grid.getTier("words").entries if entry.label]
    assert [word.label for word in words] == ["he", "paid", "five", "dollars", "and", "left"]
    assert words[0].end == words[1].start  # no gap of a tenth of a millisecond
    lines = [entry.label for entry in grid.getTier("lines").entries if entry.label]
    assert lines == ["He paid $5 —", "<not> & left."]


def test_speakers_have_tiers_of_their_own(tmp_path):
    textgrid = pytest.importorskip("praatio.textgrid")
    path = tmp_path / "talk.TextGrid"
    path.write_text(text_of("textgrid", example("Ann", "Ann", "Bob", "Bob")), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == (
        "Ann - lines", "Ann - words", "Ann - phones",
        "Bob - lines", "Bob - words", "Bob - phones", "unmatched",
    )  # fmt: skip
    words = [entry.label for entry in grid.getTier("Bob - words").entries]
    assert words == ["and", "left"]


def test_fragments_of_a_sync_map_are_adjacent():
    fragments = json.loads(text_of("syncmap", example()))["fragments"]
    assert [(f["id"], f["begin"], f["end"], f["lines"]) for f in fragments] == [
        ("f000001", "1.000", "1.000", ["Chapter 1."]),
        ("f000002", "1.000", "3.000", ["He paid $5 —"]),
        ("f000003", "3.000", "5.000", ["<not> & left."]),
        ("f000004", "5.000", "5.000", ["The end."]),
    ]
    root = ElementTree.fromstring(text_of("smil", example()))
    pars = root.findall(".//{http://www.w3.org/ns/SMIL}par")
    audio = [par[1].attrib for par in pars]
    assert [par[0].attrib["src"] for par in pars] == ["talk.xhtml#f000002", "talk.xhtml#f000003"]
    assert audio[0] == {
        "src": "talk.mp3",
        "clipBegin": "00:00:01.000",
        "clipEnd": "00:00:03.000",
    }


def test_the_summary_counts_words_and_sound():
    assert list(summary(example())) == [
        "talk: 5 of 9 words aligned; not spoken: 4; sound that the text lacks: 0.5 of 5.0 s",
        "  not spoken: line 1 (Chapter 1.), line 4 (The end.)",
    ]
    tokens = (token("all", "all", 0.0, 1.0),)
    assert list(summary(assembled(Alignment("a", "", lines=[Line("all", tokens)])))) == []
