"""Transducers as numpy arrays of arcs, and their conversion to and from OpenFst and k2.

The package builds and changes automata as :class:`Arcs`; OpenFst (kaldifst) and k2 run the
algorithms. No conversion goes through text, so millions of arcs take a second or two.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError
from asr_hlg.fst.indexing import Ints, expand_ranges, row_splits

if TYPE_CHECKING:
    import k2
    import kaldifst

_MAGIC = 2125659606  # first word of every binary OpenFst file
_ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("next", "<i4")])
_CONST_STATE = np.dtype(
    [("final", "<f4"), ("pos", "<u4"), ("num_arcs", "<u4"), ("ieps", "<u4"), ("oeps", "<u4")]
)


@dataclass(frozen=True)
class Arcs:
    """A weighted transducer as one array per arc attribute; state 0 is the start.

    Attributes
    ----------
    src, dst, ilabel, olabel : np.ndarray
        int32, shape ``(num_arcs,)``.
    score : np.ndarray
        float32, shape ``(num_arcs,)``, natural-log probabilities.
    final : np.ndarray
        float32, shape ``(num_states,)``: log score of ending in a state, ``-inf`` where
        a state is not final.
    """

    src: npt.NDArray[np.int32]
    dst: npt.NDArray[np.int32]
    ilabel: npt.NDArray[np.int32]
    olabel: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    final: npt.NDArray[np.float32]

    @staticmethod
    def linear(labels: Sequence[int]) -> Arcs:
        """Acceptor of one sequence of labels, with score 0."""
        ids = np.array(labels, dtype=np.int32)
        state = np.arange(len(ids), dtype=np.int32)
        final = np.full(len(ids) + 1, -np.inf, dtype=np.float32)
        final[-1] = 0.0
        return Arcs(state, state + 1, ids, ids, np.zeros(len(ids), dtype=np.float32), final)

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.final)

    @property
    def num_arcs(self) -> int:
        """Number of arcs."""
        return len(self.src)

    @cached_property
    def row_splits(self) -> npt.NDArray[np.int32]:
        """Position of the first arc of every state; the arcs must be sorted by source."""
        return row_splits(self.src, self.num_states)

    def leaving(self, states: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Indices of the arcs that leave some states, and for each the index of its state.

        The arcs must be sorted by source.
        """
        return expand_ranges(self.row_splits[states], self.row_splits[states + 1])

    def extended(self, more: Arcs) -> Arcs:
        """Union of the arcs of two automata that number their common states alike, sorted.

        ``more`` may have further states, whose final scores it gives.
        """
        return Arcs(
            np.concatenate([self.src, more.src]),
            np.concatenate([self.dst, more.dst]),
            np.concatenate([self.ilabel, more.ilabel]),
            np.concatenate([self.olabel, more.olabel]),
            np.concatenate([self.score, more.score]),
            np.concatenate([self.final, more.final[self.num_states :]]),
        ).sorted()

    def sorted(self) -> Arcs:
        """Sort the arcs by source state; arcs of a state keep their order."""
        if np.all(self.src[1:] >= self.src[:-1]):
            return self
        return self.take(np.argsort(self.src, kind="stable"))

    def take(self, index: Ints) -> Arcs:
        """Select arcs by index, or reorder them; the states stay."""
        return replace(
            self,
            src=self.src[index],
            dst=self.dst[index],
            ilabel=self.ilabel[index],
            olabel=self.olabel[index],
            score=self.score[index],
        )

    def to_openfst(self) -> kaldifst.StdVectorFst:
        """Convert to OpenFst, whose weights are costs (negated scores)."""
        import kaldifst

        arcs = self.sorted()
        counts = np.bincount(arcs.src, minlength=arcs.num_states).astype(np.int64)
        first = np.zeros(arcs.num_states + 1, dtype=np.int64)
        np.cumsum(counts, out=first[1:])
        # Every state is a float (final cost), an int64 (number of arcs), then four words an arc.
        words = np.empty(3 * arcs.num_states + 4 * arcs.num_arcs, dtype="<i4")
        state_at = 3 * np.arange(arcs.num_states) + 4 * first[:-1]
        words[state_at] = (-arcs.final).astype("<f4").view("<i4")
        words[state_at + 1] = counts
        words[state_at + 2] = 0
        arc_at = 3 * (arcs.src.astype(np.int64) + 1) + 4 * np.arange(arcs.num_arcs)
        words[arc_at] = arcs.ilabel
        words[arc_at + 1] = arcs.olabel
        words[arc_at + 2] = (-arcs.score).astype("<f4").view("<i4")
        words[arc_at + 3] = arcs.dst
        header = struct.pack("<i", _MAGIC) + _string(b"vector") + _string(b"standard")
        header += struct.pack("<iiQqqq", 2, 0, 0, 0 if arcs.num_states else -1, arcs.num_states, 0)
        with tempfile.TemporaryDirectory(prefix="asr_hlg-") as folder:
            path = Path(folder) / "fst"
            with path.open("wb") as file:
                file.write(header)
                words.tofile(file)
            return kaldifst.StdVectorFst.read(str(path))

    @staticmethod
    def from_openfst(fst: kaldifst.StdFst) -> Arcs:
        """Convert from OpenFst; the start state is renumbered to 0."""
        import kaldifst

        with tempfile.TemporaryDirectory(prefix="asr_hlg-") as folder:
            path = Path(folder) / "fst"
            kaldifst.StdConstFst(fst).write(str(path))
            data = path.read_bytes()
        at = 4
        for _ in range(2):  # names of the FST type and the arc type
            at += 4 + struct.unpack_from("<i", data, at)[0]
        version, flags, _, start, num_states, num_arcs = struct.unpack_from("<iiQqqq", data, at)
        at += 40
        if flags & 3:
            raise GraphError("OpenFst automata with symbol tables are not supported")
        if version == 1 or flags & 4:
            at = -(-at // 16) * 16
        states = np.frombuffer(data, _CONST_STATE, num_states, at)
        at += states.nbytes
        if version == 1 or flags & 4:
            at = -(-at // 16) * 16
        arcs = np.frombuffer(data, _ARC, num_arcs, at)
        src = np.repeat(np.arange(num_states, dtype=np.int32), states["num_arcs"])
        result = Arcs(
            src, arcs["next"], arcs["ilabel"], arcs["olabel"], -arcs["weight"], -states["final"]
        )
        return result if start <= 0 else result.starting_at(start)

    def starting_at(self, start: int) -> Arcs:
        """Renumber ``start`` to 0, and 0 to ``start``."""
        if start == 0:
            return self
        number = np.arange(self.num_states, dtype=np.int32)
        number[[0, start]] = number[[start, 0]]
        return replace(
            self, src=number[self.src], dst=number[self.dst], final=self.final[number]
        ).sorted()

    def to_k2(self) -> k2.Fsa:
        """Convert to k2, which has one final state, entered by arcs labelled -1.

        ``labels`` are the input labels, ``aux_labels`` the output labels.

        Raises
        ------
        GraphError
            If no state is final, which k2 cannot express.
        """
        ends = np.flatnonzero(np.isfinite(self.final)).astype(np.int32)
        if not len(ends):
            raise GraphError("the automaton has no final state, so it accepts nothing")
        last = np.int32(self.num_states)
        minus = np.full(len(ends), -1, dtype=np.int32)
        automaton = Arcs(
            np.concatenate([self.src, ends]),
            np.concatenate([self.dst, np.full(len(ends), last, dtype=np.int32)]),
            np.concatenate([self.ilabel, minus]),
            np.concatenate([self.olabel, minus]),
            np.concatenate([self.score, self.final[ends]]),
            np.append(self.final, np.float32(-np.inf)),
        ).sorted()
        return k2_fsa(
            automaton.src, automaton.dst, automaton.ilabel, automaton.score, automaton.olabel
        )

    @staticmethod
    def from_k2(fsa: k2.Fsa) -> Arcs:
        """Convert from k2; the output labels of an acceptor are its input labels."""
        import torch

        arcs = fsa.arcs.values().cpu().numpy() if fsa.arcs.num_axes() == 2 else None
        if arcs is None:
            raise GraphError("expected one automaton, not a vector of them")
        aux = getattr(fsa, "aux_labels", None)
        if aux is not None and not isinstance(aux, torch.Tensor):
            raise GraphError("output labels are ragged: expand them first")
        olabel = arcs[:, 2] if aux is None else aux.cpu().numpy()
        num_states = int(fsa.shape[0])
        final = np.full(max(num_states - 1, 0), -np.inf, dtype=np.float32)
        score = np.ascontiguousarray(arcs[:, 3]).view(np.float32)
        ending = arcs[:, 2] == -1
        np.logaddexp.at(final, arcs[ending, 0], score[ending])
        keep = ~ending
        return Arcs(arcs[keep, 0], arcs[keep, 1], arcs[keep, 2], olabel[keep], score[keep], final)


def k2_fsa(
    src: Ints,
    dst: Ints,
    labels: Ints,
    scores: npt.NDArray[np.float32],
    aux_labels: npt.NDArray[Any] | k2.RaggedTensor | None = None,
) -> k2.Fsa:
    """Build a k2 automaton from arrays sorted by ``src``; arcs to the final state have label -1.

    Labels are only ever changed by building a new automaton. k2 1.23.4 caches the properties of
    an automaton; after ``fsa.labels[...] = x`` they describe the old labels, and the next
    algorithm raises "inappropriately modified". A new Fsa starts with a clean cache.
    """
    import k2
    import torch

    packed = np.empty((len(src), 4), dtype=np.int32)
    packed[:, 0], packed[:, 1], packed[:, 2] = src, dst, labels
    packed[:, 3] = np.ascontiguousarray(scores, dtype=np.float32).view(np.int32)
    if isinstance(aux_labels, np.ndarray):
        aux_labels = torch.from_numpy(np.ascontiguousarray(aux_labels, dtype=np.int32))
    return k2.Fsa(torch.from_numpy(packed), aux_labels=aux_labels)


def _string(text: bytes) -> bytes:
    return struct.pack("<i", len(text)) + text
