"""An automaton with explicit labels and ε-arcs as packed arrays, for token passing.

packed = PackedFst.pack(arcs, labels, phones, outputs)
first, last = packed.states["first"][s : s + 2]
packed.arcs[first:last]                                  # arcs of state s that read a label
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.indexing import Ints
from asr_hlg.graph.packed import PackedArrays, Records, state_records

ARC = np.dtype([("dst", "<u4"), ("score", "<f4"), ("label", "<u4")])
EPS_ARC = np.dtype([("dst", "<u4"), ("score", "<f4")])

EPSILON = -1
"""Label of an ε-arc in the arguments of :meth:`PackedFst.pack`."""


@dataclass(frozen=True)
class PackedFst(PackedArrays):
    """A transducer from posterior columns to words, as arrays sorted by state; state 0 starts.

    Unlike :class:`asr_hlg.graph.packed.PackedLg`, every arc reads exactly what its label says:
    self-loops and blanks are arcs of the automaton. Hence it holds any composition, H∘L∘G with an
    HMM topology or a graph that another toolkit has compiled.

    Attributes
    ----------
    states : np.ndarray
        `STATE` records ``(num_states + 1,)``: state s has the arcs ``states[s].first`` to
        ``states[s + 1].first - 1`` and the ε-arcs likewise from ``eps_first``; ``reach`` is the
        largest score of an arc that reads a label, ``-inf`` without any.
    arcs : np.ndarray
        `ARC` records ``(num_arcs,)``, by score within a state, the largest first; but where
        column 0 is CTC's blank, the arcs that read it precede the others. ``label`` is a column of
        the posteriors.
    outputs, eps_outputs : np.ndarray
        int32 ``(num_arcs,)`` and ``(num_eps,)``: the row of ``spellings`` that the arc writes.
    phones : np.ndarray
        int32 ``(num_arcs,)``: the token of the lexicon that begins on the arc, 0 for none.
    eps_arcs : np.ndarray
        `EPS_ARC` records ``(num_eps,)``.
    final : np.ndarray
        float32 ``(num_states,)``: final scores, ``-inf`` where a state is not final.
    spellings, spelling_splits : np.ndarray
        int32: words of row i are ``spellings[spelling_splits[i]:spelling_splits[i + 1]]``; row 0
        has none.
    """

    states: Records
    arcs: Records
    outputs: npt.NDArray[np.int32]
    phones: npt.NDArray[np.int32]
    eps_arcs: Records
    eps_outputs: npt.NDArray[np.int32]
    final: npt.NDArray[np.float32]
    spellings: npt.NDArray[np.int32]
    spelling_splits: npt.NDArray[np.int32]

    view: ClassVar[str] = "packed_fst"

    @property
    def num_arcs(self) -> int:
        """Number of arcs, those that read a label and ε-arcs."""
        return len(self.arcs) + len(self.eps_arcs)

    @property
    def largest_word(self) -> int:
        """The largest id of a word."""
        return int(self.spellings.max(initial=0))

    @staticmethod
    def pack(
        src: Ints,
        dst: Ints,
        label: Ints,
        word: Ints,
        score: npt.NDArray[np.floating[Any]],
        final: npt.NDArray[np.floating[Any]],
        phone: Ints | None = None,
    ) -> PackedFst:
        """Pack the arcs of an automaton, in any order.

        Parameters
        ----------
        src, dst : np.ndarray
            int ``(num_arcs,)``; 0 is the start.
        label : np.ndarray
            int ``(num_arcs,)``: columns of the posteriors, `EPSILON` for none.
        word : np.ndarray
            int ``(num_arcs,)``: word ids, 0 or less for none.
        score, final : np.ndarray
            ``(num_arcs,)`` and ``(num_states,)``: natural-log probabilities.
        phone : np.ndarray, optional
            int ``(num_arcs,)``: the token that begins on an arc, 0 for none.
        """
        ids, rows = np.unique(np.append(0, np.maximum(word, 0)), return_inverse=True)
        rows = rows[1:]  # row 0 of the spellings has no words, row i word ids[i]
        phone = np.zeros(len(src), np.int32) if phone is None else phone
        reads = np.flatnonzero(label != EPSILON)
        reads = reads[np.lexsort((label[reads], -score[reads], label[reads] > 0, src[reads]))]
        silent = np.flatnonzero(label == EPSILON)
        silent = silent[np.argsort(src[silent], kind="stable")]
        states = state_records(src[reads], score[reads], src[silent], len(final))
        arcs = np.empty(len(reads), ARC)
        arcs["dst"], arcs["score"], arcs["label"] = dst[reads], score[reads], label[reads]
        eps_arcs = np.empty(len(silent), EPS_ARC)
        eps_arcs["dst"], eps_arcs["score"] = dst[silent], score[silent]
        return PackedFst(
            states,
            arcs,
            rows[reads].astype(np.int32),
            phone[reads].astype(np.int32),
            eps_arcs,
            rows[silent].astype(np.int32),
            final.astype(np.float32),
            ids[1:].astype(np.int32),
            np.append(0, np.arange(len(ids))).astype(np.int32),
        )
