"""Scores: counted by hand, and against the textbook recursion for random texts."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import AsrHlgError
from asr_hlg.output import text
from asr_hlg.output.scoring import Errors, score

texts = st.lists(st.sampled_from(["a", "b", "c"]), max_size=7)


def fewest_edits(reference, hypothesis) -> int:
    """Levenshtein's recursion, as in the definition."""

    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1]),
        )

    return distance(len(reference), len(hypothesis))


@given(texts, texts)
def test_total_is_the_edit_distance_and_the_alignment_spells_both_texts(reference, hypothesis):
    (utterance,) = score({"x": " ".join(reference)}, {"x": " ".join(hypothesis)}).utterances
    assert utterance.words.total == fewest_edits(reference, hypothesis)
    assert utterance.words.length == len(reference)
    assert [ref for ref, _ in utterance.alignment if ref] == reference
    assert [hyp for _, hyp in utterance.alignment if hyp] == hypothesis
    edits = sum(ref != hyp for ref, hyp in utterance.alignment)
    assert edits == utterance.words.total
    characters = " ".join(reference), " ".join(hypothesis)
    assert utterance.characters.total == fewest_edits(*characters)


def test_counts_by_hand():
    result = score(
        {"a": "the cat sat", "b": "on the mat", "c": "yes"},
        {"a": "the hat sat down", "b": "on mat", "c": "yes"},
    )
    assert result.words == Errors(insertions=1, deletions=1, substitutions=1, length=7)
    assert result.words.rate == 3 / 7
    # c → h, " down", and "the " or " the"
    assert result.characters == Errors(insertions=5, deletions=4, substitutions=1, length=24)
    assert result.sentence_errors == 2
    assert result.confusions() == [("", "down", 1), ("cat", "hat", 1), ("the", "", 1)]


def test_confusions_come_most_frequent_first():
    references = {"a": "to the", "b": "a to", "c": "two"}
    result = score(references, {"a": "two the", "b": "a two", "c": "to"})
    assert result.confusions() == [("to", "two", 2), ("two", "to", 1)]
    listed = result.report(confusions=1)
    assert "    2  to → two" in listed
    assert "two → to" not in listed


def test_oracle_takes_the_best_of_each_list_and_of_the_hypothesis():
    result = score(
        {"a": "the cat", "b": "the hat"},
        {"a": "a bat", "b": "the hat"},
        alternatives={"a": ["a cat", "bat"], "b": ["hat"]},
    )
    assert result.words.total == 2
    assert result.oracle == Errors(0, 0, 1, 4)
    assert score({"a": "cat"}, {"a": "hat"}).oracle is None


def test_a_missing_hypothesis_counts_as_deleted_and_is_named():
    result = score({"a": "the cat", "b": "hat"}, {"b": "hat"})
    assert result.missing == ["a"]
    assert result.words == Errors(0, 2, 0, 3)
    assert "no hypothesis for 1: a" in result.report()


def test_unknown_ids_are_errors_with_a_remedy():
    with pytest.raises(AsrHlgError, match=r"hypothesis 'c' \(and 1 more\) has no reference .*add"):
        score({"a": "cat"}, {"a": "cat", "c": "hat", "d": ""})
    with pytest.raises(AsrHlgError, match="n-best list 'c' has no reference"):
        score({"a": "cat"}, {"a": "cat"}, alternatives={"c": ["hat"]})
    with pytest.raises(AsrHlgError, match="no references"):
        score({}, {})


def test_normalisation_is_off_unless_asked_for():
    reference, hypothesis = {"a": "Caxton’s wood-blocks."}, {"a": "caxton's wood blocks"}
    assert score(reference, hypothesis).words.total == 3
    folded = score(reference, hypothesis, normalise=text.normalise)
    assert folded.words == Errors(0, 0, 0, 3)


def test_rate_of_an_empty_reference():
    assert score({"a": ""}, {"a": ""}).words.rate == 0.0
    noise = score({"a": "", "b": ""}, {"a": "um", "b": ""})
    assert noise.words.rate == float("inf")
    assert noise.interval is None
    record = json.dumps(noise.to_dict(), allow_nan=False)
    assert json.loads(record)["words"]["rate"] is None
    assert "inf" in noise.report()


def test_interval_is_the_normal_one_for_many_independent_errors():
    # 400 utterances of one word, a quarter wrong: the standard error is √(p(1-p)/400) = 2.165 %.
    references = {str(n): "cat" for n in range(400)}
    hypotheses = {str(n): "hat" if n % 4 == 0 else "cat" for n in range(400)}
    low, high = score(references, hypotheses).interval
    assert (low + high) / 2 == pytest.approx(0.25, abs=0.002)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.02165, rel=0.05)


def test_interval_is_never_negative_and_absent_for_one_utterance():
    references = {str(n): "a b c d e" for n in range(20)}
    assert score(references, references | {"3": ""}).interval[0] == 0.0
    assert score({"a": "cat"}, {"a": "hat"}).interval is None


def test_pretty_shows_what_happened_to_each_word():
    (utterance,) = score({"x": "the cat sat 猫"}, {"x": "a cat 猫 ok"}).utterances
    lines = utterance.pretty().splitlines()
    assert lines == [
        "id  x",
        "ref the cat sat 猫 **",
        "hyp a   cat *** 猫 ok",
        "err S       D      I",
    ]


def test_report_has_all_rates():
    result = score(
        {"a": "the cat", "b": "hat"}, {"a": "the bat", "b": "hat"}, alternatives={"a": ["the cat"]}
    )
    lines = result.report().splitlines()
    assert lines[0].startswith(
        "WER       33.33%  1 of 3: 0 insertions, 0 deletions, 1 substitutions"
    )
    assert "95 % interval" in lines[0]
    assert lines[1].startswith("CER       10.00%  1 of 10")
    assert lines[2].startswith("oracle     0.00%  0 of 3")
    assert lines[3] == "SER       50.00%  1 of 2 sentences"


def test_json_form_holds_every_utterance():
    result = score({"a": "cat"}, {"a": "hat"})
    record = json.loads(json.dumps(result.to_dict()))
    assert record["words"] == {
        "rate": 1.0,
        "insertions": 0,
        "deletions": 0,
        "substitutions": 1,
        "length": 1,
    }
    assert record["confusions"] == [["cat", "hat", 1]]
    assert record["utterances"][0]["alignment"] == [["cat", "hat"]]
