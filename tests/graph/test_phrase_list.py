"""The bigram model of a list of phrases, against counting."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from asr_hlg.errors import GrammarError
from asr_hlg.graph import phrase_list

PHRASES = [[1, 2, 3], [1, 2], [4], [1, 4], []]


def arcs_from(arcs, state):
    return [i for i in range(arcs.num_arcs) if arcs.src[i] == state]


def score(arcs, words):
    """Best score of a sentence, by way of every state."""

    def best(state, rest):
        found = [float(arcs.final[state])] if not rest else []
        for i in arcs_from(arcs, state):
            if arcs.ilabel[i] == 0 or (rest and arcs.ilabel[i] == rest[0]):
                after = rest[1:] if arcs.ilabel[i] else rest
                found.append(float(arcs.score[i]) + best(int(arcs.dst[i]), after))
        return max(found, default=-math.inf)

    return best(0, list(words))


def counted(words):
    """The same from the phrases: 0.5 × the share after a word, or 0.5 × 0.5 × the share of all."""
    everything = [word for phrase in PHRASES for word in (*phrase, 0)]
    pairs = [pair for phrase in PHRASES for pair in pairwise([*phrase, 0])]
    total = math.log(0.5 * everything.count(words[0]) / len(everything))
    for before, word in zip(words, [*words[1:], 0], strict=True):
        following = [b for a, b in pairs if a == before]
        direct = 0.5 * following.count(word) / len(following)
        back = 0.5 * 0.5 * everything.count(word) / len(everything)
        total += math.log(max(direct, back))
    return total


@pytest.mark.parametrize("words", [[1, 2, 3], [1, 2], [4], [2, 1, 4, 4], [3, 3], [1, 4]])
def test_scores_are_those_of_counts(words):
    assert score(phrase_list.bigrams(PHRASES), words) == pytest.approx(counted(words), abs=1e-5)


def test_arcs_are_sorted_by_source_and_label():
    arcs = phrase_list.bigrams(PHRASES)
    pairs = list(zip(arcs.src.tolist(), arcs.ilabel.tolist(), strict=True))
    assert pairs == sorted(pairs)


def test_unknown_words_are_left_out_of_their_phrases():
    ids, unknown = phrase_list.ids_of(["a b", "b x", "[unk]"], {"a": 1, "b": 2})
    assert ids == [[1, 2], [2], []]
    assert unknown == ("x", "[unk]")


@pytest.mark.parametrize("content", ['["a b", "c"]', '["a b",\n "c"]\n', "a b\n\nc\n"])
def test_files_hold_json_or_lines(tmp_path, content):
    (tmp_path / "list").write_text(content)
    assert phrase_list.read_phrases(tmp_path / "list") == ("a b", "c")


@pytest.mark.parametrize("content", ["", '["a", 1]', '["a",'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "list").write_text(content)
    with pytest.raises(GrammarError, match=r"JSON|list of phrases"):
        phrase_list.read_phrases(tmp_path / "list")
