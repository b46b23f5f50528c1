"""Writers: the text of each format, checked by hand or read by the tool that defines the format."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from itertools import pairwise

import pytest
from lhotse import SupervisionSet
from praatio import textgrid

from asr_hlg.align import Alignment
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.output.transcript import Alternative, Transcript, Word
from asr_hlg.output.writers import FORMATS, format_of, writer

CAT = Transcript(
    id="cat_hat",
    text="cat and hat",
    words=[
        Word("cat", 0.1, 0.42, 0.98762),
        Word("and", 0.42, 0.5, 0.3),
        Word("hat", 0.5, 0.95, 1.0),
    ],
    score=-12.3456789,
    duration=1.2,
)
EMPTY = Transcript(id="silence", text="", duration=0.5)


def rendered(format: str, *transcripts: Transcript) -> str:
    stream = io.StringIO()
    with writer(format, stream) as out:
        for transcript in transcripts:
            out.write(transcript)
    assert not stream.closed
    return stream.getvalue()


@pytest.mark.parametrize(
    ("target", "format"),
    [
        (None, "text"),
        ("film.srt", "srt"),
        ("film.VTT", "vtt"),
        ("a/b.TextGrid", "textgrid"),
        ("talks.jsonl", "json"),
        ("talks.ctm", "ctm"),
        ("talks.parquet", "parquet"),
        ("talks.docx", "text"),
        ("folder/", "text"),
    ],
)
def test_the_suffix_of_an_output_says_its_format(target, format):
    assert format_of(target) == format


def test_text_has_the_id_first_and_keeps_an_empty_utterance():
    assert rendered("text", CAT, EMPTY) == "cat_hat cat and hat\nsilence\n"


def test_an_id_with_blanks_stays_one_field():
    spaced = dataclasses.replace(CAT, id="my  cat")
    assert rendered("text", spaced) == "my_cat cat and hat\n"
    assert all(line.split()[0] == "my_cat" for line in rendered("ctm", spaced).splitlines())


def test_trn_has_the_id_last():
    assert rendered("trn", CAT, EMPTY) == "cat and hat (cat_hat)\n(silence)\n"


def test_ctm_fields():
    assert rendered("ctm", CAT, EMPTY).splitlines() == [
        "cat_hat 1 0.100 0.320 cat 0.9876",
        "cat_hat 1 0.420 0.080 and 0.3000",
        "cat_hat 1 0.500 0.450 hat 1.0000",
    ]


def test_ctm_words_that_touch_still_touch_after_rounding():
    third = 1 / 3
    words = [Word(str(i), i * third, (i + 1) * third, 1.0) for i in range(30)]
    lines = rendered("ctm", Transcript("x", " ".join(map(str, range(30))), words)).splitlines()
    for before, after in pairwise(lines):
        start, duration = map(float, before.split()[2:4])
        assert start + duration == pytest.approx(float(after.split()[2]), abs=1e-9)


def test_json_is_one_object_a_line_with_unescaped_unicode():
    swiss = Transcript("zürich", "grüezi", [Word("grüezi", 0.0, 0.5, 0.9)], -1.0, 0.5)
    lines = rendered("json", CAT, swiss).splitlines()
    assert len(lines) == 2
    assert "grüezi" in lines[1]
    assert "zürich" in lines[1]
    record = json.loads(lines[0])
    assert {key: record[key] for key in ("id", "text", "duration", "score")} == {
        "id": "cat_hat",
        "text": "cat and hat",
        "duration": 1.2,
        "score": -12.3457,
    }
    assert record["words"][0] == {"word": "cat", "start": 0.1, "end": 0.42, "confidence": 0.9876}


def test_json_stays_json_when_a_score_is_infinite():
    record = json.loads(
        rendered("json", dataclasses.replace(EMPTY, score=float("-inf"))),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )
    assert record["score"] is None


def test_json_carries_the_alternatives_of_a_transcript_that_has_them():
    nbest = [
        Alternative("cat and hat", -12.34567, -10.0, -2.34567),
        Alternative("cat in hat", -13.0, -10.5, -2.5),
    ]
    transcript = Transcript("a", "cat and hat", alternatives=nbest)
    assert json.loads(rendered("json", transcript))["alternatives"] == [
        {
            "text": "cat and hat",
            "score": -12.3457,
            "acoustic_score": -10.0,
            "graph_score": -2.3457,
        },
        {"text": "cat in hat", "score": -13.0, "acoustic_score": -10.5, "graph_score": -2.5},
    ]
    assert "alternatives" not in json.loads(rendered("json", CAT))


def test_srt():
    assert rendered("srt", CAT) == "1\n00:00:00,100 --> 00:00:01,100\ncat and hat\n\n"


def test_vtt_marks_word_times_and_doubtful_words():
    assert rendered("vtt", CAT) == (
        "WEBVTT\n\n00:00:00.100 --> 00:00:01.100\n"
        "cat <00:00:00.420><c.unsure>and</c> <00:00:00.500>hat\n\n"
    )


def test_vtt_escapes_what_would_be_markup():
    transcript = Transcript("x", "<b> at&t", [Word("<b>", 0, 1, 1.0), Word("at&t", 1, 2, 1.0)])
    assert "&lt;b&gt; <00:00:01.000>at&amp;t" in rendered("vtt", transcript)


def test_clock_carries_into_hours_and_rounds_up_to_a_whole_second():
    late = Transcript("x", "late", [Word("late", 3599.9996, 3605.5, 1.0)])
    assert "01:00:00,000 --> 01:00:05,500" in rendered("srt", late)


@pytest.mark.parametrize("format", ["srt", "vtt", "textgrid"])
def test_a_file_of_one_recording_refuses_a_second(format, tmp_path):
    with writer(format, tmp_path / "out.x") as out:
        out.write(CAT)
        with pytest.raises(OptionError, match="folder"):
            out.write(EMPTY)
    with pytest.raises(OptionError, match="folder"), writer(format, io.StringIO(), count=2):
        pytest.fail("the count was known before the first recording")


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_gets_one_file_a_recording(format, tmp_path):
    with writer(format, f"{tmp_path}/new/", count=2) as out:
        out.write(CAT)
        out.write(dataclasses.replace(CAT, id="speaker/cat"))
    suffix = FORMATS[format].suffix
    files = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert files == [f"cat_hat{suffix}", f"speaker_cat{suffix}"]
    content = (tmp_path / "new" / f"cat_hat{suffix}").read_text(encoding="utf-8")
    assert content == rendered(format, CAT)


def test_subtitles_take_a_path_without_suffix_for_a_folder_and_text_for_a_file(tmp_path):
    for format in ("srt", "text"):
        with writer(format, tmp_path / format) as out:
            out.write(CAT)
    assert (tmp_path / "srt" / "cat_hat.srt").is_file()
    assert (tmp_path / "text").read_text() == "cat_hat cat and hat\n"


def test_every_transcript_is_on_disk_before_the_next_is_decoded(tmp_path):
    path = tmp_path / "out.txt"
    with writer("text", path) as out:
        out.write(CAT)
        assert path.read_text() == "cat_hat cat and hat\n"


def test_textgrid_reads_back_in_praatio(tmp_path):
    said = dataclasses.replace(CAT, words=[*CAT.words[:2], Word('h"at', 0.5, 1.21, 1.0)])
    path = tmp_path / "cat.TextGrid"
    with writer("textgrid", path) as out:
        out.write(said)
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.maxTimestamp == 1.21  # a last frame that is not full
    intervals = [(i.start, i.end, i.label) for i in grid.getTier("words").entries]
    assert intervals == [(0.1, 0.42, "cat"), (0.42, 0.5, "and"), (0.5, 1.21, 'h"at')]


def test_lhotse_reads_the_supervisions(tmp_path):
    path = tmp_path / "supervisions.jsonl"
    with writer("lhotse", path) as out:
        out.write(CAT)
        out.write(EMPTY)
    supervisions = {s.id: s for s in SupervisionSet.from_jsonl(path)}
    assert supervisions["silence"].text == ""
    segment = supervisions["cat_hat"]
    assert (segment.recording_id, segment.text, segment.duration) == ("cat_hat", CAT.text, 1.2)
    words = segment.alignment["word"]
    assert [(w.symbol, w.start, w.end, w.score) for w in words] == [
        ("cat", 0.1, 0.42, 0.9876),
        ("and", 0.42, 0.5, 0.3),
        ("hat", 0.5, 0.95, 1.0),
    ]


ALIGNED = Alignment(
    **vars(CAT) | {"phones": [Word("K", 0.1, 0.14, 0.9), Word("AE", 0.2, 0.22, 1.0)]}
)


def test_phones_of_an_alignment_are_a_tier_of_their_own(tmp_path):
    with writer("textgrid", tmp_path / "cat.TextGrid") as out:
        out.write(ALIGNED)
    grid = textgrid.openTextgrid(str(tmp_path / "cat.TextGrid"), includeEmptyIntervals=False)
    assert grid.tierNames == ("words", "phones")
    phones = [tuple(interval) for interval in grid.getTier("phones").entries]
    assert phones == [(0.1, 0.14, "K"), (0.2, 0.22, "AE")]
    record = json.loads(rendered("json", ALIGNED))
    assert record["phones"][0] == {"phone": "K", "start": 0.1, "end": 0.14, "confidence": 0.9}
    (tmp_path / "cat.jsonl").write_text(rendered("lhotse", ALIGNED))
    (supervision,) = SupervisionSet.from_jsonl(tmp_path / "cat.jsonl")
    assert [item.symbol for item in supervision.alignment["phone"]] == ["K", "AE"]
    assert [item.symbol for item in supervision.alignment["word"]] == ["cat", "and", "hat"]


def test_an_unknown_format_names_the_known_ones():
    with pytest.raises(OptionError, match="text, trn, ctm"), writer("docx", io.StringIO()):
        pass


@pytest.mark.parametrize("format", ["ctm", "srt", "vtt", "textgrid"])
def test_formats_with_times_refuse_a_transcript_without(format):
    with pytest.raises(AsrHlgError, match="no word times"):
        rendered(format, Transcript("x", "some words", duration=1.0))


def test_a_target_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "out.txt"
    with pytest.raises(OptionError, match="cannot be written") as caught, writer("text", path):
        pass
    assert caught.value.path == str(path)


def test_a_whole_file_appears_at_the_end_or_not_at_all(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("what was there before\n")
    with contextlib.suppress(ZeroDivisionError), writer("text", path, whole=True) as out:
        out.write(CAT)
        raise ZeroDivisionError
    assert path.read_text() == "what was there before\n"
    with writer("text", path, whole=True) as out:
        out.write(CAT)
        assert path.read_text() == "what was there before\n"
    assert path.read_text() == "cat_hat cat and hat\n"
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_a_folder_are_whole(tmp_path):
    with writer("ctm", f"{tmp_path}/") as out:
        out.write(CAT)
        with pytest.raises(AsrHlgError):
            out.write(Transcript("timeless", "no times"))
    assert [path.name for path in tmp_path.iterdir()] == ["cat_hat.ctm"]


def test_notes_are_in_json_where_there_are_any():
    noted = dataclasses.replace(CAT, notes=["memory ran short"])
    assert json.loads(rendered("json", noted))["notes"] == ["memory ran short"]
    assert "notes" not in json.loads(rendered("json", CAT))
