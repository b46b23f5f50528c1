"""Kernels that end utterances, and keep the links on paths within the output beam.

From the last frame to the first, as :func:`asr_hlg.search.pruning.prune_links` does for one
utterance. They are written like those of :mod:`asr_hlg.search.fused_kernels`.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from asr_hlg.search.fused_device import atomic_add, atomic_max, num_threads, thread
from asr_hlg.search.fused_records import BLANKS, ENDS, Array, Backward, Now, Work
from asr_hlg.search.records import NONE, REPEAT, GraphArrays
from asr_hlg.search.tensor_records import BLANK

NEG_INF = float("-inf")

SLACK = 1e-3
"""Added to the output beam, against rounding: the lattices' own pruning is exact."""


@njit(nogil=True, cache=True)
def end_utterances(work: Work, now: Now) -> None:
    """List the tokens of the utterances that end before this frame."""
    blank_score, blanks, bounds, counts = work.blank_score, work.blanks, work.bounds, work.counts
    end_score, length, ends = work.end_score, work.length, work.ends
    token_score, tokens = work.token_score, work.tokens
    t, side = now.t, now.side
    begin, num_labels = bounds[t, 0], bounds[t + 1, 0] - bounds[t, 0]
    capacity = len(blanks) // 2
    num_blanks, old = min(counts[BLANKS + side], capacity), side * capacity
    for i in range(thread(), num_blanks + num_labels, num_threads()):
        if i < num_blanks:
            blank = blanks[old + i]
            state, u, token = blank.state, blank.utterance, -1 - int(blank.id)
            score = blank_score[old + i]
        else:
            token = int(begin + i - num_blanks)
            state, u = tokens[token].state, tokens[token].utterance
            score = token_score[token]
        if length[u] == t:
            index = atomic_add(counts, ENDS, 1)
            if index < len(ends):
                end = ends[index]
                end.token, end.state, end.utterance = token, state, u
                end_score[index] = score


@njit(nogil=True, cache=True)
def final_scores(graph: GraphArrays, final: Array, work: Work, backward: Backward) -> None:
    """Give the last tokens the scores of final states, and find the best path."""
    for i in range(thread(), work.counts[ENDS], num_threads()):
        state, u = work.ends[i].state, work.ends[i].utterance
        token, beta = work.ends[i].token, float(final[state])
        if token >= 0:
            for eps in range(graph.states[state].eps_first, graph.states[state + 1].eps_first):
                arc = graph.eps_arcs[eps]
                beta = max(beta, arc.score + final[arc.dst])
            backward.label_beta[token] = beta
        else:
            backward.blank_beta[-1 - token] = beta
        atomic_max(backward.best, u, work.end_score[i] + beta)


@njit(nogil=True, cache=True)
def prune_blank_links(
    graph: GraphArrays, work: Work, backward: Backward, output_beam: float, t: int
) -> None:
    """Keep links of frame t into blank tokens."""
    for i in range(work.bounds[t, 2] + thread(), work.bounds[t + 1, 2], num_threads()):
        link = work.blank_links[i]
        beta, utterance = backward.blank_beta[link.dst], work.tokens[link.src].utterance
        if beta == NEG_INF:
            continue
        score = work.token_score[link.src]
        if link.eps != NONE:
            beta += graph.eps_arcs[link.eps].score
        if score + beta >= backward.best[utterance] - output_beam - SLACK:
            atomic_max(backward.label_beta, link.src, beta)
            dst = len(backward.label_beta) + int(link.dst)
            if link.eps != NONE:
                score += graph.eps_arcs[link.eps].score
            keep(backward, utterance, t, int(link.src), dst, link.eps, BLANK, score)


@njit(nogil=True, cache=True)
def prune_label_links(
    graph: GraphArrays,
    work: Work,
    backward: Backward,
    relative: Array,
    output_beam: float,
    t: int,
) -> None:
    """Keep links of frame t into label tokens; ``relative`` as in `Emissions`, of all frames."""
    for i in range(work.bounds[t, 1] + thread(), work.bounds[t + 1, 1], num_threads()):
        link, score = work.links[i], work.link_score[i]
        beta, utterance = backward.label_beta[link.dst], link.utterance
        if beta == NEG_INF or score + beta < backward.best[utterance] - output_beam - SLACK:
            continue
        beta += relative[utterance, t, work.tokens[link.dst].label]
        if link.arc != REPEAT:
            beta += graph.arcs[link.arc].score
        if link.eps != NONE:
            beta += graph.eps_arcs[link.eps].score
        src = int(link.src)
        if src >= 0:
            atomic_max(backward.label_beta, src, beta)
        else:
            atomic_max(backward.blank_beta, -1 - src, beta)
            src = len(backward.label_beta) - 1 - src
        keep(backward, utterance, t, src, link.dst, link.eps, link.arc, score)


@njit(nogil=True, cache=True, forceinline=True)
def keep(
    backward: Backward,
    utterance: Any,
    t: int,
    src: Any,
    dst: Any,
    eps: Any,
    arc: Any,
    score: float,
) -> None:
    """Append a kept link."""
    index = atomic_add(backward.count, 0, 1)
    kept = backward.kept[index]
    kept.utterance, kept.frame, kept.src, kept.dst = utterance, t, src, dst
    kept.eps, kept.arc, kept.score = eps, arc, score
