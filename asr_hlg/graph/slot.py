"""The slot: where in a compiled graph a word may stand that the graph does not have.

An n-gram model takes any word where it has backed off to unigrams. While a graph compiles, L∘G
has one more arc there, for a token ``#new`` that no acoustic model knows:

    back-off state ──#new──▶ behind a word that no n-gram continues ──▶ …

ε-removal and composition with H bring it to every state of H∘L∘G in which a new word may begin.
Its arcs are then taken out of the graph, and kept beside it:
:mod:`asr_hlg.graph.adapt.new_words` puts real words in their places.
(Kaldi's grammar graphs do the same with nonterminals.)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import k2
import numpy as np

from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph.adapt.back_off import Pause, Way, back_off_state, find_back_off, new_ways
from asr_hlg.graph.flat import FlatGraph
from asr_hlg.lexicon import Lexicon


@dataclass(frozen=True)
class Slot:
    """Where a new word may begin, and what may follow it.

    Attributes
    ----------
    state, h_state : np.ndarray
        int32 ``(num_entries,)``: a state of the graph in which a new word may begin, and the
        state of H that it stands for.
    score : np.ndarray
        float32 ``(num_entries,)``: back-off weight and H's transition out of its phone.
    words, word_splits : np.ndarray
        int32: words that are due on the entry's arc, ragged as in a graph folder.
    behind : np.ndarray
        int32 ``(1,)``: the graph's state behind a new word. Nothing leads there.
    h_behind : np.ndarray
        int32 ``(num_arcs,)``: the state of H to which each arc from ``behind`` leads.
    topology : np.ndarray
        H: int32 ``(num_arcs, 4)`` source, destination, column (-1 to the final state), token.
    topology_score : np.ndarray
        float32 ``(num_arcs,)``.
    """

    state: np.ndarray
    h_state: np.ndarray
    score: np.ndarray
    words: np.ndarray
    word_splits: np.ndarray
    behind: np.ndarray
    h_behind: np.ndarray
    topology: np.ndarray
    topology_score: np.ndarray

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @staticmethod
    def load(path: Path) -> Slot:
        with np.load(path, allow_pickle=False) as content:
            return Slot(*(content[field.name] for field in fields(Slot)))


def has_place(lg: Arcs, lexicon: Lexicon) -> bool:
    """Whether L∘G takes any word somewhere."""
    columns = lg.src, lg.dst, lg.ilabel, lg.olabel
    return find_back_off(*columns, lg.num_states, pause_of(lexicon)) is not None


def add_to_lg(lg: Arcs, lexicon: Lexicon) -> Arcs | None:
    """L∘G that takes the token ``#new``, whose id is ``lexicon.num_tokens``, for any word.

    None where there is no place for any word.
    """
    flat, pause = FlatGraph.of_lg(lg), pause_of(lexicon)
    root = back_off_state(flat, pause)
    if root is None:
        return None
    new = Way(0, (lexicon.num_tokens,), 0.0)
    return flat.extended(new_ways(flat, root, [new], pause)).to_lg()


def pause_of(lexicon: Lexicon) -> Pause | None:
    """The silence between words, by its number."""
    if lexicon.silence is None:
        return None
    return Pause(lexicon.tokens[lexicon.silence], lexicon.silence_prob)


def add_to_topology(H: k2.Fsa, lexicon: Lexicon) -> tuple[k2.Fsa, int]:
    """H with the token ``#new``, one frame long, and the column that stands for it.

    It is entered wherever another token may begin, and left as H's start is. Every arc knows its
    source as ``h_state``.
    """
    arcs = Arcs.from_k2(H)
    inside, column = arcs.num_states, int(arcs.ilabel.max()) + 1
    onset = arcs.olabel > 0
    enters = np.full(arcs.num_states, -np.inf, dtype=np.float32)
    np.maximum.at(enters, arcs.src[onset], arcs.score[onset])
    enters = np.append(enters, enters[0])
    before = np.flatnonzero(np.isfinite(enters)).astype(np.int32)
    start = np.flatnonzero(arcs.src == 0)
    extended = Arcs(
        np.concatenate([arcs.src, before, np.full(len(start), inside, np.int32)]),
        np.concatenate([arcs.dst, np.full(len(before), inside, np.int32), arcs.dst[start]]),
        np.concatenate([arcs.ilabel, np.full(len(before), column, np.int32), arcs.ilabel[start]]),
        np.concatenate(
            [
                arcs.olabel,
                np.full(len(before), lexicon.num_tokens, np.int32),
                arcs.olabel[start],
            ]
        ),
        np.concatenate([arcs.score, enters[before], arcs.score[start]]),
        np.append(arcs.final, arcs.final[0]),
    ).to_k2()
    extended.h_state = extended.arcs.values()[:, 0].clone()
    return extended, column


def take_out(hlg: k2.Fsa, column: int, H: k2.Fsa) -> tuple[k2.Fsa, Slot]:
    """The graph without the arcs that read ``#new``, and what they say about it.

    Parameters
    ----------
    hlg : k2.Fsa
        Composed with what :func:`add_to_topology` made of ``H``.
    column : int
        The label of ``#new``.
    """
    graph, h_state = FlatGraph.of(hlg), hlg.h_state.numpy()
    is_new = graph.packed[:, 2] == column
    entries, rest = graph.take(np.flatnonzero(is_new)), graph.take(np.flatnonzero(~is_new))
    behind = entries.packed[:1, 1]
    # Arcs that leave the same state have the same h_state, so the first one tells.
    targets = rest.packed[rest.leaving(behind)[0], 1]
    first = np.minimum(rest.first_arc[targets], rest.num_arcs - 1)
    slot = Slot(
        entries.packed[:, 0],
        h_state[is_new],
        entries.score.copy(),
        entries.words,
        entries.word_splits,
        behind,
        h_state[~is_new][first],
        np.column_stack([H.arcs.values()[:, :3].numpy(), H.aux_labels.numpy()]),
        H.scores.numpy(),
    )
    return rest.to_fsa(), slot
