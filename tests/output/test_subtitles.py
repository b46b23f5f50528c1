"""Cues: the limits hold for any words, and breaks fall where a reader expects them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.output.subtitles import LINE_LENGTH, MAX_SECONDS, MIN_SECONDS, cues
from asr_hlg.output.transcript import Word


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


random_words = st.lists(
    st.tuples(
        st.integers(1, 50),  # letters
        st.sampled_from([0.0, 0.0, 0.02, 0.3, 0.9, 8.0]),  # pause before
        st.sampled_from([0.02, 0.2, 0.5, 9.0]),  # duration
    ),
    max_size=60,
)


@given(random_words)
def test_limits_hold_and_nothing_is_lost(parts):
    words, now = [], 0.0
    for letters, pause, duration in parts:
        start, now = now + pause, now + pause + duration
        words.append(Word("x" * letters, start, now, 1.0))
    result = list(cues(words, now))
    assert [word for cue in result for line in cue.lines for word in line] == words
    for before, after in pairwise(result):
        assert before.end <= after.start
    for cue in result:
        count = sum(map(len, cue.lines))
        assert cue.start < cue.end <= now
        assert len(cue.lines) <= 2
        if count > 1:
            assert cue.end - cue.start <= MAX_SECONDS + 1e-9
            for line in cue.lines:
                assert len(" ".join(word.text for word in line)) <= LINE_LENGTH


def test_a_short_sentence_is_one_line():
    assert texts(spoken("the cat and the hat")) == [["the cat and the hat"]]


def test_a_long_line_breaks_in_its_middle():
    text = "printing in the only sense with which we are at present"
    assert texts(spoken(text, 0.1)) == [
        ["printing in the only sense", "with which we are at present"]
    ]


def test_a_pause_ends_a_cue():
    assert texts(spoken("one two three", pauses={"three": 0.8})) == [["one two"], ["three"]]


def test_a_full_cue_breaks_at_the_longest_gap_of_its_second_half():
    text = "a b c d e f g h i j k l m n o p q r s t"
    first = texts(spoken(text, 0.5, pauses={"c": 0.6, "k": 0.4, "m": 0.2}))[0]
    assert first == ["a b c d e f g h i j"]


def test_a_short_cue_stays_a_second_where_there_is_room():
    one, two = cues(spoken("one two", 0.2, pauses={"two": 0.75}), duration=9.0)
    assert (one.start, one.end) == (0.0, two.start)  # the next begins first
    assert two.end == two.start + MIN_SECONDS


def test_a_short_cue_ends_with_its_recording():
    (cue,) = cues(spoken("one", 0.2), duration=0.5)
    assert cue.end == 0.5


def test_no_words_no_cues():
    assert list(cues([])) == []
