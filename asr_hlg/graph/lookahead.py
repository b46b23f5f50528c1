"""Composition of HCL with G by label look-ahead, straight into a packed automaton.

Kaldi's small models come as HCLr.fst and Gr.fst, which Kaldi composes during its search. HCLr has
for each state the intervals of word labels that it can reach. A pair of states is kept only if
such a word is on an arc of G's state; the summed probability of these words is put on the arc that
leads there, instead of on the word's own arc; and a word that is the only one left is written at
once. See Allauzen, Riley & Schalkwyk 2009, "A Generalized Composition Algorithm for Weighted
Finite-State Transducers". The result has the states and scores that OpenFst's ``ComposeFst`` gives
with the type ``olabel_lookahead``, so that a beam prunes the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Ints
from asr_hlg.fst.openfst import Reach
from asr_hlg.graph import lookahead_kernels as kernels
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.packed import STATE
from asr_hlg.graph.packed_fst import ARC, EPS_ARC, PackedFst
from asr_hlg.threads import interruptible

_CHUNK = 1 << 21  # arcs that one call of the kernel may write


class Labels(NamedTuple):
    """What the input labels of HCL stand for; arrays by label, 0 included.

    Attributes
    ----------
    column : np.ndarray
        int32: column of the posteriors, -1 for ε and disambiguation symbols.
    phone : np.ndarray
        int32: the phone that begins on an arc with the label, 0 for none.
    """

    column: npt.NDArray[np.int32]
    phone: npt.NDArray[np.int32]


class _Pieces:
    """Arrays that grow piece by piece."""

    def __init__(self) -> None:
        self.pieces: dict[str, list[npt.NDArray[np.generic]]] = {}

    def add(self, name: str, piece: npt.NDArray[np.generic]) -> None:
        self.pieces.setdefault(name, []).append(piece.copy())

    def take(self, name: str) -> npt.NDArray[np.generic]:
        """All pieces of a name, joined; they are freed."""
        return np.concatenate(self.pieces.pop(name))


def compose(
    hcl: Arcs,
    reach: Reach,
    g: Arcs,
    labels: Labels,
    meter: Meter | None = None,
    progress: Callable[[int], None] = lambda states: None,
) -> PackedFst:
    """Compose HCL with G.

    Parameters
    ----------
    hcl : Arcs
        Transition-ids to words, sorted by source.
    reach : Reach
        The words that every state of ``hcl`` can reach before it writes another.
    g : Arcs
        Acceptor of words, sorted by source; label 0 is ε.
    labels : Labels
    meter : Meter, optional
        Limits memory.
    progress : callable
        Called with the number of states expanded so far.
    """
    with (meter or Meter()).stage("HCL∘G compose") as size:
        packed = _compose(hcl, reach, _sorted_by_label(g), labels, progress)
        size.set(packed.num_states, len(packed.arcs) + len(packed.eps_arcs))
    return packed


def _sorted_by_label(g: Arcs) -> Arcs:
    return g.take(np.lexsort((g.ilabel, g.src)))


def _compose(
    hcl: Arcs, reach: Reach, g: Arcs, labels: Labels, progress: Callable[[int], None]
) -> PackedFst:
    left = kernels.Left(
        hcl.row_splits,
        hcl.dst,
        hcl.ilabel,
        hcl.olabel,
        hcl.score,
        hcl.final,
        reach.splits,
        reach.begin,
        reach.end,
        reach.final_label,
    )
    before, total = kernels.sums_before(g.row_splits, g.ilabel, g.score)
    right = kernels.Right(g.row_splits, g.dst, g.ilabel, g.olabel, g.score, g.final, before, total)
    # The arcs of one pair of states must fit in a buffer.
    most = int(np.diff(hcl.row_splits).max(initial=1)) + int(np.diff(g.row_splits).max(initial=1))
    table = kernels.new_table(1 << max(16, (2 * most).bit_length()))
    pieces = _Pieces()
    buffers = kernels.Buffers(
        np.empty(_CHUNK + most, ARC),
        np.empty((_CHUNK + most, 2), np.int32),
        np.empty(_CHUNK + most, EPS_ARC),
        np.empty(_CHUNK + most, np.int32),
        np.empty(_CHUNK, STATE),
        np.empty(_CHUNK, np.float32),
    )
    done, num_arcs, num_eps = 0, 0, 0
    while done < table.size[0]:
        table, states, arcs, eps = interruptible(
            kernels.expand, left, right, labels, table, buffers, done, num_arcs, num_eps
        )
        pieces.add("states", buffers.states[:states])
        pieces.add("final", buffers.final[:states])
        pieces.add("arcs", buffers.arcs[:arcs])
        pieces.add("words", buffers.outputs[:arcs, 0])
        pieces.add("phones", buffers.outputs[:arcs, 1])
        pieces.add("eps_arcs", buffers.eps_arcs[:eps])
        pieces.add("eps_words", buffers.eps_words[:eps])
        done, num_arcs, num_eps = done + states, num_arcs + arcs, num_eps + eps
        progress(done)
    del table, buffers
    end = np.zeros(1, STATE)
    end["first"], end["eps_first"], end["reach"] = num_arcs, num_eps, -np.inf
    pieces.add("states", end)
    return _packed(pieces)


def _packed(pieces: _Pieces) -> PackedFst:
    words: Ints = pieces.take("words")  # type: ignore[assignment]
    eps_words: Ints = pieces.take("eps_words")  # type: ignore[assignment]
    ids = np.union1d(np.union1d(np.zeros(1, np.int32), words), eps_words)
    return PackedFst(
        pieces.take("states"),  # type: ignore[arg-type]
        pieces.take("arcs"),  # type: ignore[arg-type]
        _rows(words, ids),
        pieces.take("phones"),  # type: ignore[arg-type]
        pieces.take("eps_arcs"),  # type: ignore[arg-type]
        _rows(eps_words, ids),
        pieces.take("final"),  # type: ignore[arg-type]
        ids[1:].astype(np.int32),
        np.append(0, np.arange(len(ids))).astype(np.int32),
    )


def _rows(words: Ints, ids: Ints) -> npt.NDArray[np.int32]:
    """Position of every word in sorted ids; most arcs have none, which is at position 0."""
    rows = np.zeros(len(words), np.int32)
    written = np.flatnonzero(words)
    rows[written] = np.searchsorted(ids, words[written])
    return rows
