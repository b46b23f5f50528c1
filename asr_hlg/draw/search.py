"""What search found: the best sentences as a graph, the best path over the posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import kaldifst
import numpy as np

from asr_hlg.draw.automata import fsa
from asr_hlg.draw.trellis import trellis
from asr_hlg.errors import OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs

if TYPE_CHECKING:
    from asr_hlg.lattice import Lattice


def lattice(
    found: Lattice, path: str | Path, utterance: int = 0, *, n: int = 10, title: str = ""
) -> None:
    """Draw the n best word sequences of a lattice as one graph.

    The number on an arc is the share of those sequences' probability that passes through it.

    Parameters
    ----------
    found : Lattice
    path : str or Path
    utterance : int
        Which of the batch.
    n : int
        How many sequences; their scores are sums over alignments.
    title : str
    """
    paths = found.nbest(n, forward=True)[utterance]
    scores = np.array([each.score for each in paths])
    if not np.isfinite(scores).any():
        raise OptionError(f"the lattice of utterance {utterance} is empty")
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    names = [symbols.EPS, *sorted({word for each in paths for word in each.words})]
    ids = {name: index for index, name in enumerate(names)}
    sequences = [[ids[word] for word in each.words] for each in paths]
    fsa(_shared(sequences, shares), path, inputs=names, probabilities=True, title=title)


def alignment(found: Lattice, path: str | Path, utterance: int = 0, *, title: str = "") -> None:
    """Draw the posteriors of a decoded utterance with its best path and words on top.

    Parameters
    ----------
    found : Lattice
        What ``search.decode`` gave; the image shows the scores that it searched, normalised.
    path : str or Path
    utterance : int
        Which of the batch.
    title : str
        By default the recognised text.
    """
    best = found.best_path()[utterance]
    if not best.tokens:
        raise OptionError(f"the lattice of utterance {utterance} is empty")
    length = int(found.scores.lengths[utterance])
    scores = found.scores.log_probs[utterance, :length].cpu()
    shift = found.frame_shift
    trellis(
        scores.log_softmax(dim=1),
        path,
        tokens=found.scores.tokens,
        alignment=_frame_labels(found, utterance),
        words=[(w.text, w.start / shift, w.end / shift) for w in found.words()[utterance]],
        frame_shift=shift,
        title=title or best.text,
    )


def _frame_labels(found: Lattice, utterance: int) -> list[int]:
    """The posterior column of every frame on the best path."""
    arcs = found.utterances[utterance]
    labels = [] if arcs is None else arcs.label[arcs.best_path()].tolist()
    return [label for label in labels if label >= 0]


def _shared(sequences: list[list[int]], shares: np.ndarray) -> Arcs:
    """The smallest acceptor of some sequences, with the share of them on every arc."""
    lengths = [len(sequence) for sequence in sequences]
    num_states = 1 + sum(lengths)
    inner = np.split(np.arange(1, num_states), np.cumsum(lengths)[:-1])
    src = np.concatenate([np.append(0, states[:-1])[: len(states)] for states in inner])
    label = np.concatenate([np.array(s, dtype=np.int32) for s in sequences])
    final = np.full(num_states, -np.inf, dtype=np.float32)
    final[[states[-1] if len(states) else 0 for states in inner]] = 0
    dst = np.arange(1, num_states)
    src, dst, label = (column.astype(np.int32) for column in (src, dst, label))
    fst = Arcs(src, dst, label, label, np.zeros(len(label), dtype=np.float32), final).to_openfst()
    kaldifst.determinize_star(fst)
    kaldifst.minimize_encoded(fst)
    arcs = Arcs.from_openfst(fst)
    following = {key: i for i, key in enumerate(zip(arcs.src, arcs.ilabel, strict=True))}
    share = np.zeros(arcs.num_arcs)
    for sequence, probability in zip(sequences, shares, strict=True):
        state = 0
        for word in sequence:
            share[following[state, word]] += probability
            state = arcs.dst[following[state, word]]
    score = np.log(np.maximum(share, 1e-300)).astype(np.float32)
    return Arcs(arcs.src, arcs.dst, arcs.ilabel, arcs.olabel, score, arcs.final)
