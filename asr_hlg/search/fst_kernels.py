"""Token passing through an automaton with explicit labels and ε-arcs, compiled with numba.

The algorithm is that of Kaldi's ``LatticeFasterDecoder``: in every frame, tokens within the beam
follow the arcs that read a label (:func:`_process_emitting`), then ε-arcs until no score rises
(:func:`_process_nonemitting`). Forward links record which token led to which;
:func:`asr_hlg.search.fst_lattices.build` makes the lattice from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.search.fst_records import FstArrays, FstWorkspace, Index, Structs, is_composed
from asr_hlg.search.prefetch import prefetch
from asr_hlg.search.records import HASH, Limits, Scores, in_bucket

FULL = -1
"""Returned in place of a count when the workspace is too small."""

FULL_GRAPH = -3
"""Returned in place of a count when a composition has no room for the states of a frame."""

ENDLESS = -2
"""Returned in place of a count when a cycle of ε-arcs raises the score of a path."""

Doubles = npt.NDArray[np.float64]

_MAX_ROUNDS = 1000
"""ε-arcs followed in a frame, as a multiple of its tokens, before a cycle is suspected."""


@njit(nogil=True, cache=True)
def pass_tokens(
    graph: FstArrays,
    acoustics: Scores,
    limits: Limits,
    work: FstWorkspace,
    frames: Structs,
    position: Structs,
    has_blank: bool,
) -> Index:
    """Search the next frames of one utterance; record their tokens and links in the workspace.

    Parameters
    ----------
    graph : FstArrays
    acoustics : np.ndarray
        float32 ``(num_frames, num_columns)``, scaled.
    limits : tuple of float
        search_beam, output_beam, min_active, max_active.
    work : FstWorkspace
    frames : np.ndarray
        `FRAME` records, two more than frames with those to come.
    position : np.ndarray
        One `POSITION` record: zeros for the start, or that of the call before; it is updated.
    has_blank : bool
        Whether column 0 is the blank; its arcs then come first in every state.

    Returns
    -------
    num_tokens : int
        All tokens; `FULL` where the workspace is too small, `FULL_GRAPH` where the graph is,
        `ENDLESS` for an ε-cycle. Then ``position`` is that of the last frame before.
    """
    first, num_frames = position[0].frame, position[0].frame + len(acoustics)
    num_tokens, num_links = position[0].num_tokens, position[0].num_links
    scores = np.empty(1024)
    if num_tokens == 0:
        work.tokens[0].state, work.tokens[0].next, work.tokens[0].score = 0, -1, 0.0
        work.buckets[0] = 0
        num_tokens = _process_nonemitting(graph, work, frames, 0, 1, -limits[0], limits)
        _record(frames, position, 0, num_tokens, 0)
    for t in range(first, num_frames):
        if num_tokens < 0:
            break
        frames[t + 1].token = num_tokens
        begin = frames[t].token
        if num_tokens - begin > len(scores):
            scores = np.empty(2 * (num_tokens - begin))
        cutoff, beam, best = _cutoff(work.tokens, begin, num_tokens, scores, limits)
        num_tokens, num_links, cutoff = _process_emitting(
            graph,
            acoustics[t - first],
            work,
            (begin, num_tokens, num_links),
            (cutoff, beam, best),
            limits[1],
            has_blank,
        )
        frames[t + 1].link = num_links
        if num_tokens >= 0:
            num_tokens = _process_nonemitting(
                graph, work, frames, t + 1, num_tokens, cutoff, limits
            )
        _record(frames, position, t + 1, num_tokens, num_links)
    return num_tokens


@njit(nogil=True, cache=True)
def _record(
    frames: Structs, position: Structs, frame: Index, num_tokens: Index, num_links: Index
) -> None:
    """Record that a frame has been searched, unless a negative number of tokens says otherwise."""
    if num_tokens >= 0:
        frames[frame + 1].token, frames[frame + 1].link = num_tokens, num_links
        position[0].frame = frame
        position[0].num_tokens, position[0].num_links = num_tokens, num_links


@njit(nogil=True, cache=True)
def _cutoff(
    tokens: Structs, begin: Index, end: Index, scores: Doubles, limits: Limits
) -> tuple[float, float, Index]:
    """The score below which tokens are pruned, the beam that this means, and the best token.

    The beam, narrowed to ``max_active`` tokens or widened to ``min_active``; Kaldi's ``GetCutoff``.
    """
    search_beam, _, min_active, max_active = limits
    best, best_token = -np.inf, begin
    for token in range(begin, end):
        if tokens[token].score > best:
            best, best_token = tokens[token].score, token
    if end - begin <= min_active:
        return -np.inf, np.inf, best_token
    cutoff = best - search_beam
    within = 0
    for token in range(begin, end):
        within += tokens[token].score >= cutoff
    if min_active < within <= max_active:
        return cutoff, search_beam, best_token
    # Only the scores on the side of the cutoff where the new one must be.
    narrow, count = within > max_active, 0
    for token in range(begin, end):
        scores[count] = tokens[token].score
        count += (tokens[token].score >= cutoff) == narrow
    n = int(max_active) if narrow else int(min_active) - within
    cutoff = _nth_best(scores, count, n)
    return cutoff, best - cutoff + 0.5, best_token


@njit(nogil=True, cache=True)
def _nth_best(scores: Doubles, count: int, n: int) -> Any:
    """The score with n better ones among the first ``count``, by quickselect, which reorders."""
    low, high = 0, count - 1
    while low < high:
        pivot = scores[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while scores[i] > pivot:
                i += 1
            while scores[j] < pivot:
                j -= 1
            if i <= j:
                scores[i], scores[j] = scores[j], scores[i]
                i += 1
                j -= 1
        if n <= j:
            high = j
        elif n >= i:
            low = i
        else:
            break
    return scores[n]


@njit(nogil=True, cache=True)
def _process_emitting(  # noqa: C901 - a hot loop: a function for each link takes time
    graph: FstArrays,
    emission: Scores,
    work: FstWorkspace,
    counts: tuple[Index, Index, Index],
    pruning: tuple[float, float, Index],
    output_beam: float,
    has_blank: bool,
) -> tuple[Index, Index, float]:
    """Follow arcs that read a label from the tokens ``begin`` to ``end - 1``.

    Returns the number of tokens (negative without room), of links, and the next frame's cutoff.
    """
    states, arcs = graph.states, graph.arcs
    tokens, links, buckets = work.tokens, work.links, work.buckets
    begin, end, num_links = counts
    cutoff, beam, best_token = pruning
    capacity = len(tokens)
    best_emission = -np.inf  # but for the blank, which is far above the others in most frames
    for label in range(has_blank, len(emission)):
        best_emission = max(best_emission, emission[label])
    # A lower bound on the best score after the frame: the best among the best token's successors.
    best = -np.inf
    state, score = tokens[best_token].state, tokens[best_token].score
    if not is_composed(graph, state):
        return FULL_GRAPH, 0, 0.0
    for arc in range(states[state].first, states[state + 1].first):
        best = max(best, score + arcs[arc].score + emission[arcs[arc].label])
    next_cutoff = best - beam
    num_tokens = end
    for source in range(begin, end):
        state, before = tokens[source].state, tokens[source].score
        if source + 2 < end:
            prefetch(arcs, states[tokens[source + 2].state].first)
        if before < cutoff:
            continue
        if not is_composed(graph, state):
            return FULL_GRAPH, 0, 0.0
        arc_cutoff = next_cutoff - before - best_emission
        for arc in range(states[state].first, states[state + 1].first):
            if arcs[arc].score < arc_cutoff and arcs[arc].label > 0:
                break  # arcs come in order of their scores, the largest first
            score = before + arcs[arc].score + emission[arcs[arc].label]
            if score < next_cutoff:
                continue
            if num_tokens == capacity or num_links == capacity:
                return FULL, 0, 0.0
            target = arcs[arc].dst
            head = buckets[target & HASH]
            if not in_bucket(tokens, head, end, num_tokens, target):
                head = -1
            token = head
            while token >= 0 and tokens[token].state != target:
                token = tokens[token].next
            if token < 0:
                prefetch(states, target)
                token = num_tokens
                num_tokens += 1
                tokens[token].state, tokens[token].next = target, head
                tokens[token].score = score
                buckets[target & HASH] = token
            elif score > tokens[token].score:
                tokens[token].score = score
            elif score < tokens[token].score - output_beam:
                continue  # every path over this link is as far below the best one of the token
            link = links[num_links]
            link.src, link.dst, link.arc = source, token, arc
            num_links += 1
            if score > best:
                best = score
                next_cutoff = best - beam
    return num_tokens, num_links, next_cutoff


@njit(nogil=True, cache=True)
def _process_nonemitting(  # noqa: C901 - a hot loop: a function for each link takes time
    graph: FstArrays,
    work: FstWorkspace,
    frames: Structs,
    t: int,
    num_tokens: Index,
    cutoff: float,
    limits: Limits,
) -> Index:
    """Follow ε-arcs from the tokens of frame t until no score rises, then record the links.

    Returns the number of tokens; negative without room, or if scores rise without end.
    """
    states, eps_arcs, tokens = graph.states, graph.eps_arcs, work.tokens
    stack, buckets, links = work.stack, work.buckets, work.eps_links
    begin, capacity, depth = frames[t].token, len(tokens), 0
    frames[t + 1].eps_link = num_links = frames[t].eps_link
    for token in range(begin, num_tokens):
        state = tokens[token].state
        if tokens[token].score < cutoff:
            continue
        if not is_composed(graph, state):
            return FULL_GRAPH
        if states[state].eps_first < states[state + 1].eps_first:
            stack[depth] = token
            depth += 1
    if depth == 0:
        return num_tokens
    steps = 0
    while depth > 0:
        depth -= 1
        token = stack[depth]
        state, before = tokens[token].state, tokens[token].score
        for eps in range(states[state].eps_first, states[state + 1].eps_first):
            score, target = before + eps_arcs[eps].score, eps_arcs[eps].dst
            if score < cutoff:
                continue
            head = buckets[target & HASH]
            if not in_bucket(tokens, head, begin, num_tokens, target):
                head = -1
            found = head
            while found >= 0 and tokens[found].state != target:
                found = tokens[found].next
            if found < 0:
                if num_tokens == capacity:
                    return FULL
                found = num_tokens
                num_tokens += 1
                tokens[found].state, tokens[found].next = target, head
                tokens[found].score = score
                buckets[target & HASH] = found
            elif score > tokens[found].score:
                tokens[found].score = score
            else:
                continue
            if not is_composed(graph, target):
                return FULL_GRAPH
            if states[target].eps_first < states[target + 1].eps_first:
                if depth == capacity:
                    return FULL
                stack[depth] = found
                depth += 1
                steps += 1
        if steps > _MAX_ROUNDS * (num_tokens - begin + 1000):
            return ENDLESS
    for token in range(begin, num_tokens):
        state, before = tokens[token].state, tokens[token].score
        if before < cutoff:
            continue
        for eps in range(states[state].eps_first, states[state + 1].eps_first):
            score, target = before + eps_arcs[eps].score, eps_arcs[eps].dst
            if score < cutoff or target == state:
                continue
            found = buckets[target & HASH]
            while tokens[found].state != target:
                found = tokens[found].next
            if score < tokens[found].score - limits[1]:
                continue
            if num_links == capacity:
                return FULL
            link = links[num_links]
            link.src, link.dst, link.arc = token, found, eps
            num_links += 1
    frames[t + 1].eps_link = num_links
    return num_tokens
