"""Definitions to test against: enumeration of the paths of automata, and sums over alignments.

Plain Python in double precision, written from the definitions; no k2 algorithm is used here.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import k2
import numpy as np

from asr_hlg.fst.arcs import Arcs


def log_sum(values) -> float:
    values = list(values)
    top = max(values, default=-math.inf)
    if top == -math.inf:
        return top
    return top + math.log(sum(math.exp(value - top) for value in values))


class Machine(NamedTuple):
    """An automaton as arcs ``(dst, label, output, score)`` by source state, and final scores."""

    leaving: dict[int, list[tuple[int, int, tuple[int, ...], float]]]
    final: dict[int, list[tuple[tuple[int, ...], float]]]

    @staticmethod
    def of(automaton: Machine | Arcs | k2.Fsa) -> Machine:
        if isinstance(automaton, Machine):
            return automaton
        leaving, final = defaultdict(list), defaultdict(list)
        if isinstance(automaton, Arcs):
            columns = (automaton.src, automaton.dst, automaton.ilabel, automaton.score)
            outputs = [[label] for label in automaton.olabel.tolist()]
            for state in np.flatnonzero(np.isfinite(automaton.final)).tolist():
                final[state].append(((), float(automaton.final[state])))
        else:
            values = automaton.arcs.values()
            columns = (values[:, 0], values[:, 1], values[:, 2], automaton.scores.detach())
            aux = getattr(automaton, "aux_labels", automaton.labels)
            ragged = isinstance(aux, k2.RaggedTensor)
            outputs = aux.tolist() if ragged else [[label] for label in aux.tolist()]
        rows = zip(*(column.tolist() for column in columns), outputs, strict=True)
        for src, dst, label, score, output in rows:
            written = tuple(item for item in output if item > 0)
            if label == -1:
                final[src].append((written, score))
            else:
                leaving[src].append((dst, label, written, score))
        return Machine(dict(leaving), dict(final))


def transductions(automaton, labels: Sequence[int], epsilon: int | None = None) -> dict:
    """Every output of an automaton for an input, with the scores of all paths to it.

    ``epsilon`` is the input label that reads nothing; None where every arc reads one, as in H.
    Output label 0 is dropped. An epsilon cycle would not end.
    """
    machine = Machine.of(automaton)
    results = defaultdict(list)
    stack = [(0, 0, (), 0.0)]
    while stack:
        state, position, output, total = stack.pop()
        if position == len(labels):
            for written, score in machine.final.get(state, ()):
                results[output + written].append(total + score)
        for dst, label, written, score in machine.leaving.get(state, ()):
            if label == epsilon:
                stack.append((dst, position, output + written, total + score))
            elif position < len(labels) and label == labels[position]:
                stack.append((dst, position + 1, output + written, total + score))
    return dict(results)


def random_string(automaton, random: np.random.Generator, longest: int) -> list[int] | None:
    """Labels of a random path to a final state; None if it becomes longer than ``longest``."""
    machine = Machine.of(automaton)
    state, labels = 0, []
    while len(labels) <= longest:
        arcs = machine.leaving.get(state, [])
        stop = len(arcs) if state in machine.final else -1
        choice = int(random.integers(len(arcs) + (stop >= 0))) if arcs or stop >= 0 else -1
        if choice == stop:
            return labels if stop >= 0 else None
        state, label = arcs[choice][0], arcs[choice][1]
        labels.append(label)
    return None


def collapse(labels: Sequence, blank=0) -> tuple:
    """CTC's B: merge equal neighbours, then drop blanks (Graves et al. 2006, section 3.1)."""
    merged = [b for a, b in zip([None, *labels], labels, strict=False) if a != b]
    return tuple(label for label in merged if label != blank)


def compositions(total: int, least: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All divisions of ``total`` frames among slots with the given least numbers of frames."""
    spare = total - sum(least)
    if spare < 0 or not least:
        if spare == 0:
            yield ()
        return
    # Stars and bars: positions of the bars among the spare frames.
    for bars in itertools.combinations(range(spare + len(least) - 1), len(least) - 1):
        ends = [*bars, spare + len(least) - 1]
        extra = [b - a - 1 for a, b in itertools.pairwise([-1, *ends])]
        yield tuple(minimum + more for minimum, more in zip(least, extra, strict=True))


def hmm_alignments(phones: Sequence[int], num_frames: int, num_states: int = 1) -> list[tuple]:
    """All pdf sequences of a composite left-to-right HMM, with the duration of each state.

    ``[(pdfs, durations), …]``; phone p (from 1) has pdfs ``1 + (p - 1) * num_states + state``.
    """
    states = [1 + (p - 1) * num_states + s for p in phones for s in range(num_states)]
    return [
        (tuple(np.repeat(states, durations).tolist()), durations)
        for durations in compositions(num_frames, [1] * len(states))
    ]


def ctc_alignments(phones: Sequence[int], num_frames: int) -> list[tuple[int, ...]]:
    """All CTC label strings of a phone sequence: repeated labels, optional blanks between them."""
    slots, least = [0], [0]
    for before, phone in zip([None, *phones], phones, strict=False):
        if before is not None:
            slots.append(0)
            least.append(int(before == phone))
        slots.append(phone)
        least.append(1)
    if phones:
        slots.append(0)
        least.append(0)
    return [
        tuple(np.repeat(slots, durations).tolist()) for durations in compositions(num_frames, least)
    ]


def path_scores(log_probs: np.ndarray, paths: Sequence[Sequence[int]]) -> np.ndarray:
    """Σ_t log p(s_t | y_t) of every path; float64 ``(num_paths,)``."""
    if not paths:
        return np.zeros(0)
    return log_probs[np.arange(len(log_probs)), np.array(paths, dtype=int)].sum(axis=1)


def occupancies(log_probs: np.ndarray, paths, scores: Sequence[float]) -> np.ndarray:
    """Occupancies γ_t(s): posterior of label s in frame t."""
    gamma = np.zeros(log_probs.shape)
    weights = np.exp(np.asarray(scores) - log_sum(scores))
    for path, weight in zip(paths, weights, strict=True):
        gamma[np.arange(len(path)), list(path)] += weight
    return gamma
