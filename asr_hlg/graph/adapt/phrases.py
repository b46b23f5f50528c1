"""Phrases whose words score more, boosted in a compiled graph without compiling it again.

    graph = boost(graph, {("new", "york"): 2.0, ("yorkshire",): 3.0})

A word's score is on the arc that writes it, so a phrase of one word is an addition to its arcs.
Longer phrases depend on the words before, as in the composition of L∘G with a trie of the phrases.
Only the part of this composition inside phrases is built: copies of the states between their words.
Paths that leave a phrase unfinished are left out, since L∘G has them without a boost, so no boost
has to be subtracted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Bools, Ints, isin_sorted
from asr_hlg.graph.decoding_graph import DecodingGraph

_ROOT = 0  # root of the trie: outside of phrases


def boost(graph: DecodingGraph, phrases: Mapping[tuple[str, ...], float]) -> DecodingGraph:
    """Copy of a graph in which sentences score more for every given phrase that they contain.

    Parameters
    ----------
    graph : DecodingGraph
        It is not changed.
    phrases : mapping
        From the words of a phrase to the boost that each adds to the score, a natural log of at
        least 0.

    Returns
    -------
    DecodingGraph
        The best path of a sentence scores as before plus the boosts of its phrases. Where phrases
        overlap, every word counts for one of them, and the best choice counts. Sums over paths
        (forward scores) also contain the paths that do not take a boost.
    """
    for phrase, value in phrases.items():
        if not (phrase and 0 <= value < np.inf):
            raise OptionError(f"a phrase has words and a boost of at least 0: {phrase}, {value}")
        for word in phrase:
            if word not in graph.words or word == symbols.EPS or symbols.is_disambig(word):
                raise GraphError(f"does not have the word {word!r} of {' '.join(phrase)!r}")
    trie = _Trie.of(
        {tuple(graph.words[w] for w in phrase): b for phrase, b in phrases.items() if b}
    )
    if not trie.child:
        return graph
    return graph.with_lg(_Composition(graph.lg, trie, _TokenPairs(graph, trie)).boosted())


@dataclass(frozen=True)
class _Trie:
    """Trie of the phrases; node 0 is the root.

    ``boost_so_far[n]`` is the boost of the words up to node n, at the lowest boost per word of the
    phrases that continue from n. ``total[n]`` is the boost of a phrase that ends in n.
    """

    child: dict[tuple[int, int], int]
    boost_so_far: dict[int, float]
    total: dict[int, float]

    @staticmethod
    def of(phrases: Mapping[tuple[int, ...], float]) -> _Trie:
        """Build the trie of some phrases with their boosts per word."""
        child: dict[tuple[int, int], int] = {}
        boost_so_far: dict[int, float] = {_ROOT: 0.0}
        total: dict[int, float] = {}
        for phrase, value in phrases.items():
            node = _ROOT
            for depth, word in enumerate(phrase, start=1):
                node = child.setdefault((node, word), len(child) + 1)
                if depth < len(phrase):
                    boost_so_far[node] = min(boost_so_far.get(node, np.inf), depth * value)
            total[node] = len(phrase) * value
        return _Trie(child, boost_so_far, total)

    def successors(self, node: int, word: int) -> dict[int, float]:
        """Nodes that follow a node on a word, and the boost that each adds to the score.

        A word outside of phrases may also stay outside.
        """
        gains = {_ROOT: 0.0} if node == _ROOT else {}
        child = self.child.get((node, word))
        if child in self.boost_so_far:
            gains[child] = self.boost_so_far[child] - self.boost_so_far[node]
        if child in self.total:
            gains[_ROOT] = max(
                self.total[child] - self.boost_so_far[node], gains.get(_ROOT, -np.inf)
            )
        return gains


@dataclass(frozen=True)
class _Steps:
    """Arcs of the composition, one a row.

    ``arc`` is an arc of L∘G, ``gain`` its boost. ``source`` and ``target`` are states of the
    composition, -1 outside of phrases: a state of L∘G, a node of the trie and the last token,
    encoded as one number.
    """

    source: Ints
    arc: Ints
    target: Ints
    gain: npt.NDArray[np.float64]

    def take(self, rows: Ints) -> _Steps:
        """Select rows."""
        return _Steps(self.source[rows], self.arc[rows], self.target[rows], self.gain[rows])

    def divided_by(self, count: int) -> _Steps:
        """Divide the states by a number (-1 stays), and keep one of equal steps."""
        source, target = self.source // count, self.target // count
        order = np.lexsort([target, self.arc, source])
        steps = _Steps(source[order], self.arc[order], target[order], self.gain[order])
        differs = np.ones(len(order), dtype=bool)
        differs[1:] = (
            (np.diff(steps.source) != 0) | (np.diff(steps.arc) != 0) | (np.diff(steps.target) != 0)
        )
        return steps.take(np.flatnonzero(differs))

    @staticmethod
    def concatenated(parts: Sequence[_Steps]) -> _Steps:
        """Concatenate the rows of several tables."""
        return _Steps(
            np.concatenate([part.source for part in parts]),
            np.concatenate([part.arc for part in parts]),
            np.concatenate([part.target for part in parts]),
            np.concatenate([part.gain for part in parts]),
        )


class _Composition:
    """The part of L∘G ∘ trie that is within phrases."""

    def __init__(self, lg: Arcs, trie: _Trie, token_pairs: _TokenPairs):
        self.lg = lg
        self.trie = trie
        self.token_pairs = token_pairs
        self.num_nodes = len(trie.child) + 1
        nodes, words = (np.array(column) for column in zip(*trie.child, strict=True))
        self.num_words = 1 + max(int(words.max()), int(lg.olabel.max(initial=0)))
        self.trie_arcs = np.sort(nodes * self.num_words + words)
        self.first_words = np.sort(words[nodes == _ROOT])

    def boosted(self) -> Arcs:
        """L∘G with boosted arcs for single words, and with copies of states for longer phrases."""
        steps = self._all_steps()
        single_word = (steps.source == -1) & (steps.target == -1)
        score = self.lg.score.copy()
        score[steps.arc[single_word]] += steps.gain[single_word].astype(np.float32)
        lg = replace(self.lg, score=score)
        longer = _coaccessible(steps.take(np.flatnonzero(~single_word)))
        return lg.extended(self._inside(longer)) if len(longer.arc) else lg

    def _all_steps(self) -> _Steps:
        """Steps that begin a phrase, and all those that may come after them."""
        arcs = np.flatnonzero(isin_sorted(self.lg.olabel, self.first_words))
        outside = np.full(len(arcs), -1)
        steps = self._steps_with_words(
            outside, np.full(len(arcs), _ROOT), np.zeros_like(arcs), arcs
        )
        parts, visited = [steps], np.array([-1])
        while len(frontier := np.setdiff1d(steps.target, visited)):
            visited = np.union1d(visited, frontier)
            states_and_nodes, tokens = np.divmod(frontier, self.token_pairs.num_tokens)
            states, nodes = np.divmod(states_and_nodes, self.num_nodes)
            arcs, owner = self.lg.leaving(states)
            source, node, token = frontier[owner], nodes[owner], tokens[owner]
            has_word = self.lg.olabel[arcs] > 0
            without = ~has_word & self._may_follow(node, token, arcs)
            steps = _Steps.concatenated(
                [
                    self._steps_without_words(
                        source[without], node[without], token[without], arcs[without]
                    ),
                    self._steps_with_words(
                        source[has_word], node[has_word], token[has_word], arcs[has_word]
                    ),
                ]
            )
            parts.append(steps)
        return _Steps.concatenated(parts)

    def _composed_state(self, arcs: Ints, node: Ints | int, token: Ints) -> npt.NDArray[np.int64]:
        """Composed states of the arcs' destinations and trie nodes; ``token`` is the one before."""
        states, next_token = self.lg.dst[arcs].astype(np.int64), self.lg.ilabel[arcs]
        token = np.where(next_token == 0, token, next_token)
        return (states * self.num_nodes + node) * self.token_pairs.num_tokens + token

    def _may_follow(self, node: Ints, token: Ints, arcs: Ints) -> Bools:
        """Whether the tokens of arcs without words can be part of a phrase."""
        next_token = self.lg.ilabel[arcs]
        may_follow: Bools = self.token_pairs.contain(node, token, next_token) | (next_token == 0)
        return may_follow

    def _steps_without_words(self, source: Ints, node: Ints, token: Ints, arcs: Ints) -> _Steps:
        """Steps on arcs without words, which keep the trie's node."""
        return _Steps(source, arcs, self._composed_state(arcs, node, token), np.zeros(len(arcs)))

    def _steps_with_words(self, source: Ints, node: Ints, token: Ints, arcs: Ints) -> _Steps:
        """Steps on arcs with words, which lead to other nodes or out of the phrase."""
        pair = node * self.num_words + self.lg.olabel[arcs]
        rows = np.flatnonzero((node == _ROOT) | isin_sorted(pair, self.trie_arcs))
        none = np.zeros(0, dtype=np.int64)
        parts = [_Steps(none, none, none, np.zeros(0))]
        for group in _groups(pair[rows]):
            group = rows[group]
            same_arcs = arcs[group]
            gains = self.trie.successors(int(node[group[0]]), int(self.lg.olabel[same_arcs[0]]))
            for successor, gain in gains.items():
                target = np.full(len(same_arcs), -1)
                if successor != _ROOT:
                    target = self._composed_state(same_arcs, successor, token[group])
                gain_column = np.full(len(same_arcs), gain)
                parts.append(_Steps(source[group], same_arcs, target, gain_column))
        return _Steps.concatenated(parts)

    def _inside(self, steps: _Steps) -> Arcs:
        """Arcs to add to L∘G for the steps of complete phrases."""
        # The last token was needed only to find the steps; states that differ in it are merged.
        steps = steps.divided_by(self.token_pairs.num_tokens)
        composed = np.unique(np.concatenate([steps.source, steps.target, [-1]]))[1:]
        first = self.lg.num_states

        def number(state: Ints, outside: Ints) -> Ints:
            return np.where(state == -1, outside, first + np.searchsorted(composed, state))

        arcs = self.lg.take(steps.arc)
        return replace(
            arcs,
            src=number(steps.source, arcs.src).astype(np.int32),
            dst=number(steps.target, arcs.dst).astype(np.int32),
            score=arcs.score + steps.gain.astype(np.float32),
            final=np.full(first + len(composed), -np.inf, dtype=np.float32),
        )


def _coaccessible(steps: _Steps) -> _Steps:
    """Steps from which the end of a phrase can be reached (coaccessible, in OpenFst's terms)."""
    composed = np.unique(np.concatenate([steps.source, steps.target, [-1]]))
    source, target = (np.searchsorted(composed, state) for state in (steps.source, steps.target))
    coaccessible = np.zeros(len(composed), dtype=bool)
    coaccessible[0] = True  # the state outside of phrases
    while True:
        useful = coaccessible[target]
        if coaccessible[source[useful]].all():
            return steps.take(np.flatnonzero(useful))
        coaccessible[source[useful]] = True


def _groups(keys: Ints) -> Iterator[npt.NDArray[np.int64]]:
    """Positions of equal keys, group by group."""
    order = np.argsort(keys, kind="stable")
    if len(order):
        yield from np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)


class _TokenPairs:
    """Pairs of consecutive tokens on arcs without words, for each node of the trie.

    A word is written on the arc of one of its tokens. So up to the next word there are the last
    word's other tokens, silence, and the beginning of the next word. Token 0 means the end of the
    last word, if an arc without a token has written it.
    """

    def __init__(self, graph: DecodingGraph, trie: _Trie):
        self.num_tokens = len(graph.tokens)
        silence = [] if graph.silence is None else [graph.tokens[graph.silence]]
        names = graph.word_names
        spellings = {
            word: [
                [graph.tokens[token] for token in spelling]
                for spelling in graph.spellings(names[word])
            ]
            for _, word in trie.child
        }
        word_before = {node: word for (_, word), node in trie.child.items()}
        pairs = set()
        for (node, word), child in trie.child.items():
            before = [s[-1] for s in spellings[word_before[node]]] if node != _ROOT else []
            for spelling in spellings[word]:
                for pair in pairwise(spelling):
                    pairs |= {(node, *pair), (child, *pair)}
                pairs |= {(child, last, pause) for last in (0, spelling[-1]) for pause in silence}
                pairs |= {(node, last, spelling[0]) for last in (0, *before, *silence)}
        self._keys = np.array(sorted(self._key(*pair) for pair in pairs), dtype=np.int64)

    def _key(self, node: Any, before: Any, after: Any) -> Any:
        """Number of a pair in a node, for integers or arrays of them."""
        return (node * self.num_tokens + before) * self.num_tokens + after

    def contain(self, node: Ints, before: Ints, after: Ints) -> Bools:
        """Whether pairs may occur."""
        return isin_sorted(self._key(node, before, after), self._keys)
