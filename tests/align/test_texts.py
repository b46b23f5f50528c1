"""Texts of recordings: plain, beside them, in folders, and in the formats with ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_hlg.align.script import Script
from asr_hlg.align.texts import missing, read_scripts
from asr_hlg.audio import recordings
from asr_hlg.errors import AsrHlgError


@pytest.fixture
def sounds(tmp_path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("one", "two"):
        soundfile.write(folder / f"{name}.wav", np.random.default_rng(0).normal(size=800), 8000)
    return folder


def lines(script: Script) -> list[str]:
    return [line.text for line in script.lines]


def test_plain_text_is_of_one_recording(sounds, tmp_path):
    text = tmp_path / "any.txt"
    text.write_text("\ufeffChapter 1.\n\nOne  cat,\n* * *\nand two.\n", encoding="utf-8")
    one = list(recordings(sounds / "one.wav"))
    script = read_scripts(one, text)["one"]
    assert lines(script) == ["Chapter 1.", "One cat,", "and two."]
    assert [line.number for line in script.lines] == [1, 3, 5]
    assert script.words() == ["chapter", "one", "one", "cat", "and", "two"]
    with pytest.raises(AsrHlgError, match="no line begins with the id of a recording, such as"):
        read_scripts(list(recordings(sounds)), text)
    text.write_text("\n…\n", encoding="utf-8")
    with pytest.raises(AsrHlgError, match="the text has no words"):
        read_scripts(one, text)
    text.write_bytes(b"caf\xe9\n")
    with pytest.raises(AsrHlgError, match=r"any.txt:1: "):
        read_scripts(one, text)


def test_texts_with_ids(sounds, tmp_path):
    both = list(recordings(sounds))
    for name, content in {
        "text": "one A cat.\ntwo the hat\nthree x\n",
        "text.trn": "A cat. (one)\nthe hat (two)\n",
        "text.jsonl": '{"id": "one", "text": "A cat."}\n{"id": "two", "text": "the hat"}\n',
    }.items():
        path = tmp_path / name
        path.write_text(content)
        found = {id: lines(script) for id, script in read_scripts(both, path).items()}
        assert found == {"one": ["A cat."], "two": ["the hat"]}


def test_a_plain_text_that_begins_with_the_id_of_its_recording(sounds, tmp_path):
    one = list(recordings(sounds / "one.wav"))
    path = tmp_path / "one.txt"
    path.write_text("one cat\nand\nand another\n")
    assert lines(read_scripts(one, path)["one"]) == ["one cat", "and", "and another"]
    path.write_text("one cat\n")  # Kaldi's, unless the option says otherwise
    assert lines(read_scripts(one, path)["one"]) == ["cat"]
    assert lines(read_scripts(one, path, "plain")["one"]) == ["one cat"]
    path.write_text("cats sat\n")
    assert read_scripts(one, path, "kaldi") == {}


@pytest.mark.parametrize("suffix", [".txt", ".lab"])
def test_texts_beside_recordings_or_in_a_folder(sounds, tmp_path, suffix):
    both = list(recordings(sounds))
    (sounds / f"one{suffix}").write_text("a cat\na hat\n")
    assert {id: lines(s) for id, s in read_scripts(both, None).items()} == {
        "one": ["a cat", "a hat"]
    }
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / f"two{suffix}").write_text("two hats\n")
    assert {id: lines(s) for id, s in read_scripts(both, folder).items()} == {"two": ["two hats"]}


def test_tiers_of_a_textgrid_are_speakers(sounds):
    textgrid = pytest.importorskip("praatio.textgrid")
    grid = textgrid.Textgrid(0, 10)
    tiers = {"Ann": [(0.5, 2, "A cat."), (3, 4, "…")], "Bob": [(1, 2.5, "the hat"), (5, 6, "no")]}
    for name, intervals in tiers.items():
        grid.addTier(textgrid.IntervalTier(name, intervals, 0, 10))
    grid.addTier(textgrid.PointTier("clicks", [(1.0, "click")], 0, 10))
    path = sounds / "one.TextGrid"
    for layout in ("long_textgrid", "short_textgrid"):
        grid.save(str(path), layout, includeBlankSpaces=True)
        script = read_scripts(list(recordings(sounds / "one.wav")), None)["one"]
        assert [(line.speaker, line.text, line.span) for line in script.lines] == [
            ("Ann", "A cat.", (0.5, 2.0)),
            ("Bob", "the hat", (1.0, 2.5)),
            ("Bob", "no", (5.0, 6.0)),
        ]
    path.write_text("no grid")
    with pytest.raises(AsrHlgError, match="is no TextGrid that praatio can read"):
        read_scripts(list(recordings(sounds / "one.wav")), None)


def test_words_of_the_lexicon_are_said_as_they_are_written():
    script = Script.of_text("Mr. k_m 7 Cat", {"k_m", "7"}.__contains__)
    assert script.words() == ["mister", "k_m", "7", "cat"]


def test_errors_of_recordings_without_a_text(sounds, tmp_path):
    one, gone = next(recordings(sounds / "one.wav")), next(recordings(sounds / "gone.wav"))
    said = str(missing(one, None))
    assert said.startswith(f"{sounds}: there is no text: looked for one.txt, one.lab, one.TextGrid")
    assert str(missing(one, tmp_path / "text")) == (
        f"{tmp_path / 'text'}: there is no transcript with this id"
    )
    assert str(missing(gone, None)) == f"{sounds / 'gone.wav'}: there is no such file"


def test_subtitles_are_texts_without_their_times(sounds, tmp_path):
    one = list(recordings(sounds / "one.wav"))
    cues = "00:00:01{0}000 --> 00:00:02{0}000\n<i>One cat,</i>\nor 2\n\n"
    (tmp_path / "a.srt").write_text(
        "1\n" + cues.format(",") + "2\n00:00:02,000 --> 00:00:03,500\nand a hat.\n"
    )
    (tmp_path / "a.vtt").write_text(
        "WEBVTT\n\nNOTE of nobody\n\nfirst\n"
        + cues.format(".")
        + "00:02.000 --> 00:03.500 align:start\n<v Ann>and a <00:02.500>hat.\n"
    )
    for name in ("a.srt", "a.vtt"):
        script = read_scripts(one, tmp_path / name)["one"]
        assert lines(script) == ["One cat, or 2", "and a hat."]
