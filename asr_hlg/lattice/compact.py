"""Lattices over words whose arcs have alignments, as Kaldi's ``CompactLattice``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

GRAPH_SCALE = 0.9
"""Weight of the graph's scores in the confidences of Kaldi's words, as Vosk has it."""

Alignment = tuple[tuple[int, int], ...]
"""For every frame the column that is read, and the phone that begins, 0 for none."""


class WordArc(NamedTuple):
    """Arc of a determinized lattice; ``word`` is 0 on arcs into the final state."""

    word: int
    target: int
    counted: float
    alignment: Alignment


@dataclass(frozen=True)
class CompactLattice:
    """Acceptor of words with alignments; state 0 is the start.

    Attributes
    ----------
    arcs : list of list of WordArc
        Arcs of every state.
    final : int
        The only final state, without arcs.
    """

    arcs: list[list[WordArc]]
    final: int
