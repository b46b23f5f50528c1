"""Written words: those of the transcript, in the form of another transcript of the same sound."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.cli import main
from asr_hlg.output.english import normalise
from asr_hlg.output.formats import FORMATS
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.output.written import joined, written
from asr_hlg.transcribe.transcript import join


def spoken(text: str) -> list[Word]:
    return [Word(word, n, n + 0.9, 1 - n / 100) for n, word in enumerate(text.split())]


def line(text: str, model: str = "") -> str:
    return " ".join(word.text for word in written(spoken(text), model))


@pytest.mark.parametrize(
    ("words", "model", "expected"),
    [
        ("it cost twenty five dollars", "It costs twenty-five dollars.", "It cost $25."),
        ("i paid twenty five dollars for it", "I paid $25 for it.", "I paid $25 for it."),
        ("i saw mister smith he isn't well", "I saw Mr. Smith; he isn't well.", None),
        ("he was not an ill disposed young man", "He was not an ill-disposed young man,", None),
        ("come at two thirty p m now", "Come at two thirty P.M. now!", "Come at 2:30 p.m. now!"),
        ("it is two thirty p m", "It is two-thirty p.m.", "It is 2:30 p.m."),
        ("one two three go", "One, two, three, go!", None),
        ("caxtons books", "Caxton's books.", "Caxtons books."),
        ("yes thank you", "Thank you.", "Yes Thank you."),
        ("thank you", "Yes. Thank you. Bye.", "Thank you."),
        ("we came it rained", "We came home. It rained.", "We came. It rained."),
        ("four thousand two hundred people", "Four thousand, two hundred people.", "4200 people."),
        ("the us is big", "The U.S. is big.", "The U.S. is big."),
        ("he said hello to me", "He said, “Hello to me.”", None),
        ("in nineteen eighty four it was", "In nineteen eighty-four. It was", "In 1984. It was"),
        ("so i'm here and i stay", "so I'm here, and i stay", "so I'm here, and I stay"),
        ("twenty first century art", "Twenty-first-century art", "21st-century art"),
        ("nothing to write", "", "nothing to write"),
        ("i think twenty five dollars", "", "i think $25"),
        ("", "You're welcome.", ""),
    ],
)  # fmt: skip
def test_cases(words, model, expected):
    assert line(words, model) == (model if expected is None else expected)


def test_times_and_confidences_are_those_of_the_words():
    words = spoken("it cost twenty five dollars in well known shops")
    result = written(words, "It cost twenty-five dollars in well-known shops.")
    assert [(word.text, word.start, round(word.end, 1)) for word in result] == [
        ("It", 0, 0.9),
        ("cost", 1, 1.9),
        ("$25", 2, 4.9),
        ("in", 5, 5.9),
        ("well-known", 6, 7.9),
        ("shops.", 8, 8.9),
    ]
    assert result[2].confidence == words[4].confidence


WORDS = "the cat i'm two twenty hundred dollars june third smith well"
vocabulary = st.sampled_from(WORDS.split())


@given(st.lists(vocabulary, max_size=12), st.text("Tthecat .,-'“two?—", max_size=40))
def test_no_word_is_lost_or_invented(words, model):
    result = written(spoken(" ".join(words)), model)
    assert all(one.end <= other.start for one, other in pairwise(result))
    text = " ".join(word.text for word in result)
    # Punctuation inside a number parts it, so that digits are compared in their order.
    plain = re.sub(r"[^\w\s'$]", " ", text)
    if not re.search(r"\d", text):
        assert normalise(plain).split() == normalise(" ".join(words)).split()


@given(st.lists(vocabulary, max_size=12))
def test_words_alone_are_scored_as_they_were_said(words):
    text = " ".join(words)
    assert normalise(line(text)) == normalise(text)


@given(
    st.lists(st.sampled_from(["Cat", "cat,", "the", "Well-known", "“Hat”.", "It's"]), max_size=9)
)
def test_the_same_words_take_the_form_of_the_model(units):
    model = " ".join(units)
    words = re.sub(r"[^\w\s']", " ", model).lower()
    if units and units[0][0].isupper():
        assert line(words, model) == model


def test_formats():
    words = spoken("it cost twenty five dollars")
    model = "It cost twenty-five dollars."
    plain = Transcript("x", "it cost twenty five dollars", words, 0.0, 6.0)
    with_form = Transcript("x", plain.text, words, 0.0, 6.0, written=written(words, model))
    assert FORMATS["text"].render(plain) == "x it cost twenty five dollars\n"
    assert FORMATS["text"].render(with_form) == "x It cost $25.\n"
    assert "It cost $25." in FORMATS["srt"].render(with_form)
    assert "$25." in FORMATS["vtt"].render(with_form)
    assert FORMATS["ctm"].render(with_form) == FORMATS["ctm"].render(plain)
    record = json.loads(FORMATS["json"].render(with_form))
    assert record["written"] == "It cost $25."
    assert record["text"] == plain.text
    assert [word["word"] for word in record["words"]] == plain.text.split()
    assert "written" not in json.loads(FORMATS["json"].render(plain))


def test_pieces_without_a_second_pass_keep_their_words():
    words = spoken("it cost ten dollars")
    one = Transcript(
        "", "it cost ten dollars", words, written=written(words, "It cost ten dollars.")
    )
    two = Transcript("", "it cost ten dollars", words)
    assert join("x", [one, two]).written_text == "It cost $10. it cost $10"
    assert join("x", [two, two]).written == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("It is worth mention", "That, as an example", "It is worth mention that, as an example"),
        ("the Netherlands,", "By a process.", "the Netherlands, by a process."),
        ("It cost $10.", "By the way", "It cost $10. By the way"),
        ("we spoke to", "Paul and I", "we spoke to Paul and I"),
        ("", "The end", "The end"),
    ],
)
def test_a_sentence_goes_on_in_the_next_piece(first, second, expected):
    pieces = [[Word(text, 0.0, 1.0, 1.0) for text in piece.split()] for piece in (first, second)]
    assert " ".join(word.text for word in joined(pieces)) == expected


def test_the_command_line_writes_numbers_without_a_second_pass(english, root, tmp_path, capsys):
    talk = str(root / "examples" / "01-slt.wav")
    common = ["transcribe", talk, "--workers", "1", "--quiet", "--fast"]
    assert main([*common, "--format", "json", "--written"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["written"] == record["text"]  # no numbers, and capitals are not invented
    assert main([*common, "--format", "json"]) == 0
    assert "written" not in json.loads(capsys.readouterr().out)
    assert main([*common, "--format", "ctm", "--written"]) != 0
    assert "as they were said" in capsys.readouterr().err
