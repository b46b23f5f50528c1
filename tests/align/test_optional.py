"""Alignment with skipped words and unmatched sound, against all paths of small cases."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest

from asr_hlg.align.optional import EXACT, Costs, align

COSTS = Costs(skip=2.0, skip_next=0.7, unmatched=0.5, unmatched_frame=1.5)


def best_score(log_probs, words, pauses, costs) -> float:  # noqa: C901 - a case for each state
    """The score by its definition: every path, frame by frame."""
    frames = log_probs - log_probs.max(axis=1, keepdims=True)
    num_frames, n = len(frames), len(words)
    pause = frames[:, pauses].max(axis=1)
    sounding = np.maximum(0, 1 - np.exp(log_probs[:, pauses]).sum(axis=1))
    unmatched = np.minimum(-costs.unmatched_frame * sounding, -1e-4)
    if costs.unmatched_frame == np.inf:
        unmatched[:] = -np.inf

    def at_node(t, node):
        """Frame t is the first one after the word before a node."""
        options = [pause[t] + rest(t + 1, ("pause", node))] if t < num_frames else []
        if t < num_frames:
            options.append(-costs.unmatched + unmatched[t] + rest(t + 1, ("free", node)))
        return options

    def after_skips(t, node, first=True):
        """Words from a node on are skipped, after which frame t is at a later node."""
        if node == n:
            return []
        cost = costs.skip if first else costs.skip_next
        options = at_node(t, node + 1) if t < num_frames else [0.0 if node + 1 == n else -np.inf]
        return [option - cost for option in [*options, *after_skips(t, node + 1, False)]]

    def entering(t, node, last):
        """Frame t is the first one of the word after a node, whose label is not the last one."""
        if node == n or t == num_frames:
            return []
        return [
            frames[t, phones[0]] + rest(t + 1, ("phone", node, k, 0))
            for k, phones in enumerate(words[node])
            if phones[0] != last
        ]

    @cache
    def rest(t, place) -> float:
        kind, node = place[:2]
        options = []
        if kind in ("pause", "free"):
            if t == num_frames:
                options.append(0.0 if node == n else -np.inf)
            options += entering(t, node, None) + after_skips(t, node)
            if t < num_frames:
                options.append(pause[t] + rest(t + 1, ("pause", node)))
                enter = costs.unmatched if kind == "pause" else 0.0
                options.append(-enter + unmatched[t] + rest(t + 1, ("free", node)))
            return max(options)
        _, word, k, s = place
        phones = words[word][k]
        if kind == "phone" and s == len(phones) - 1:
            if t == num_frames:
                options.append(0.0 if word + 1 == n else -np.inf)
            options += at_node(t, word + 1) + entering(t, word + 1, phones[s])
            options += after_skips(t, word + 1)
        if t < num_frames:
            if kind == "phone":
                options.append(frames[t, phones[s]] + rest(t + 1, place))
            if s + 1 < len(phones):
                options.append(frames[t, 0] + rest(t + 1, ("blank", word, k, s)))
                if kind == "blank" or phones[s + 1] != phones[s]:
                    phone = frames[t, phones[s + 1]]
                    options.append(phone + rest(t + 1, ("phone", word, k, s + 1)))
        return max(options, default=-np.inf)

    return rest(0, ("pause", 0))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("costs", [COSTS, EXACT], ids=["optional", "exact"])
def test_the_path_is_the_best_of_all(seed, costs):
    rng = np.random.default_rng(seed)
    num_frames, num_words = rng.integers(1, 8), rng.integers(0, 4)
    logits = 3 * rng.normal(size=(num_frames, 5))
    log_probs = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    words = [
        [rng.integers(2, 5, size=rng.integers(1, 4)).tolist() for _ in range(rng.integers(1, 3))]
        for _ in range(num_words)
    ]
    path = align(log_probs, words, [0, 1], costs)
    assert path.score == pytest.approx(best_score(log_probs, words, [0, 1], costs), abs=1e-4)
    if path.score == -np.inf:
        return
    if costs is EXACT:
        assert path.score == pytest.approx(-path.gap.sum(), abs=1e-4)
    at = 0
    for choice, spans, pronunciations in zip(path.choice, path.spans, words, strict=True):
        assert len(spans) == (len(pronunciations[choice]) if choice >= 0 else 0)
        for begin, end in spans:
            assert at <= begin < end <= num_frames
            at = end


def posteriors(labels: str, alphabet: str = "._abcdef") -> np.ndarray:
    """A nearly certain label a frame; ``.`` is blank and ``_`` silence."""
    frames = np.full((len(labels), len(alphabet)), 0.001)
    frames[np.arange(len(labels)), [alphabet.index(label) for label in labels]] = 1
    return np.log(frames / frames.sum(1, keepdims=True)).astype(np.float32)


def words_of(text: str, alphabet: str = "._abcdef") -> list[list[list[int]]]:
    return [[[alphabet.index(label) for label in word]] for word in text.split()]


def test_a_word_that_is_not_spoken_is_skipped_and_the_others_stay():
    for inserted, removed in product([None, "defedf"], ["bcacbc", None]):
        text = f"abc {inserted or ''} bca cab"
        sound = f"..abc..{removed or ''}_b.ca..cab"
        path = align(posteriors(sound), words_of(text), [0, 1], Costs())
        spoken = [word for word in text.split() if word != inserted]
        begins = [spans[0][0] for spans in path.spans if len(spans)]
        assert begins == [2, sound.index("b.ca"), len(sound) - 3]
        assert len(begins) == len(spoken)
        assert path.unmatched == ([(7, 13)] if removed else [])


def test_a_misread_word_leaves_its_neighbours_in_place():
    path = align(posteriors("..abc..dedede..cab.."), words_of("abc bacafc cab"), [0, 1], Costs())
    assert path.choice.tolist() == [0, -1, 0]
    assert path.unmatched == [(7, 13)]
    exact = align(posteriors("..abc..dedede..cab.."), words_of("abc bacafc cab"), [0, 1], EXACT)
    assert exact.choice.tolist() == [0, 0, 0]
    assert exact.unmatched == []
