"""Frames of words in imported graphs, from what is known of their tokens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from asr_hlg.lattice.spans import word_spans

POSITIONS = {"k_B": "begin", "t_E": "end", "a_I": "internal", "o_S": "singleton", "SIL": "nonword"}


def graph(positions=None, spellings=None):
    return SimpleNamespace(
        has_lexicon=spellings is not None,
        spellings=lambda word: spellings.get(word, []),
        fillers=frozenset(["SIL"]),
        word_positions=positions,
    )


PHONES = [("SIL", 0, 3), ("k_B", 3, 5), ("a_I", 5, 7), ("t_E", 7, 8), ("SIL", 8, 9), ("o_S", 9, 12)]


def test_positions_of_phones_divide_words():
    # The graph writes words anywhere: what counts is their order.
    assert word_spans(["cat", "oh"], PHONES, [0, 8], graph(POSITIONS)) == ((3, 8), (9, 12))


def test_a_word_of_silence_is_the_one_nearest_to_where_it_is_written():
    words = ["cat", "[noise]", "oh"]
    assert word_spans(words, PHONES, [3, 8, 9], graph(POSITIONS)) == ((3, 8), (8, 9), (9, 12))
    words = ["[noise]", "cat", "oh"]
    assert word_spans(words, PHONES, [0, 3, 9], graph(POSITIONS)) == ((0, 3), (3, 8), (9, 12))


def test_a_word_that_is_cut_off_ends_with_its_last_phone():
    assert word_spans(["ca"], PHONES[:3], [4], graph(POSITIONS)) == ((3, 7),)


def test_marks_of_subwords_divide_words():
    tokens = [("▁a", 1, 2), ("b", 3, 4), ("▁c", 6, 8)]
    assert word_spans(["ab", "c"], tokens, [3, 6], graph()) == ((1, 4), (6, 8))


def test_without_either_a_word_begins_where_it_is_written():
    tokens = [("a", 1, 2), ("b", 3, 4), ("c", 6, 8)]
    assert word_spans(["ab", "c"], tokens, [1, 6], graph()) == ((1, 4), (6, 8))
    assert word_spans([], [], [], graph()) == ()


@pytest.mark.parametrize("word", ["ab", "unknown"])
def test_a_lexicon_is_exact_and_one_that_does_not_fit_is_passed_over(word):
    tokens = [("a", 1, 2), ("b", 3, 4), ("SIL", 4, 5), ("c", 6, 8)]
    known = graph(None, {"ab": [("a", "b")], "c": [("c",)]})
    assert word_spans([word, "c"], tokens, [1, 6], known)[-1] == (6, 8)
    if word == "ab":
        assert word_spans([word, "c"], tokens, [3, 3], known) == ((1, 4), (6, 8))
