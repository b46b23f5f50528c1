"""Words that a compiled graph lacks, added without compiling it again.

    graph = with_words(graph, {"xanthippe": [("Z", "AE", "N", "TH", "IH", "P")]})

A new word may stand wherever the language model has backed off to unigrams, and what follows it
is weighed by unigrams, as for any word that no n-gram knows. Its phones go through H like all
others; only they are composed, and put where the graph has its :class:`~asr_hlg.graph.slot.Slot`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import k2
import numpy as np
import torch

from asr_hlg.errors import GraphError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs, k2_fsa
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.adapt.back_off import Pause, Way, back_off_state, chains, new_ways
from asr_hlg.graph.flat import FlatGraph, expand
from asr_hlg.graph.slot import Slot
from asr_hlg.lexicon import Lexicon

_AGAIN = "compile the graph again"


def with_words(
    graph: DecodingGraph,
    pronunciations: Mapping[str, Sequence[tuple[str, ...]]],
    log_prob: float | None = None,
) -> DecodingGraph:
    """A graph that knows more words.

    Parameters
    ----------
    graph : DecodingGraph
        On the CPU. It is not changed.
    pronunciations : mapping
        The phones of every new word, one tuple a pronunciation. Words that the graph has are an
        error.
    log_prob : float, optional
        The natural log of every new word's unigram probability. By default that of one word
        among all, drawn at random.

    Returns
    -------
    DecodingGraph
        The states that were there keep their numbers, except for the final one; the new words
        come last in ``words``, before ``#0``.

    Raises
    ------
    GraphError
        If the graph has no place for new words: a grammar says which words may stand where.
    LexiconError
        For a pronunciation with phones that the graph lacks.
    """
    if not graph.takes_new_words:
        raise GraphError(
            "has no place for new words",
            remedy="write them into its grammar; or, if its G is an n-gram model, compile it again",
        )
    known = [word for word in pronunciations if word in graph.words]
    if known:
        raise GraphError(f"has these words already: {', '.join(known)}")
    tokens = graph.token_names[: symbols.first_disambig(graph.tokens)]
    entries = [(word, phones) for word in pronunciations for phones in pronunciations[word]]
    lexicon = Lexicon(entries, tokens=tokens, **graph.meta["lexicon"])
    names = graph.word_names
    words = symbols.table([*names[:-1], *pronunciations, names[-1]])
    if log_prob is None:
        log_prob = -math.log(len(names) - 2)
    ways = [
        Way(words[word], tuple(lexicon.tokens[token] for token in tokens), log_prob)
        for word in pronunciations
        for tokens in lexicon.spellings(word)
    ]

    def extended_hlg() -> k2.Fsa:
        flat, slot = FlatGraph.of(graph.fsa), graph.slot
        if slot is None:
            raise GraphError("lacks its place for new words", path=graph.folder, remedy=_AGAIN)
        return flat.extended(_Composer(flat, slot, len(words)).compose(ways)).to_fsa()

    def extended_lg(lg: FlatGraph) -> FlatGraph:
        pause = None
        if graph.silence is not None:
            pause = Pause(graph.tokens[graph.silence], lexicon.silence_prob)
        root = back_off_state(lg, pause)
        if root is None:
            raise GraphError("lacks its place for new words", path=graph.folder, remedy=_AGAIN)
        return lg.extended(new_ways(lg, root, ways, pause))

    return graph.replace(
        fsa=extended_hlg,
        packed=None if graph.packed is None else graph.packed.changed(extended_lg),
        words=words,
        lexicon=lambda: graph.lexicon.extend(lexicon.entries),
        spellings=lambda w: lexicon.spellings(w) if w in lexicon else graph.spellings(w),
    )


class _Composer:
    """Composes new words with H and joins them to the arcs of a graph."""

    def __init__(self, graph: FlatGraph, slot: Slot, num_words: int):
        self.graph = graph
        self.slot = slot
        self.num_words = num_words
        self.following = graph.take(graph.leaving(slot.behind)[0])  # what may come after a word
        if self.following.num_arcs != len(slot.h_behind):
            raise GraphError("its place for new words is that of another graph")

    def compose(self, ways: list[Way]) -> FlatGraph:
        """The arcs and states by which the graph has to be extended."""
        slot, topology = self.slot, self.slot.topology
        H = k2_fsa(
            topology[:, 0], topology[:, 1], topology[:, 2], slot.topology_score, topology[:, 3]
        )
        H.h_state = torch.from_numpy(topology[:, 0].copy())
        lg = k2.arc_sort(self._lg(ways).to_k2())
        fsa = k2.connect(k2.compose(k2.arc_sort(H), lg, inner_labels="phones"))
        hlg = FlatGraph.of(fsa)
        if not hlg.num_arcs:
            raise GraphError("its place for new words leads nowhere", remedy=_AGAIN)
        # All arcs that leave a state have the same h_state; none leaves the final state.
        h_state = fsa.h_state.numpy()[np.minimum(hlg.first_arc[:-1], hlg.num_arcs - 1)]
        src, dst = hlg.packed[:, 0], hlg.packed[:, 1]
        row = fsa.aux_labels.numpy() - self.num_words  # of `following`, where an arc leads there
        begins = (src == 0) & (hlg.phones > 0)
        inside = _reachable(dst[begins], src[row < 0], dst[row < 0], hlg.num_states - 1)

        number = np.full(hlg.num_states, -1, dtype=np.int32)
        number[inside] = self.graph.num_states + np.arange(len(inside))
        number[-1] = self.graph.num_states - 1
        within = number[src] >= 0
        # A topology may enter a token in several ways; each goes on where the graph's own does.
        back = within & (row >= 0) & (h_state[dst] == slot.h_behind[np.maximum(row, 0)])
        parts = [
            self._entries(hlg.take(np.flatnonzero(begins)), number, h_state),
            hlg.take(np.flatnonzero(within & (row < 0))).renumbered(number),
            self._back(hlg.take(np.flatnonzero(back)), number, row[back]),
        ]
        return FlatGraph.together(parts, self.graph.num_states + len(inside))

    def _lg(self, ways: list[Way]) -> Arcs:
        """The new words as L∘G would have them.

        State 0 is before a new word. State 1 is behind one: what may come there besides new words
        leads to a state of its own, and writes its number in ``following`` plus ``num_words``.
        """
        again = self.slot.score[self.slot.state == self.slot.behind]
        entries = [(0, 0.0), *((1, float(score)) for score in again)]
        rows, num_states = chains(ways, entries, 1, 2)
        end_score = -np.inf
        for i, (phone, label) in enumerate(
            zip(self.following.phones, self.following.packed[:, 2], strict=True)
        ):
            if label == -1:
                end_score = self.following.score[i]
            elif phone:
                score = self.following.score[i]
                rows.append((1, num_states, phone, self.num_words + i, score))
                num_states += 1
        src, dst, ilabel, olabel, scores = (np.array(c) for c in zip(*rows, strict=True))
        final = np.zeros(num_states, dtype=np.float32)
        final[: num_states - np.count_nonzero(olabel >= self.num_words)] = -np.inf
        final[1] = end_score
        src, dst, ilabel, olabel = (c.astype(np.int32) for c in (src, dst, ilabel, olabel))
        return Arcs(src, dst, ilabel, olabel, scores.astype(np.float32), final).sorted()

    def _entries(self, begins: FlatGraph, number: np.ndarray, h_state: np.ndarray) -> FlatGraph:
        """Arcs from every entry of the slot to where H lets a new word begin."""
        slot, num_entries = self.slot, len(self.slot.state)
        which = np.repeat(np.arange(begins.num_arcs), num_entries)
        entry = np.tile(np.arange(num_entries), begins.num_arcs)
        arcs = begins.packed[which]
        ways = np.column_stack(
            [slot.h_state[entry], h_state[arcs[:, 1]], arcs[:, 2], begins.phones[which]]
        )
        allowed = np.flatnonzero(_among(ways, slot.topology))
        which, entry, arcs = which[allowed], entry[allowed], arcs[allowed]
        arcs[:, 0] = slot.state[entry]
        arcs[:, 1] = number[arcs[:, 1]]
        arcs.view(np.float32)[:, 3] += slot.score[entry]
        # What is due from before, then the new word: each arc in `begins` writes just that.
        due, _ = expand(slot.word_splits[entry], slot.word_splits[entry + 1])
        counts = slot.word_splits[entry + 1] - slot.word_splits[entry]
        words = np.insert(slot.words[due], np.cumsum(counts), begins.words[which])
        splits = np.append(0, np.cumsum(counts + 1)).astype(np.int32)
        return FlatGraph(arcs, begins.phones[which], words, splits, begins.num_states)

    def _back(self, arcs: FlatGraph, number: np.ndarray, row: np.ndarray) -> FlatGraph:
        """Arcs to what follows a new word, with the words that are written there."""
        following = self.following.take(row)
        packed = arcs.packed.copy()
        packed[:, 0] = number[packed[:, 0]]
        packed[:, 1] = following.packed[:, 1]
        return replace(following, packed=packed)


def _reachable(starts: np.ndarray, src: np.ndarray, dst: np.ndarray, final: int) -> np.ndarray:
    """The states to which arcs lead from ``starts``, these included, without the final one."""
    found = np.zeros(final + 1, dtype=bool)
    found[starts] = True
    while True:
        more = dst[found[src] & ~found[dst]]
        if not len(more):
            found[final] = False
            return np.flatnonzero(found)
        found[more] = True


def _among(rows: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Which rows of integers are rows of a table as well."""
    base = int(max(rows.max(initial=0), table.max())) + 2
    weights = base ** np.arange(rows.shape[1], dtype=np.int64)
    return np.isin((rows + 1) @ weights, (table + 1) @ weights)
