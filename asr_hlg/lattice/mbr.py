"""Confusion networks, word posteriors and the hypothesis of minimum Bayes risk.

After Xu, Povey, Mangu, Zhu 2011, "Minimum Bayes Risk decoding and system combination based on a
recursion for edit distance".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_hlg.lattice import kernels
from asr_hlg.lattice.arrays import WordLattice

MAX_ROUNDS = 20


@dataclass(frozen=True)
class ConfusionNetwork:
    """Competing words, slot by slot.

    Attributes
    ----------
    slots : tuple of dict
        For every slot the posterior of each word id that competes in it; id 0 is "no word". A
        slot's posteriors sum to 1.
    reference : tuple of int
        The word ids that the slots were built around, 0 for a slot between words.
    risk : float
        Expected number of word errors of the reference, under the lattice.
    """

    slots: tuple[dict[int, float], ...]
    reference: tuple[int, ...]
    risk: float

    def confidences(self) -> list[float]:
        """Posterior of each word of the reference, in order."""
        pairs = zip(self.slots, self.reference, strict=True)
        return [slot.get(word, 0.0) for slot, word in pairs if word]


def confusion_network(lattice: WordLattice, words: np.ndarray) -> ConfusionNetwork:
    """Align all paths of a lattice with a word sequence.

    Parameters
    ----------
    lattice : WordLattice
    words : np.ndarray
        int32 word ids to align with, the best path's for its confidences.
    """
    # Small ids for the words that occur, so that the statistics are a small table.
    ids, local = np.unique(np.concatenate([[0], lattice.word, words]), return_inverse=True)
    reference = np.zeros(2 * len(words) + 1, dtype=np.int64)
    reference[1::2] = local[1 + len(lattice.word) :]
    risk, stats = kernels.slot_posteriors(
        lattice.src,
        lattice.dst,
        local[1 : 1 + len(lattice.word)],
        lattice.score,
        lattice.num_states,
        reference,
        len(ids),
    )
    slots = []
    for column in stats.T:
        present = np.flatnonzero(column > 1e-6)
        slot = {int(ids[i]): float(column[i]) for i in present}
        slot[0] = max(0.0, 1.0 - sum(slot.values()))
        slots.append(slot)
    return ConfusionNetwork(tuple(slots), tuple(ids[reference].tolist()), float(risk))


def minimum_bayes_risk(lattice: WordLattice, words: np.ndarray) -> ConfusionNetwork:
    """Improve a word sequence until its expected word errors no longer fall.

    Starts from ``words`` (the best path) and replaces every slot by its most probable word; each
    round lowers the risk or is the last (Xu et al. 2011, section 4). The network that is
    returned has the final hypothesis as its reference.
    """
    network = confusion_network(lattice, words)
    for _ in range(MAX_ROUNDS):
        best = [max(slot, key=lambda word: (slot[word], -word)) for slot in network.slots]
        better = np.array([word for word in best if word], dtype=np.int32)
        candidate = confusion_network(lattice, better)
        if candidate.risk >= network.risk - 1e-9:
            return network
        network = candidate
    return network
