"""H∘L∘G, the view of a decoding graph that k2 intersects with posteriors.

Token passing searches L∘G itself, where H is the CTC topology. H∘L∘G is composed only for a search
by k2 or on a GPU, because composing takes most of a compilation's memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Ints, expand_ranges
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.packed_fst import EPSILON, PackedFst

if TYPE_CHECKING:
    import k2


class HlgArrays(NamedTuple):
    """H∘L∘G as arrays: arcs sorted by source, the last state the only final one, as in k2.

    Attributes
    ----------
    arcs : np.ndarray
        int32 ``(num_arcs, 4)``: source, destination, posterior column (-1 to the final state) and
        the bits of a float32 score.
    phones : np.ndarray
        int32 ``(num_arcs,)``: the lexicon's token that begins on the arc, 0 for none.
    words, word_splits : np.ndarray
        int32: arc i writes ``words[word_splits[i]:word_splits[i + 1]]``.
    """

    arcs: npt.NDArray[np.int32]
    phones: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    word_splits: npt.NDArray[np.int32]

    @staticmethod
    def of(fsa: k2.Fsa) -> HlgArrays:
        """Arrays of an automaton on the CPU, not copied."""
        import k2
        import torch

        aux = fsa.aux_labels
        if isinstance(aux, torch.Tensor):
            aux = k2.RaggedTensor(aux.unsqueeze(1)).remove_values_leq(0)
        tensors = fsa.arcs.values(), fsa.phones, aux.values, aux.shape.row_splits(1)
        return HlgArrays(*(tensor.numpy() for tensor in tensors))

    @property
    def num_states(self) -> int:
        """Number of states, the final one included."""
        return int(self.arcs[:, 1].max(initial=-1)) + 1

    @property
    def score(self) -> npt.NDArray[np.float32]:
        """float32 ``(num_arcs,)``, a view of ``arcs``."""
        return self.arcs.view(np.float32)[:, 3]

    def take(self, index: Ints) -> HlgArrays:
        """Select arcs; the states stay."""
        begin, end = self.word_splits[index], self.word_splits[index + 1]
        splits = np.append(0, np.cumsum(end - begin)).astype(np.int32)
        words = self.words[expand_ranges(begin, end)[0]]
        return HlgArrays(self.arcs[index], self.phones[index], words, splits)

    def to_fsa(self) -> k2.Fsa:
        """Automaton with the attributes of :attr:`DecodingGraph.fsa`, which shares the arrays."""
        import k2
        import torch

        splits, words = torch.from_numpy(self.word_splits), torch.from_numpy(self.words)
        shape = k2.ragged.create_ragged_shape2(splits, None, len(words))
        fsa = k2.Fsa(torch.from_numpy(self.arcs), aux_labels=k2.RaggedTensor(shape, words))
        fsa.phones = torch.from_numpy(self.phones)
        fsa.graph_scores = fsa.scores.clone()
        return fsa


def compose(H: Arcs, lg: Arcs, meter: Meter) -> HlgArrays:
    """Remove ε from L∘G (tropical semiring), and compose H with the result.

    Words on ε-arcs move to a neighbouring arc, so that an arc can write several.
    """
    import k2

    with meter.stage("L∘G ε-removal") as size:
        fsa = k2.connect(k2.remove_epsilon(lg.to_k2()))
        size.set(fsa.shape[0], fsa.num_arcs)
    with meter.stage("H∘(L∘G) compose") as size:
        fsa = k2.compose(k2.arc_sort(H.to_k2()), k2.arc_sort(fsa), inner_labels="phones")
        fsa = k2.arc_sort(k2.connect(fsa))
        size.set(fsa.shape[0], fsa.num_arcs)
    return HlgArrays.of(fsa)


def compose_packed(H: Arcs, lg: Arcs) -> PackedFst:
    """Compose H with L∘G by OpenFst, ε-arcs of L∘G included, and pack the result.

    Parameters
    ----------
    H : Arcs
        A topology, which reads a column on every arc, column 0 included.
    lg : Arcs
        L∘G, whose label 0 is ε.
    """
    import kaldifst

    # OpenFst keeps two labels an arc; a pair of a column and a token is one label here.
    pairs, pair = np.unique(np.stack([H.ilabel, H.olabel], axis=1), axis=0, return_inverse=True)
    left = replace(H, ilabel=(1 + pair.reshape(-1)).astype(np.int32)).to_openfst()
    right = replace(lg, olabel=np.maximum(lg.olabel, 0)).to_openfst()
    kaldifst.arcsort(left, "olabel")
    kaldifst.arcsort(right, "ilabel")
    arcs = Arcs.from_openfst(kaldifst.compose(left, right))
    reads = arcs.ilabel > 0
    columns, tokens = pairs[np.maximum(arcs.ilabel - 1, 0)].T
    return PackedFst.pack(
        arcs.src,
        arcs.dst,
        np.where(reads, columns, EPSILON),
        arcs.olabel,
        arcs.score,
        arcs.final,
        np.where(reads, tokens, 0),
    )


def size(hlg: HlgArrays) -> dict[str, Any]:
    """Number of states and arcs, and megabytes (10^6 bytes) of the arrays that k2 needs."""
    # arcs, phones and graph scores for every arc; a row split for every state
    num_arcs, num_states = len(hlg.arcs), hlg.num_states
    numbers = 6 * num_arcs + num_states + len(hlg.words) + len(hlg.word_splits) - 1
    return {"states": num_states, "arcs": num_arcs, "memory_mb": 4 * numbers / 1e6}
