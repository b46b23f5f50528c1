"""Phrases that are worth more than G thinks, without compiling a graph again.

    graph = boost(graph, {("new", "york"): 2.0, ("yorkshire",): 3.0})

A word's score is on the arc that writes it, so a phrase of one word is an addition. Longer ones
need a memory of the words before, as a composition with a trie of the phrases would give it. Of
this composition only the part inside of phrases is built: copies of the states between their
words. Ways that leave a phrase unfinished are not in there, since the graph itself has them, and
so nothing has to be given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.flat import FlatGraph, among

_OUTSIDE = 0  # the root of the trie: not within a phrase


def boost(graph: DecodingGraph, phrases: Mapping[tuple[str, ...], float]) -> DecodingGraph:
    """A graph in which sentences score more for every one of some phrases that they contain.

    Parameters
    ----------
    graph : DecodingGraph
        On the CPU. It is not changed.
    phrases : mapping
        From the words of a phrase to what each of them adds to the score, a natural log that is
        not negative.

    Returns
    -------
    DecodingGraph
        The best path of a sentence scores as before plus the boosts of its phrases. Where phrases
        overlap, every word counts for one of them, and the best choice counts. Sums over paths
        (forward scores) also contain the ways that do not take a boost.
    """
    for phrase, value in phrases.items():
        if not (phrase and 0 <= value < np.inf):
            raise OptionError(f"a phrase has words and a boost of at least 0: {phrase}, {value}")
        for word in phrase:
            if word not in graph.words or word == symbols.EPS or symbols.is_disambig(word):
                raise GraphError(f"does not know the word {word!r} of {' '.join(phrase)!r}")
    trie = _Trie.of(
        {tuple(graph.words[w] for w in phrase): b for phrase, b in phrases.items() if b}
    )
    if not trie.child:
        return graph
    pairs = _TokenPairs(graph, trie)

    def boosted(flat: FlatGraph) -> FlatGraph:
        return _Composition(flat, trie, pairs).boosted()

    return graph.replace(
        fsa=lambda: boosted(FlatGraph.of(graph.fsa)).to_fsa(),
        packed=None if graph.packed is None else graph.packed.changed(boosted),
    )


@dataclass(frozen=True)
class _Trie:
    """Phrases by their beginnings; node 0 is the empty one.

    ``earned[n]`` is what has been added to the score in node n already: the words so far, at the
    lowest boost of the phrases that go on from there. ``total[n]`` is what a phrase that ends in
    n is worth.
    """

    child: dict[tuple[int, int], int]
    earned: dict[int, float]
    total: dict[int, float]

    @staticmethod
    def of(phrases: Mapping[tuple[int, ...], float]) -> _Trie:
        child: dict[tuple[int, int], int] = {}
        earned: dict[int, float] = {_OUTSIDE: 0.0}
        total: dict[int, float] = {}
        for phrase, value in phrases.items():
            node = _OUTSIDE
            for depth, word in enumerate(phrase, start=1):
                node = child.setdefault((node, word), len(child) + 1)
                if depth < len(phrase):
                    earned[node] = min(earned.get(node, np.inf), depth * value)
            total[node] = len(phrase) * value
        return _Trie(child, earned, total)

    def moves(self, node: int, words: tuple[int, ...]) -> dict[int, float]:
        """Where some words lead from a node, and what they add to the score.

        Outside of phrases, words may stay there.
        """
        reached = {node: 0.0}
        for word in words:
            before, reached = reached, {}
            for at, gain in before.items():
                ways = {_OUTSIDE: 0.0} if at == _OUTSIDE else {}
                below = self.child.get((at, word))
                if below in self.earned:
                    ways[below] = self.earned[below] - self.earned[at]
                if below in self.total:
                    ways[_OUTSIDE] = self.total[below] - self.earned[at]
                for to, more in ways.items():
                    reached[to] = max(reached.get(to, -np.inf), gain + more)
        return reached


@dataclass(frozen=True)
class _Steps:
    """Arcs of the composition: one a row.

    ``arc`` is the graph's, ``gain`` what it scores more. ``source`` and ``target`` are places
    within phrases, -1 for the outside: a state of the graph, a node of the trie and the token
    that began last, in one number.
    """

    source: np.ndarray
    arc: np.ndarray
    target: np.ndarray
    gain: np.ndarray

    def take(self, rows: np.ndarray) -> _Steps:
        return _Steps(self.source[rows], self.arc[rows], self.target[rows], self.gain[rows])

    def divided_by(self, count: int) -> _Steps:
        """With places divided by a number (-1 stays), and equal steps once."""
        source, target = self.source // count, self.target // count
        order = np.lexsort([target, self.arc, source])
        columns = (column[order] for column in (source, self.arc, target, self.gain))
        steps = _Steps(*columns)
        differs = np.ones(len(order), dtype=bool)
        differs[1:] = (
            (np.diff(steps.source) != 0) | (np.diff(steps.arc) != 0) | (np.diff(steps.target) != 0)
        )
        return steps.take(np.flatnonzero(differs))

    @staticmethod
    def together(parts: Sequence[_Steps]) -> _Steps:
        columns = zip(*((p.source, p.arc, p.target, p.gain) for p in parts), strict=True)
        return _Steps(*(np.concatenate(column) for column in columns))


class _Composition:
    """The part of graph ∘ trie that is within phrases."""

    def __init__(self, graph: FlatGraph, trie: _Trie, bigrams: _TokenPairs):
        self.graph = graph
        self.trie = trie
        self.bigrams = bigrams
        self.num_nodes = len(trie.child) + 1
        self.counts = np.diff(graph.word_splits)
        nodes, words = (np.array(column) for column in zip(*trie.child, strict=True))
        self.num_words = 1 + max(int(words.max()), int(graph.words.max(initial=0)))
        self.known = np.sort(nodes * self.num_words + words)
        self.first_words = words[nodes == _OUTSIDE]

    def boosted(self) -> FlatGraph:
        """The graph, with more for single words, and copies of it for the inside of phrases."""
        steps = self._steps()
        at_once = (steps.source == -1) & (steps.target == -1)
        packed = self.graph.packed.copy()
        packed.view(np.float32)[steps.arc[at_once], 3] += steps.gain[at_once].astype(np.float32)
        longer = _finished(steps.take(np.flatnonzero(~at_once)))
        graph = replace(self.graph, packed=packed)
        return graph.extended(self._inside(longer)) if len(longer.arc) else graph

    def _steps(self) -> _Steps:
        """All steps that begin a phrase, and those that may come after them."""
        is_first = np.zeros(self.num_words, dtype=bool)
        is_first[self.first_words] = True
        places = np.flatnonzero(is_first[self.graph.words])
        arcs = np.unique(np.searchsorted(self.graph.word_splits, places, side="right") - 1)
        outside = np.full(len(arcs), -1)
        steps = self._speak(outside, np.full(len(arcs), _OUTSIDE), np.zeros_like(arcs), arcs)
        parts, seen = [steps], np.array([-1])
        while len(frontier := np.setdiff1d(steps.target, seen)):
            seen = np.union1d(seen, frontier)
            rest, tokens = np.divmod(frontier, self.bigrams.num_tokens)
            states, nodes = np.divmod(rest, self.num_nodes)
            arcs, owner = self.graph.leaving(states)
            source, node, token = frontier[owner], nodes[owner], tokens[owner]
            speaks = self.counts[arcs] > 0
            quiet = ~speaks & self._may_follow(node, token, arcs)
            steps = _Steps.together(
                [
                    self._keep_quiet(source[quiet], node[quiet], token[quiet], arcs[quiet]),
                    self._speak(source[speaks], node[speaks], token[speaks], arcs[speaks]),
                ]
            )
            parts.append(steps)
        return _Steps.together(parts)

    def _place(self, arcs: np.ndarray, node: np.ndarray | int, token: np.ndarray) -> np.ndarray:
        """Where arcs lead to, in a node of the trie; ``token`` began last before them."""
        states, phone = self.graph.packed[arcs, 1].astype(np.int64), self.graph.phones[arcs]
        token = np.where(phone == 0, token, phone)
        return (states * self.num_nodes + node) * self.bigrams.num_tokens + token

    def _may_follow(self, node: np.ndarray, token: np.ndarray, arcs: np.ndarray) -> np.ndarray:
        """Which arcs without words stay within phrases: no sentence ends there."""
        phone = self.graph.phones[arcs]
        goes_on = (phone == 0) | self.bigrams.contain(node, token, phone)
        return goes_on & (self.graph.packed[arcs, 2] != -1)

    def _keep_quiet(
        self, source: np.ndarray, node: np.ndarray, token: np.ndarray, arcs: np.ndarray
    ) -> _Steps:
        """Steps by arcs without words, which stay in their node."""
        return _Steps(source, arcs, self._place(arcs, node, token), np.zeros(len(arcs)))

    def _speak(
        self, source: np.ndarray, node: np.ndarray, token: np.ndarray, arcs: np.ndarray
    ) -> _Steps:
        """Steps by arcs with words lead to other nodes, or to the outside."""
        graph = self.graph
        pair = node * self.num_words + graph.words[graph.word_splits[arcs]]
        rows = np.flatnonzero((node == _OUTSIDE) | among(pair, self.known))
        parts = [_Steps(*(np.zeros(0, dtype=np.int64) for _ in range(4)))]
        for group in _groups(pair[rows], self.counts[arcs[rows]]):
            group = rows[group]
            first, by = arcs[group[0]], arcs[group]
            words = graph.words[graph.word_splits[first] : graph.word_splits[first + 1]]
            for to, gain in self.trie.moves(int(node[group[0]]), tuple(words.tolist())).items():
                outside = np.full(len(by), -1)
                target = outside if to == _OUTSIDE else self._place(by, to, token[group])
                parts.append(_Steps(source[group], by, target, np.full(len(by), gain)))
        return _Steps.together(parts)

    def _inside(self, steps: _Steps) -> FlatGraph:
        """What the graph has to be extended with, for steps that all lead on."""
        # Which token began last has guided the search; it makes no other state.
        steps = steps.divided_by(self.bigrams.num_tokens)
        pairs = np.unique(np.concatenate([steps.source, steps.target, [-1]]))[1:]
        first = self.graph.num_states
        packed = self.graph.packed[steps.arc]
        for column, pair in ((0, steps.source), (1, steps.target)):
            number = first + np.searchsorted(pairs, pair)
            packed[:, column] = np.where(pair == -1, packed[:, column], number)
        packed.view(np.float32)[:, 3] += steps.gain.astype(np.float32)
        arcs = replace(self.graph.take(steps.arc), packed=packed)
        return FlatGraph.together([arcs], first + len(pairs))


def _finished(steps: _Steps) -> _Steps:
    """Only the steps from which the end of a phrase can be reached."""
    pairs = np.unique(np.concatenate([steps.source, steps.target, [-1]]))
    source, target = (np.searchsorted(pairs, pair) for pair in (steps.source, steps.target))
    leads_on = np.zeros(len(pairs), dtype=bool)
    leads_on[0] = True  # the outside
    while True:
        good = leads_on[target]
        if leads_on[source[good]].all():
            return steps.take(np.flatnonzero(good))
        leads_on[source[good]] = True


def _groups(keys: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of equal keys where the count is 1, and each of the others by itself."""
    single, others = np.flatnonzero(counts == 1), np.flatnonzero(counts > 1)
    order = single[np.argsort(keys[single], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
    yield from (group for group in groups if len(group))
    yield from others[:, None]


class _TokenPairs:
    """Which token may begin after which, on arcs without words in a node of the trie.

    A word is written on the arc of one of its tokens, or soon after. So up to the next word there
    is what was left of the last one, silence, and a part of the next. Token 0 stands for the end
    of the last word, where an arc without a token has written it.
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
        reached_by = {node: word for (_, word), node in trie.child.items()}
        pairs = set()
        for (node, word), below in trie.child.items():
            before = [s[-1] for s in spellings[reached_by[node]]] if node != _OUTSIDE else []
            for spelling in spellings[word]:
                for pair in pairwise(spelling):
                    pairs |= {(node, *pair), (below, *pair)}
                pairs |= {(below, last, pause) for last in (0, spelling[-1]) for pause in silence}
                pairs |= {(node, last, spelling[0]) for last in (0, *before, *silence)}
        self._keys = np.array(sorted(self._key(*pair) for pair in pairs), dtype=np.int64)

    def _key(self, node, before, after):
        return (node * self.num_tokens + before) * self.num_tokens + after

    def contain(self, node: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return among(self._key(node, before, after), self._keys)
