"""The slot: where in a compiled graph a word may stand that the graph does not have.

An n-gram model takes any word where it has backed off to unigrams. While a graph compiles, L∘G
has one more arc there, for a token ``#new`` that no acoustic model knows:

    back-off state ──#new──▶ behind a word that no n-gram continues ──▶ …

ε-removal and composition with H bring it to every state of H∘L∘G in which a new word may begin.
Its arcs are then taken out of the graph, and kept beside it: :mod:`asr_hlg.graph.new_words` puts
real words in their places. (Kaldi's grammar graphs do the same with nonterminals.)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import k2
import numpy as np

from asr_hlg.arcs import Arcs
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


def back_off_state(lg: Arcs, lexicon: Lexicon) -> int | None:
    """The state of L∘G in which any word may follow, None where there is not exactly one.

    Arcs that read and write nothing lead there (back-offs, or the end of a silence), none leads
    on, and no silence begins there, since back-offs come after it.
    """
    reads_nothing = lg.ilabel == 0
    found = np.zeros(lg.num_states, dtype=bool)
    found[lg.dst[reads_nothing & (lg.olabel == 0)]] = True
    found[lg.src[reads_nothing]] = False
    if lexicon.silence is not None:
        found[lg.src[lg.ilabel == lexicon.tokens[lexicon.silence]]] = False
    states = np.flatnonzero(found)
    return int(states[0]) if len(states) == 1 else None


def add_to_lg(lg: Arcs, lexicon: Lexicon, root: int) -> Arcs:
    """L∘G with arcs for the token ``#new``, whose id is ``lexicon.num_tokens``.

    They lead from ``root``, and from states that go on as it does, to a new state. That one goes
    on as ``root`` does, too, after an optional silence.
    """
    new, behind = lexicon.num_tokens, lg.num_states
    leaving = np.flatnonzero(lg.src == root)
    rows = [(state, behind, new, 0, score) for state, score in _like(lg, root, leaving)]
    no_silence = 0.0 if lexicon.silence is None else float(np.log1p(-lexicon.silence_prob))
    rows.append((behind, behind, new, 0, no_silence))
    if lexicon.silence is not None:
        token = lexicon.tokens[lexicon.silence]
        rows.append((behind, root, token, 0, float(np.log(lexicon.silence_prob))))
    src, dst, ilabel, olabel, score = (np.array(column) for column in zip(*rows, strict=True))
    return Arcs(
        np.concatenate([lg.src, np.full(len(leaving), behind), src]).astype(np.int32),
        np.concatenate([lg.dst, lg.dst[leaving], dst]).astype(np.int32),
        np.concatenate([lg.ilabel, lg.ilabel[leaving], ilabel]).astype(np.int32),
        np.concatenate([lg.olabel, lg.olabel[leaving], olabel]).astype(np.int32),
        np.concatenate([lg.score, lg.score[leaving] + no_silence, score]).astype(np.float32),
        np.append(lg.final, lg.final[root] + no_silence).astype(np.float32),
    ).sorted()


def _like(lg: Arcs, root: int, leaving: np.ndarray) -> list[tuple[int, float]]:
    """``root`` and the states that have all its arcs, with what these score more there.

    Behind a word without a history, L∘G does not back off: it is at the unigrams at once.
    """
    base = lg.num_states
    key = (lg.ilabel.astype(np.int64) * base + lg.dst) * (int(lg.olabel.max()) + 1) + lg.olabel
    order = leaving[np.argsort(key[leaving])]
    same = np.flatnonzero(np.isin(key, key[leaving]))
    count = np.bincount(lg.src[same], minlength=base)
    more = lg.score[same] - lg.score[order[np.searchsorted(key[order], key[same])]]
    offset = np.full(base, np.inf)
    np.minimum.at(offset, lg.src[same], more)
    states = np.flatnonzero(count == len(leaving))
    return list(zip(states.tolist(), offset[states].tolist(), strict=True))


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
