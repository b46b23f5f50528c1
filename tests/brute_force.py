"""Definitions to test against: automata walked path by path, and the sums of the theory.

Plain Python in double precision, written from the definitions; no k2 algorithm is used here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from asr_hlg.arcs import Arcs


def log_sum(values) -> float:
    values = list(values)
    top = max(values, default=-math.inf)
    if top == -math.inf:
        return top
    return top + math.log(sum(math.exp(value - top) for value in values))


def transductions(fsa, labels: Sequence[int], epsilon: int | None = None) -> dict[tuple, list]:
    """Every output that an automaton gives for an input, with the score of each path to it.

    ``epsilon`` is the input label that reads nothing; None where every arc reads one, as in H.
    Output label 0 is dropped. An epsilon cycle would not end.
    """
    arcs = fsa if isinstance(fsa, Arcs) else Arcs.from_k2(fsa)
    leaving = defaultdict(list)
    columns = (arcs.src, arcs.dst, arcs.ilabel, arcs.olabel, arcs.score)
    for src, *rest in zip(*(column.tolist() for column in columns), strict=True):
        leaving[src].append(rest)
    results = defaultdict(list)
    stack = [(0, 0, (), 0.0)]
    while stack:
        state, position, output, total = stack.pop()
        if position == len(labels) and arcs.final[state] > -np.inf:
            results[output].append(total + float(arcs.final[state]))
        for dst, label, written, score in leaving[state]:
            step = output if written == 0 else (*output, written)
            if label == epsilon:
                stack.append((dst, position, step, total + score))
            elif position < len(labels) and label == labels[position]:
                stack.append((dst, position + 1, step, total + score))
    return dict(results)


def collapse(labels: Sequence[int], blank: int = 0) -> tuple[int, ...]:
    """CTC's B: merge equal neighbours, then drop blanks (Graves et al. 2006, section 3.1)."""
    merged = [b for a, b in zip([None, *labels], labels, strict=False) if a != b]
    return tuple(label for label in merged if label != blank)
