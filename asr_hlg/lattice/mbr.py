"""Confusion networks, word posteriors and the hypothesis of minimum Bayes risk.

After Xu, Povey, Mangu, Zhu 2011, "Minimum Bayes Risk decoding and system combination based on a
recursion for edit distance".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.lattice import kernels
from asr_hlg.lattice.arrays import WordLattice
from asr_hlg.lattice.kernels import Floats, Ints

MAX_ROUNDS = 20


@dataclass(frozen=True)
class ConfusionNetwork:
    """Competing words with posteriors, one slot after another (Mangu et al. 2000).

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


def confusion_network(lattice: WordLattice, words: npt.NDArray[np.int32]) -> ConfusionNetwork:
    """The confusion network that results from aligning all paths with a word sequence.

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
    risk, stats, _, _ = slot_posteriors(
        lattice.src,
        lattice.dst,
        local[1 : 1 + len(lattice.word)],
        lattice.score,
        np.zeros(lattice.num_states),
        reference,
        len(ids),
    )
    slots = []
    for column in stats.T:
        competing = np.flatnonzero(column > 1e-6)
        slot = {int(ids[i]): float(column[i]) for i in competing}
        slot[0] = max(0.0, 1.0 - sum(slot.values()))
        slots.append(slot)
    return ConfusionNetwork(tuple(slots), tuple(ids[reference].tolist()), float(risk))


def minimum_bayes_risk(lattice: WordLattice, words: npt.NDArray[np.int32]) -> ConfusionNetwork:
    """The confusion network of the hypothesis with the fewest expected word errors.

    Starts from ``words`` (the best path) and replaces every slot by its most probable word; rounds
    end when the risk no longer decreases (Xu et al. 2011, section 4). The network that is returned
    has the final hypothesis as its reference.
    """
    network = confusion_network(lattice, words)
    for _ in range(MAX_ROUNDS):
        best = [max(slot, key=lambda word: (slot[word], -word)) for slot in network.slots]
        hypothesis = np.array([word for word in best if word], dtype=np.int32)
        candidate = confusion_network(lattice, hypothesis)
        if candidate.risk >= network.risk - 1e-9:
            return network
        network = candidate
    return network


@njit(cache=True)
def slot_posteriors(
    src: Ints,
    dst: Ints,
    word: Ints,
    score: Floats,
    times: Floats,
    reference: Ints,
    num_words: int,
) -> tuple[float, Floats, Floats, Floats]:
    """Posteriors of words in the slots of a reference, when all paths are aligned with it.

    Xu, Povey, Mangu, Zhu 2011, "Minimum Bayes Risk decoding and system combination based on a
    recursion for edit distance", Algorithm 2 and 4, with their small preference against
    insertions, so that ties are resolved in one way.

    Parameters
    ----------
    word : np.ndarray
        int ``(num_arcs,)``: word ids from 1, below ``num_words``; 0 for none.
    times : np.ndarray
        float64 ``(num_states,)``: time of each state.
    reference : np.ndarray
        int32 ``(num_slots,)``: word ids, 0 for an empty slot.

    Returns
    -------
    risk : float
        Expected edit distance between the reference and a path drawn from the lattice.
    stats : np.ndarray
        float64 ``(num_words, num_slots)``: probability that a path has the word, aligned with the
        slot.
    begins, ends : np.ndarray
        float64 ``(num_words, num_slots)``: sums of the times at which these words begin and end,
        weighted with the probability.
    """
    num_arcs, slots, num_states = len(src), len(reference), len(times)
    alpha = kernels.forward(src, dst, score, num_states, True)
    share = np.empty(num_arcs)
    for arc in range(num_arcs):
        share[arc] = np.exp(alpha[src[arc]] + score[arc] - alpha[dst[arc]])
    risk, move = _expected_distance(src, dst, word, share, num_states, reference)
    stats, begins, ends = np.zeros((3, num_words, slots))
    posterior = np.zeros((num_states, slots + 1))
    posterior[num_states - 1, slots] = 1.0
    for arc in range(num_arcs - 1, -1, -1):
        skipped = 0.0
        for q in range(slots, -1, -1):
            passing = share[arc] * posterior[dst[arc], q] + skipped
            skipped = 0.0
            if passing == 0.0:
                continue
            if move[arc, q] == 0:
                if word[arc] != 0:
                    stats[word[arc], q - 1] += passing
                    begins[word[arc], q - 1] += times[src[arc]] * passing
                    ends[word[arc], q - 1] += times[dst[arc]] * passing
                posterior[src[arc], q - 1] += passing
            elif move[arc, q] == 1:
                posterior[src[arc], q] += passing
            else:
                skipped = passing
    return risk, stats, begins, ends


@njit(cache=True)
def _expected_distance(
    src: Ints, dst: Ints, word: Ints, share: Floats, num_states: int, reference: Ints
) -> tuple[float, npt.NDArray[np.int8]]:
    """The expected edit distance, and the best move of each arc at each slot.

    ``share`` are the posteriors of arcs among those that enter the same state. Moves are 0 for an
    arc aligned with the slot before, 1 for an insertion, 2 for a slot that is skipped.
    """
    insertion = 1.0 + 1e-5
    slots = len(reference)
    distance = np.zeros((num_states, slots + 1))
    for q in range(1, slots + 1):
        distance[0, q] = distance[0, q - 1] + (reference[q - 1] != 0)
    row = np.empty(slots + 1)
    move = np.empty((len(src), slots + 1), dtype=np.int8)
    for arc in range(len(src)):
        for q in range(slots + 1):
            best = distance[src[arc], q] + (insertion if word[arc] != 0 else 0.0)
            move[arc, q] = 1
            if q > 0:
                match = distance[src[arc], q - 1] + (word[arc] != reference[q - 1])
                if match <= best:
                    best = match
                    move[arc, q] = 0
                skip = row[q - 1] + (reference[q - 1] != 0)
                if skip < best:
                    best = skip
                    move[arc, q] = 2
            row[q] = best
            distance[dst[arc], q] += share[arc] * best
    return distance[num_states - 1, slots], move
