"""Token passing through H∘L∘G in plain Python: Kaldi's LatticeFasterDecoder, by its definition."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.search import SearchOptions

Scores = dict[int, float]
INF = float("inf")


def search(
    fst: PackedFst, frames: npt.NDArray[np.float32], options: SearchOptions
) -> tuple[list[float], dict[tuple[int, int], float]]:
    """Cutoffs of all frames, and the best path through each frame and label.

    The score of the best path is that of the key ``(-1, -1)``. What lies below the cutoff of its
    frame is dropped; hence nothing depends on the order of tokens.
    """
    emitting = arcs_by_state(fst, "first", fst.arcs)
    silent = arcs_by_state(fst, "eps_first", fst.eps_arcs)
    tokens, cutoffs, links = [closed(silent, {0: 0.0}, -options.search_beam)], [], []
    for frame in frames:
        cutoff, beam = get_cutoff(sorted(tokens[-1].values(), reverse=True), options)
        taken = [
            (state, int(arc["dst"]), int(arc["label"]), float(arc["score"]))
            for state, score in tokens[-1].items()
            if score >= cutoff
            for arc in emitting[state]
        ]
        # In the order of the search's additions, or ties would be broken otherwise.
        reached = [tokens[-1][state] + s + float(frame[label]) for state, _, label, s in taken]
        next_cutoff = max(reached, default=-INF) - beam
        cutoffs.append(next_cutoff)
        links.append([])
        entered: Scores = {}
        for (state, dst, label, added), score in zip(taken, reached, strict=True):
            if score >= next_cutoff:
                links[-1].append((state, dst, label, added + float(frame[label])))
                entered[dst] = max(entered.get(dst, -INF), score)
        tokens.append(closed(silent, entered, next_cutoff))
    beta = {state: float(fst.final[state]) for state in tokens[-1]}
    backward_closed(silent, beta, tokens[-1], cutoffs[-1])
    through = {(-1, -1): max((tokens[-1][state] + beta[state] for state in beta), default=-INF)}
    for t in range(len(frames) - 1, -1, -1):
        before = dict.fromkeys(tokens[t], -INF)
        for state, dst, label, added in links[t]:
            score = added + beta[dst]
            before[state] = max(before[state], score)
            best = through.get((t, label), -INF)
            through[t, label] = max(best, tokens[t][state] + score)
        backward_closed(silent, before, tokens[t], cutoffs[t - 1] if t else -options.search_beam)
        beta = before
    return cutoffs, through


def arcs_by_state(fst: PackedFst, name: str, arcs: Any) -> list[Any]:
    """The arcs of every state."""
    splits = fst.states[name]
    return [arcs[begin:end] for begin, end in pairwise(splits)]


def get_cutoff(scores: list[float], options: SearchOptions) -> tuple[float, float]:
    """Cutoff and beam of scores in falling order, as Kaldi's function of this name."""
    if len(scores) <= options.min_active:
        return -INF, INF
    within = sum(score >= scores[0] - options.search_beam for score in scores)
    if options.min_active < within <= options.max_active:
        return scores[0] - options.search_beam, options.search_beam
    cutoff = scores[options.max_active if within > options.max_active else options.min_active]
    return cutoff, scores[0] - cutoff + 0.5


def closed(silent: list[Any], tokens: Scores, cutoff: float) -> Scores:
    """Tokens and what they reach over ε-arcs, not below a cutoff."""
    tokens, rises = dict(tokens), True
    while rises:
        rises = False
        for state in list(tokens):
            for arc in silent[state]:
                score, dst = tokens[state] + float(arc["score"]), int(arc["dst"])
                if score >= cutoff and score > tokens.get(dst, -INF):
                    tokens[dst], rises = score, True
    return tokens


def backward_closed(silent: list[Any], beta: Scores, tokens: Scores, cutoff: float) -> None:
    """Raise scores to the end to those of paths that begin with ε-arcs not below a cutoff."""
    rises = True
    while rises:
        rises = False
        for state in beta:
            for arc in silent[state]:
                score = float(arc["score"]) + beta.get(int(arc["dst"]), -INF)
                if score > beta[state] and tokens[state] + float(arc["score"]) >= cutoff:
                    beta[state], rises = score, True
