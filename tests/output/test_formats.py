"""What sclite and Praat would misread: ids and words with markup, intervals without length.

The expected words are those that sclite 2.10 of NIST's SCTK was seen to read as plain words
(`-i spu_id -o pralign` shows them); its formats are described in doc/infmts.htm there.
"""

from __future__ import annotations

import io

import pytest
from praatio import textgrid

from asr_hlg.output.text import read_transcripts
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.output.writers import writer


def rendered(format: str, *transcripts: Transcript) -> str:
    stream = io.StringIO()
    with writer(format, stream) as out:
        for transcript in transcripts:
            out.write(transcript)
    return stream.getvalue()


def spoken(*texts: str, id: str = "a") -> Transcript:
    words = [Word(text, i / 2, i / 2 + 0.25, 1.0) for i, text in enumerate(texts)]
    return Transcript(id, " ".join(texts), words, duration=len(texts) / 2)


@pytest.mark.parametrize(
    ("id", "trn", "ctm"),
    [
        ("spk-utt_1", "spk-utt_1", "spk-utt_1"),
        ("talk (2)", "talk_[2]", "talk_(2)"),
        ("a b\tc", "a_b_c", "a_b_c"),
        (";note", ";note", "_note"),
    ],
)
def test_ids_that_sclite_reads(id, trn, ctm):
    assert rendered("trn", spoken("cat", id=id)) == f"cat ({trn})\n"
    assert rendered("ctm", spoken("cat", id=id)) == f"{ctm} 1 0.000 0.250 cat 1.0000\n"


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("it's", "it's"),
        ("<unk>", "<unk>"),
        ("(", "("),
        ("a:b", "a:b"),
        ("{um", "[um"),  # alternatives
        ("a}b", "a]b"),
        ("@", "[@]"),  # the null word
        ("a@b", "a@b"),
        ("(uh)", "[uh]"),  # may be deleted at no cost
        (";;", ",,"),  # a comment where a line begins with it
        ("a;b", "a,b"),  # an attribute b of the word a
        ("<alt_begin>", "[<alt_begin>]"),  # a tag of CTM
    ],
)
def test_words_that_sclite_reads(word, written):
    assert rendered("trn", spoken(word, "b")) == f"{written} b (a)\n"
    assert rendered("ctm", spoken(word)).split() == [
        "a", "1", "0.000", "0.250", written, "1.0000",
    ]  # fmt: skip


def test_ctm_has_six_columns_whatever_a_word_is():
    transcript = Transcript("a", "new york", [Word("new york", 0, 1, 1.0), Word("", 1, 2, 1.0)])
    columns = [line.split() for line in rendered("ctm", transcript).splitlines()]
    assert [line[4] for line in columns] == ["new_york", "@"]
    assert {len(line) for line in columns} == {6}


def test_what_is_written_can_be_read_back(tmp_path):
    texts = [spoken("it's", "(", "@", id="x (1)"), spoken("{", "b", id="x-2")]
    for format, ids in (("trn", ("x_[1]", "x-2")), ("ctm", ("x_(1)", "x-2"))):
        path = tmp_path / f"out.{format}"
        path.write_text(";; a comment\n" + rendered(format, *texts))
        assert read_transcripts(path) == dict(zip(ids, ("it's ( [@]", "[ b"), strict=True))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([(0.5, 0.5)], [(0.5, 0.501)]),  # empty
        ([(0.1, 0.5), (0.4, 0.8)], [(0.1, 0.5), (0.5, 0.8)]),  # overlapping
        ([(0.1, 0.5), (0.2, 0.3), (0.3, 0.6)], [(0.1, 0.5), (0.5, 0.501), (0.501, 0.6)]),
        ([(0.9, 1.0), (1.0, 1.0)], [(0.9, 1.0), (1.0, 1.001)]),  # past the end
        ([], []),
    ],
)
def test_intervals_that_praat_reads(times, expected, tmp_path):
    words = [Word("w", start, end, 1.0) for start, end in times]
    path = tmp_path / "a.TextGrid"
    with writer("textgrid", path) as out:
        out.write(Transcript("a", " ".join("w" for _ in words), words, duration=1.0))
    tier = textgrid.openTextgrid(str(path), includeEmptyIntervals=False).getTier("words")
    assert [(i.start, i.end) for i in tier.entries] == [
        pytest.approx(interval, abs=1e-9) for interval in expected
    ]


def test_a_textgrid_has_a_length():
    lines = rendered("textgrid", Transcript("a", "")).split("\n")
    assert "xmin = 0 " in lines
    assert "xmax = 0.001 " in lines
