"""Kernels that end utterances, and keep the links on paths within the output beam.

From the last frame to the first, as :func:`asr_hlg.search.pruning.prune_links` does for one
utterance. They are written like those of :mod:`asr_hlg.search.fused_kernels`.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from asr_hlg.search.fused_device import atomic_add, atomic_max, num_threads, put_end, thread
from asr_hlg.search.fused_records import BLANKS, ENDS, FIRST, KEPT_LINKS, LATER, TOKENS, Array, Work
from asr_hlg.search.records import NONE, REPEAT, GraphArrays
from asr_hlg.search.tensor_records import BLANK

NEG_INF = float("-inf")

SLACK = 1e-3
"""Added to the output beam, against rounding: the lattices' own pruning is exact."""


@njit(nogil=True, cache=True)
def end_utterances(work: Work) -> None:
    """List the tokens of the utterances that end where the search is."""
    blank_score, blanks, bounds, counts = work.blank_score, work.blanks, work.bounds, work.counts
    end_score, length, ends = work.end_score, work.length, work.ends
    token_score, tokens = work.token_score, work.tokens
    t = work.now[FIRST]
    side = t & 1
    begin, num_labels = bounds[t, 0], bounds[t + 1, 0] - bounds[t, 0]
    capacity = len(blanks) // 2
    num_blanks, old = min(counts[BLANKS + side], capacity), side * capacity
    for i in range(thread(), num_blanks + num_labels, num_threads()):
        if i < num_blanks:
            blank, u = blanks[old + i], blanks[old + i].utterance
            if length[u] == t:
                id = -1 - int(blank.id)
                put_end(counts, ends, end_score, id, blank.state, u, blank_score[old + i])
        else:
            token = begin + i - num_blanks
            u = tokens[token].utterance
            if length[u] == t:
                put_end(counts, ends, end_score, token, tokens[token].state, u, token_score[token])


@njit(nogil=True, cache=True)
def final_scores(graph: GraphArrays, final: Array, work: Work) -> None:
    """Give the last tokens the scores of final states, and find the best path."""
    eps_arcs, states = graph.eps_arcs, graph.states
    for i in range(thread(), work.counts[ENDS], num_threads()):
        state, u = work.ends[i].state, work.ends[i].utterance
        token, beta = work.ends[i].token, float(final[state])
        if token >= 0:
            for eps in range(states[state].eps_first, states[state + 1].eps_first):
                beta = max(beta, eps_arcs[eps].score + final[eps_arcs[eps].dst])
            work.label_beta[token] = beta
        else:
            work.blank_beta[-1 - token] = beta
        atomic_max(work.best_path, u, work.end_score[i] + beta)


@njit(nogil=True, cache=True)
def prune_blank_links(graph: GraphArrays, work: Work, output_beam: float) -> None:
    """Keep links of a frame into blank tokens."""
    best_path, blank_beta, label_beta = work.best_path, work.blank_beta, work.label_beta
    blank_links, bounds, counts, kept = work.blank_links, work.bounds, work.counts, work.kept
    token_score, tokens = work.token_score, work.tokens
    eps_arcs = graph.eps_arcs
    t, num_tokens = work.now[FIRST], counts[TOKENS]
    if thread() == 0:
        work.now[LATER] = t
    for i in range(bounds[t, 2] + thread(), bounds[t + 1, 2], num_threads()):
        link = blank_links[i]
        beta, utterance = blank_beta[link.dst], tokens[link.src].utterance
        if beta == NEG_INF:
            continue
        score = token_score[link.src]
        if link.eps != NONE:
            beta += eps_arcs[link.eps].score
        if score + beta >= best_path[utterance] - output_beam - SLACK:
            atomic_max(label_beta, link.src, beta)
            src, dst = int(link.src), num_tokens + int(link.dst)
            if link.eps != NONE:
                score += eps_arcs[link.eps].score
            keep(counts, kept, utterance, t, src, dst, link.eps, BLANK, score)


@njit(nogil=True, cache=True)
def prune_label_links(graph: GraphArrays, work: Work, output_beam: float) -> None:
    """Keep links of a frame into label tokens."""
    best_path, blank_beta, label_beta = work.best_path, work.blank_beta, work.label_beta
    bounds, counts, kept, link_score = work.bounds, work.counts, work.kept, work.link_score
    links, relative, tokens = work.links, work.relative, work.tokens
    arcs, eps_arcs = graph.arcs, graph.eps_arcs
    t, num_tokens = work.now[LATER], counts[TOKENS]
    if thread() == 0:
        work.now[FIRST] = t - 1
    for i in range(bounds[t, 1] + thread(), bounds[t + 1, 1], num_threads()):
        link, score = links[i], link_score[i]
        beta, utterance = label_beta[link.dst], link.utterance
        if beta == NEG_INF or score + beta < best_path[utterance] - output_beam - SLACK:
            continue
        beta += relative[t, utterance, tokens[link.dst].label]
        if link.arc != REPEAT:
            beta += arcs[link.arc].score
        if link.eps != NONE:
            beta += eps_arcs[link.eps].score
        src = int(link.src)
        if src >= 0:
            atomic_max(label_beta, src, beta)
        else:
            atomic_max(blank_beta, -1 - src, beta)
            src = num_tokens - 1 - src
        keep(counts, kept, utterance, t, src, link.dst, link.eps, link.arc, score)


@njit(nogil=True, cache=True, forceinline=True)
def keep(
    counts: Array,
    kept: Array,
    utterance: Any,
    t: Any,
    src: Any,
    dst: Any,
    eps: Any,
    arc: Any,
    score: float,
) -> None:
    """Append a kept link."""
    link = kept[atomic_add(counts, KEPT_LINKS, 1)]
    link.utterance, link.frame, link.src, link.dst = utterance, t, src, dst
    link.eps, link.arc, link.score = eps, arc, score
