"""Pictures of lattices: n-best word sequences as a graph, the best path over the posteriors."""

from __future__ import annotations

from pathlib import Path

import kaldifst
import numpy as np
import numpy.typing as npt

from asr_hlg import acoustic
from asr_hlg.audio import recordings
from asr_hlg.draw.automata import fsa
from asr_hlg.draw.trellis import trellis
from asr_hlg.errors import OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph, store
from asr_hlg.lattice import Lattice
from asr_hlg.search import decode

DECODED = ("lattice", "alignment")


def decode_and_draw(name: str, path: str | Path, graph_folder: Path, audio: str) -> None:
    """Decode a recording, and draw its lattice or alignment.

    Parameters
    ----------
    name : str
        A member of `DECODED`.
    path : str or Path
    graph_folder : Path
        Folder of a compiled graph.
    audio : str
        A sound file.
    """
    graph = DecodingGraph.load(graph_folder)
    model = acoustic.load(store.acoustic_model(graph_folder, graph.meta))
    (recording,) = recordings([audio])
    samples = recording.load(model.sample_rate)
    result = decode(graph, model.posteriors([samples], model.sample_rate))
    {"lattice": lattice, "alignment": alignment}[name](result, path)


def lattice(
    lattice: Lattice, path: str | Path, utterance: int = 0, *, n: int = 10, title: str = ""
) -> None:
    """Draw the n best word sequences of a lattice as one graph.

    The number on an arc is the share of the probability of these sequences that passes through it.

    Parameters
    ----------
    lattice : Lattice
    path : str or Path
    utterance : int
        Index in the batch.
    n : int
        Number of sequences; their scores are log-sums over alignments.
    title : str
    """
    paths = lattice.nbest(n, forward=True)[utterance]
    scores = np.array([each.score for each in paths])
    if not np.isfinite(scores).any():
        raise OptionError(f"the lattice of utterance {utterance} is empty")
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    names = [symbols.EPS, *sorted({word for each in paths for word in each.words})]
    ids = {name: index for index, name in enumerate(names)}
    sequences = [[ids[word] for word in each.words] for each in paths]
    fsa(_acceptor(sequences, shares), path, inputs=names, probabilities=True, title=title)


def alignment(lattice: Lattice, path: str | Path, utterance: int = 0, *, title: str = "") -> None:
    """Draw the posteriors of a decoded utterance with its best path and words on top.

    Parameters
    ----------
    lattice : Lattice
        Result of ``search.decode``; the image shows the scores that it searched, normalised.
    path : str or Path
    utterance : int
        Index in the batch.
    title : str
        By default the recognised text.
    """
    best = lattice.best_path()[utterance]
    if not best.tokens:
        raise OptionError(f"the lattice of utterance {utterance} is empty")
    length = int(lattice.scores.lengths[utterance])
    scores = lattice.scores.log_probs[utterance, :length].cpu()
    shift = lattice.frame_shift
    trellis(
        scores.log_softmax(dim=1),
        path,
        tokens=lattice.scores.tokens,
        alignment=_frame_labels(lattice, utterance),
        words=[(w.text, w.start / shift, w.end / shift) for w in lattice.words()[utterance]],
        frame_shift=shift,
        title=title or best.text,
    )


def _frame_labels(lattice: Lattice, utterance: int) -> list[int]:
    """Posterior column of every frame on the best path."""
    arcs = lattice.utterances[utterance]
    labels = [] if arcs is None else arcs.label[arcs.best_path()].tolist()
    return [label for label in labels if label >= 0]


def _acceptor(sequences: list[list[int]], shares: npt.NDArray[np.float64]) -> Arcs:
    """Minimal acceptor of sequences, with the share of the sequences on every arc as score."""
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
