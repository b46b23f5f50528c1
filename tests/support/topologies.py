"""Topologies as OpenFst text, and their transition probabilities counted in alignments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import k2
import numpy as np

from asr_hlg.errors import OptionError
from asr_hlg.fst.arcs import Arcs


def estimate_transitions(
    alignments: Iterable[Sequence[int]], prior: np.ndarray, weight: float = 1.0
) -> np.ndarray:
    """Learn P(s'|s) of `topology.hmm` by counting transitions in frame-level alignments.

    The estimate of a row is (counts + weight · prior) / (their sum): what maximises the
    likelihood, held near ``prior`` where there are few frames. An equal pdf in the next frame is
    a self-loop; a different phone, or an earlier state, is an exit and a new entry; the end of
    an alignment is an exit.

    Parameters
    ----------
    alignments : iterable of sequences of int
        The pdf of every frame, numbered as in `topology.hmm`.
    prior : np.ndarray
        Shape ``(num_phones, num_states, num_states + 1)``, rows sum to 1. A transition of
        probability 0 is forbidden; an alignment that takes it is an `OptionError`.
    weight : float
        How many observations the prior is worth; positive.
    """
    prior = np.asarray(prior, dtype=np.float64)
    if prior.ndim != 3:
        raise OptionError(f"prior has shape {prior.shape}, expected (phones, states, states + 1)")
    num_phones, num_states, _ = prior.shape
    counts = np.zeros_like(prior)
    for number, alignment in enumerate(alignments, start=1):
        pdfs = np.asarray(alignment, dtype=np.int64)
        if pdfs.size == 0:
            continue
        if pdfs.min() < 1 or pdfs.max() > num_phones * num_states:
            raise OptionError(f"alignment {number} has a pdf outside 1..{num_phones * num_states}")
        phone, state = np.divmod(pdfs - 1, num_states)
        following = np.append(state[1:], num_states)
        leaves = np.append((phone[1:] != phone[:-1]) | (state[1:] < state[:-1]), True)
        following[leaves] = num_states
        bad = np.flatnonzero(prior[phone, state, following] == 0)
        if bad.size:
            frame = bad[0]
            goal = "the end" if leaves[frame] else f"state {following[frame]}"
            raise OptionError(
                f"alignment {number}, frame {frame}: phone {phone[frame] + 1} goes from state "
                f"{state[frame]} to {goal}, which the topology forbids"
            )
        np.add.at(counts, (phone, state, following), 1)
    total = counts + weight * prior
    return total / total.sum(axis=2, keepdims=True)


def to_openfst(fsa: k2.Fsa, label_offset: int = 0) -> str:
    """A transducer as OpenFst text: ``src dst ilabel olabel cost`` lines, costs = −scores.

    Parameters
    ----------
    fsa : k2.Fsa
        With ``aux_labels``, or without (an acceptor: output equals input).
    label_offset : int
        Added to every input label. OpenFst takes label 0 for epsilon, so a CTC graph, whose blank
        is 0, needs 1: label i is then posterior column i − 1, as in Kaldi's CTC decoders.
    """
    arcs = Arcs.from_k2(fsa)
    columns = (arcs.src, arcs.dst, arcs.ilabel + label_offset, arcs.olabel, 0.0 - arcs.score)
    lines = [
        f"{src} {dst} {ilabel} {olabel} {cost:.9g}\n"
        for src, dst, ilabel, olabel, cost in zip(*(c.tolist() for c in columns), strict=True)
    ]
    for state in np.flatnonzero(np.isfinite(arcs.final)).tolist():
        lines.append(f"{state} {0.0 - arcs.final[state]:.9g}\n")
    return "".join(lines)
