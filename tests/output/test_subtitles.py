"""Cues: limits hold where they can, segmentations are optimal, breaks fall where readers expect."""

from __future__ import annotations

import json
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.cli import main
from asr_hlg.output.formats import FORMATS
from asr_hlg.output.subtitle_rules import (
    LINE_LENGTH,
    MAX_SECONDS,
    MIN_GAP,
    MIN_SECONDS,
    TextCue,
    check,
    read_cues,
)
from asr_hlg.output.subtitles import _Costs, cues
from asr_hlg.output.transcript import Transcript, Word


def spoken(text: str, seconds: float = 0.3, pauses: dict[str, float] | None = None) -> list[Word]:
    """Words of equal length, with a pause before those named."""
    words, now = [], 0.0
    for word in text.split():
        now += (pauses or {}).get(word, 0.0)
        words.append(Word(word, now, now + seconds, 1.0))
        now += seconds
    return words


def texts(words: list[Word]) -> list[list[str]]:
    return [[" ".join(w.text for w in line) for line in cue.lines] for cue in cues(words)]


def shown(words: list[Word], duration: float = 0.0) -> list[TextCue]:
    return [
        TextCue(cue.start, cue.end, [" ".join(w.text for w in line) for line in cue.lines])
        for cue in cues(words, duration)
    ]


def timed(parts: list[tuple[int, float, float]]) -> list[Word]:
    """Words of so many letters, each after a pause, with a duration."""
    words, now = [], 0.0
    for letters, pause, duration in parts:
        start, now = now + pause, now + pause + duration
        words.append(Word("x" * letters, start, now, 1.0))
    return words


random_words = st.lists(
    st.tuples(
        st.integers(1, 50),  # letters
        st.sampled_from([0.0, 0.0, 0.02, 0.3, 0.9, 8.0]),  # pause before
        st.sampled_from([0.0, 0.02, 0.2, 0.5, 9.0]),  # duration
    ),
    max_size=60,
).map(timed)


@given(random_words)
def test_limits_hold_and_nothing_is_lost(words):
    result = list(cues(words, words[-1].end if words else 0.0))
    assert [word for cue in result for line in cue.lines for word in line] == words
    for before, after in pairwise(result):
        assert before.end <= max(after.start, before.start + 0.001)
    for cue in result:
        count = sum(map(len, cue.lines))
        assert cue.start < cue.end <= cue.start + MAX_SECONDS + 1e-9
        assert len(cue.lines) <= 2
        if count > 1:
            for line in cue.lines:
                assert len(" ".join(word.text for word in line)) <= LINE_LENGTH


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from([0.0, 0.4, 1.2]), st.sampled_from([0.2, 0.5])),
        min_size=1,
        max_size=11,
    ).map(timed)
)
def test_the_segmentation_is_the_cheapest_of_all(words):
    costs = _Costs(words, 0.0)
    size = len(words)

    def total(breaks: tuple[int, ...]) -> float:
        return sum(costs.of_cue(a, b) for a, b in pairwise([0, *breaks, size]))

    allowed = [
        breaks
        for count in range(size)
        for breaks in combinations(range(1, size), count)
        if all(b - a == 1 or costs.fits(a, b) for a, b in pairwise([0, *breaks, size]))
    ]
    found = [sum(map(len, cue.lines)) for cue in cues(words)]
    inner = tuple(sum(found[: n + 1]) for n in range(len(found) - 1))
    assert total(inner) == pytest.approx(min(map(total, allowed)))


@given(
    st.lists(
        st.tuples(st.integers(2, 9), st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0, 2.0]), st.just(0.0)),
        min_size=12,
        max_size=80,
    )
)
def test_slow_speech_with_pauses_exceeds_no_limit(parts):
    words = timed([(letters, pause, 0.08 * letters + 0.1) for letters, pause, _ in parts])
    report = check(shown(words, words[-1].end + 1.0))
    assert report.violations == []


def test_a_short_sentence_is_one_line():
    assert texts(spoken("the cat and the hat")) == [["the cat and the hat"]]


def test_a_long_line_breaks_before_a_phrase():
    text = "printing in the only sense with which we are at present"
    assert texts(spoken(text, 0.3)) == [
        ["printing in the only sense", "with which we are at present"]
    ]


def test_cues_break_at_sentences_and_lines_at_commas():
    text = "When the rain stopped, we walked home. The dog was already asleep on the chair."
    assert texts(spoken(text, 0.3)) == [
        ["When the rain stopped, we walked home."],
        ["The dog was already asleep on the chair."],
    ]
    text = "If you come to the old house, ring the bell at the door"
    assert texts(spoken(text, 0.35)) == [
        ["If you come to the old house,", "ring the bell at the door"]
    ]


def test_a_title_is_no_end_of_a_sentence():
    text = "We would like to tell you that Mr. Smith has not come home from his journey abroad"
    lines = [line for cue in texts(spoken(text, 0.3)) for line in cue]
    assert not any(line.endswith("Mr.") for line in lines)


def test_a_pause_ends_a_cue_unless_a_single_word_would_be_left():
    words = spoken("one two three four five six", 0.4, pauses={"four": 2.0})
    assert texts(words) == [["one two three"], ["four five six"]]
    words = spoken("records we have sold many thanks", 0.4, pauses={"we": 0.8, "thanks": 0.8})
    assert texts(words) == [["records we have sold many thanks"]]


def test_fast_speech_leaves_no_single_word():
    """Too fast for any segmentation to be readable; one with a single word is no better."""
    text = "the boat leaves the harbor at seven o'clock in the morning and returns before dark"
    ends = 0.27, 0.50, 0.89, 0.96, 1.34, 1.48, 1.84, 2.20, 2.33, 2.39, 2.78, 2.96, 3.46, 3.85, 4.34
    starts = (0.2, *ends)
    words = [Word(*fields, 1.0) for fields in zip(text.split(), starts, ends, strict=False)]
    assert all(sum(map(len, cue.lines)) > 1 for cue in cues(words, duration=8.0))


def test_a_cue_stays_until_it_is_read_but_leaves_a_gap():
    one, two = shown(spoken("extraordinarily incomprehensible two", 0.3, pauses={"two": 3.0}), 9.0)
    assert one.end == pytest.approx(len("extraordinarily incomprehensible") / 17)
    assert two.end == pytest.approx(two.start + 1.0)
    for before, after in pairwise(shown(spoken("cat " * 80, 0.3))):
        assert after.start - before.end >= MIN_GAP


def test_a_short_cue_ends_with_its_recording():
    (cue,) = cues(spoken("one", 0.2), duration=0.5)
    assert cue.end == 0.5


def test_no_words_no_cues():
    assert list(cues([])) == []


def test_each_limit_is_checked():
    cases = {
        "line too long": TextCue(0, 5, ["x" * (LINE_LENGTH + 1)]),
        "too many lines": TextCue(0, 5, ["a", "b", "c"]),
        "too fast": TextCue(0, 1, ["twenty one letters and"]),
        "too short": TextCue(0, MIN_SECONDS - 0.01, ["a"]),
        "too long": TextCue(0, MAX_SECONDS + 0.01, ["a"]),
    }
    for kind, cue in cases.items():
        assert check([cue]).counts == {kind: 1}
    close = [TextCue(0, 1.95, ["a"]), TextCue(2, 3, ["b"])]
    report = check(close)
    assert report.violations == [(1, "gap too short", "0.050 s to the next cue")]
    assert report.rate == 0.5
    good = [TextCue(0, 1, ["x" * 20]), TextCue(1 + MIN_GAP, 4, ["b" * LINE_LENGTH, "c"])]
    assert check(good).violations == []


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_files_are_read_as_they_are_written(format, tmp_path):
    words = spoken("the <b> cat & the hat sat on the mat " * 6, 0.31, pauses={"mat": 0.2})
    transcript = Transcript("x", " ".join(word.text for word in words), words, 0.0, 30.0)
    path = tmp_path / f"x.{format}"
    path.write_text(FORMATS[format].header + FORMATS[format].render(transcript))
    read = read_cues(path)
    expected = shown(words, 30.0)
    if format == "srt":  # an SRT file has no escapes, so that <b> is taken for a tag
        expected = [
            TextCue(
                cue.start,
                cue.end,
                [" ".join(line.replace("<b>", "").split()) for line in cue.lines],
            )
            for cue in expected
        ]
        read = [TextCue(c.start, c.end, [" ".join(line.split()) for line in c.lines]) for c in read]
    assert [cue.lines for cue in read] == [cue.lines for cue in expected]
    for one, other in zip(read, expected, strict=True):
        assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.001)
    assert check(read).violations == []


def test_the_command_reports_what_exceeds_a_limit(tmp_path, capsys):
    path = tmp_path / "film.srt"
    path.write_text(
        "1\n00:00:01,000 --> 00:00:01,500\nshort\n\n2\n00:01:01,000 --> 00:01:03,000\nfine\n"
    )
    assert main(["score", "--subtitles", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("50.00%  1 of 2 cues exceed a limit\n    1  too short")
    assert "cue 1: too short, 0.50 s" in out
    assert main(["score", "--subtitles", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"too short": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no cues"),
        ("a cat\n", "holds no cues"),
        ("1:2:3:4 --> 00:01\n", "no times of a cue"),
    ],
)
def test_other_files_are_refused(text, message, tmp_path, capsys):
    path = tmp_path / "film.srt"
    path.write_text(text)
    assert main(["score", "--subtitles", str(path)]) == 1
    assert message in capsys.readouterr().err


def test_the_command_needs_something_to_score(capsys):
    assert main(["score"]) != 0
    assert "nothing to score" in capsys.readouterr().err
