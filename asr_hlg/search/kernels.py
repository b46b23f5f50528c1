"""Token passing through L∘G with the CTC topology H implicit, compiled with numba.

Two kinds of tokens represent all states of H∘(L∘G), as the CTC topology has two kinds of states:

label token (s, x)
    Its last frame read label x and led to state s of L∘G. There are new ones in every frame.
blank token s
    Its last frame read a blank in state s. Scores are relative to a path of nothing but blanks,
    so that reading further blanks changes no blank token's score: one record represents the token
    from its first frame to the frame in which it is pruned, and a frame costs it one comparison.

The arcs of H∘(L∘G) between them::

    label token (s, x) ──x──▸ label token (s, x)      self-loop
                       ──blank──▸ blank token s, and blank token u for every ε-arc s → u
                       ──y──▸ label token (d, y)      for arcs s ─y▸ d, or s ─ε▸ u ─y▸ d; y ≠ x
    blank token s      ──blank──▸ blank token s       self-loop, implicit
                       ──y──▸ label token (d, y)      for arcs s ─y▸ d

Forward links record which token led to which; :func:`asr_hlg.search.lattices.build` makes the
lattice from them. An utterance is searched in one call or, as its frames come, in many: a call
continues where the one before ended.

The steps of :func:`pass_tokens` are functions only where that costs no time. It processes emitting
arcs itself: three functions for them make the search 7 % slower, since each array that is passed to
a function costs some nanoseconds in every frame. No function returns the head of a bucket either,
which costs 15 to 30 %: a predictable branch would become a data dependency.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.search.prefetch import prefetch
from asr_hlg.search.records import (
    HASH,
    NONE,
    POSITION,
    REPEAT,
    GraphArrays,
    Limits,
    Records,
    Scores,
    Workspace,
    in_bucket,
    set_label_token,
    set_link,
    set_source,
)

FULL = -1
"""Returned by :func:`_process_blank_arcs` in place of a count: the workspace is too small."""

Emission = npt.NDArray[np.float64]


@njit(nogil=True, cache=True)
def pass_tokens(  # noqa: C901 - one function, since splitting it costs 7 % of speed
    graph: GraphArrays,
    acoustics: Scores,
    options: Limits,
    work: Workspace,
    frames: Records,
    position: Records,
) -> bool:
    """Search the next frames of one utterance; record their tokens and links in the workspace.

    Parameters
    ----------
    graph : GraphArrays
    acoustics : np.ndarray
        float32 ``(num_frames, num_tokens)``, scaled; column 0 is the blank.
    options : tuple of float
        search_beam, output_beam, min_active, max_active.
    work : Workspace
    frames : np.ndarray
        `FRAME` records, two more than frames with those to come: where each frame's tokens and
        links begin.
    position : np.ndarray
        One `POSITION` record, from :func:`start` or of the call before, which is updated.

    Returns
    -------
    bool
        False where the workspace is too small. Then ``position`` stays as it is, and so do the
        records that it counts, but for the blank tokens.
    """
    output_beam = options[1]
    states, arcs, eps_arcs = graph.states, graph.arcs, graph.eps_arcs
    tokens, links, buckets = work.label_tokens, work.label_links, work.label_buckets
    blank_tokens, sources = work.blank_tokens, work.sources
    num_frames, num_labels = acoustics.shape
    capacity = len(tokens)
    emission = np.empty(num_labels)
    here = position[0]
    first, beam, cutoff = here.frame, here.beam, here.cutoff
    num_tokens, num_links = here.num_tokens, here.num_links
    num_alive, num_blank_tokens = here.num_alive, here.num_blank_tokens
    for t in range(first, first + num_frames):
        begin, end = frames[t].token, frames[t + 1].token
        best_emission = _relative_to_blank(acoustics, t - first, emission)

        # Prune tokens.
        last_cutoff = cutoff
        num_alive, active, best = _prune_tokens(work, begin, end, num_alive, last_cutoff)
        beam = _adapt_beam(beam, active, options)
        best_next = _estimate_best(states, arcs, emission, best)
        cutoff = best_next - beam

        # Process emitting arcs.
        num_sources = 0
        if num_tokens + (end - begin) > capacity or num_links + (end - begin) > capacity:
            return False
        # Self-loops come first, so that each makes a token that is new to the next frame. Meanwhile
        # the states are listed whose arcs may stay above the cutoff: those of label tokens, those
        # that ε-arcs lead to, and those of blank tokens.
        for token in range(begin, end):
            state, own_label, score = tokens[token].state, tokens[token].label, tokens[token].score
            if score < last_cutoff:
                continue
            eps_begin, eps_end = states[state].eps_first, states[state + 1].eps_first
            if num_sources + 1 + eps_end - eps_begin > capacity:
                return False
            repeated = score + emission[own_label]
            if repeated >= cutoff:
                head = buckets[state & HASH]
                if not in_bucket(tokens, head, end, num_tokens, state):
                    head = -1
                buckets[state & HASH] = num_tokens
                set_label_token(tokens, num_tokens, state, own_label, head, repeated)
                set_link(links, num_links, token, num_tokens, NONE, REPEAT, repeated)
                num_tokens += 1
                num_links += 1
                if repeated > best_next:
                    best_next = repeated
                    cutoff = best_next - beam
            if score + best_emission + states[state].reach >= cutoff:
                prefetch(arcs, states[state].first)
                set_source(sources, num_sources, state, own_label, token, NONE, score)
                num_sources += 1
            for eps in range(eps_begin, eps_end):
                eps_score, target = score + eps_arcs[eps].score, eps_arcs[eps].dst
                if eps_score + best_emission + states[target].reach >= cutoff:
                    prefetch(arcs, states[target].first)
                    set_source(sources, num_sources, target, own_label, token, eps, eps_score)
                    num_sources += 1
        if num_sources + num_alive > capacity:
            return False
        for i in range(num_alive):
            blank = blank_tokens[i]
            if blank.score + best_emission + states[blank.state].reach >= cutoff:
                set_source(sources, num_sources, blank.state, 0, -1 - blank.id, NONE, blank.score)
                num_sources += 1
        for i in range(num_sources):
            source = sources[i]
            state, own_label, before = source.state, source.label, source.score
            arc_cutoff = cutoff - before - best_emission
            for arc in range(states[state].first, states[state + 1].first):
                if arcs[arc].score < arc_cutoff:
                    break  # arcs come in order of their scores, the largest first
                read, target = arcs[arc].label, arcs[arc].dst
                score = before + emission[read] + arcs[arc].score
                if score < cutoff or read == own_label:
                    continue
                if num_tokens == capacity or num_links == capacity:
                    return False
                head = buckets[target & HASH]
                if not in_bucket(tokens, head, end, num_tokens, target):
                    head = -1
                token = head
                while token >= 0 and (tokens[token].state != target or tokens[token].label != read):
                    token = tokens[token].next
                if token < 0:
                    prefetch(states, target)
                    token = num_tokens
                    num_tokens += 1
                    set_label_token(tokens, token, target, read, head, score)
                    buckets[target & HASH] = token
                elif score > tokens[token].score:
                    tokens[token].score = score
                elif score < tokens[token].score - output_beam:
                    continue  # every path over this link is as far below the best one of the token
                set_link(links, num_links, source.src, token, source.eps, arc, score)
                num_links += 1
                if score > best_next:
                    best_next = score
                    cutoff = best_next - beam
        frames[t + 2].token, frames[t + 1].link = num_tokens, num_links

        # Process blank arcs.
        num_alive, num_blank_tokens = _process_blank_arcs(
            graph, work, frames, t, max(cutoff, last_cutoff), num_alive, num_blank_tokens
        )
        if num_alive == FULL:
            return False
    here.frame, here.beam, here.cutoff = first + num_frames, beam, cutoff
    here.num_tokens, here.num_links = num_tokens, num_links
    here.num_alive, here.num_blank_tokens = num_alive, num_blank_tokens
    return True


def start(tokens: Records, frames: Records, search_beam: float) -> Records:
    """Write the token of the start; returns the `POSITION` before the first frame.

    It is a token of label 0, which no arc reads and which is never repeated.
    """
    tokens[0] = (0, 0, -1, 0.0)
    frames[0] = 0
    frames[1] = (1, 0, 0)
    return np.array([(0, 1, 0, 0, 0, search_beam, -np.inf)], dtype=POSITION)


@njit(nogil=True, cache=True, forceinline=True)
def _relative_to_blank(acoustics: Scores, t: int, emission: Emission) -> float:
    """Write each label's score minus the blank's to ``emission``; returns the largest."""
    blank = acoustics[t, 0]
    emission[0] = -np.inf
    best = -np.inf
    for label in range(1, len(emission)):
        emission[label] = acoustics[t, label] - blank
        best = max(best, emission[label])
    return best


@njit(nogil=True, cache=True, forceinline=True)
def _prune_tokens(
    work: Workspace, begin: int, end: int, num_alive: int, cutoff: float
) -> tuple[int, int, tuple[float, Any, Any]]:
    """Prune blank tokens; returns how many are left, active states, and the best token.

    The best token is given as its score, state and label.
    """
    label_tokens, blank_tokens = work.label_tokens, work.blank_tokens
    best, state, label = -np.inf, np.uint32(0), np.uint32(0)
    active = i = 0
    while i < num_alive:
        if blank_tokens[i].entry_score < cutoff:
            num_alive -= 1
            blank_tokens[i] = blank_tokens[num_alive]
            continue
        active += blank_tokens[i].direct
        if blank_tokens[i].score > best:
            best, state = blank_tokens[i].score, blank_tokens[i].state
        i += 1
    for token in range(begin, end):
        active += label_tokens[token].score >= cutoff
        if label_tokens[token].score > best:
            best = label_tokens[token].score
            state, label = label_tokens[token].state, label_tokens[token].label
    return num_alive, active, (best, state, label)


@njit(nogil=True, cache=True)
def _adapt_beam(beam: float, active: int, options: Limits) -> float:
    """As in k2: too many active states narrow the beam, too few widen it, else it recovers."""
    search_beam, _, min_active, max_active = options
    if active > max_active:
        return 0.8 * min(beam, search_beam)
    if active < min_active:
        return 1.25 * max(beam, search_beam)
    return 0.8 * beam + 0.2 * search_beam


@njit(nogil=True, cache=True)
def _estimate_best(
    states: Records, arcs: Records, emission: Emission, best_token: tuple[float, Any, Any]
) -> Any:
    """Lower bound on the best score after a frame: the best among successors of the best token.

    The closer the bound, the fewer tokens are made in vain, as in Kaldi's ``ProcessEmitting``.
    """
    score, state, own_label = best_token
    best = max(score, score + emission[own_label])
    for arc in range(states[state].first, states[state + 1].first):
        if arcs[arc].label != own_label:
            best = max(best, score + emission[arcs[arc].label] + arcs[arc].score)
    return best


@njit(nogil=True, cache=True)
def _process_blank_arcs(  # noqa: C901 - a hot loop: a function for each link takes time
    graph: GraphArrays,
    work: Workspace,
    frames: Records,
    t: int,
    cutoff: float,
    num_alive: int,
    num_blank_tokens: int,
) -> tuple[int, int]:
    """Let label tokens read a blank, and follow their ε-arcs, to blank tokens.

    Returns the number of active blank tokens, FULL without room, and that of ids taken so far.
    """
    states, eps_arcs, tokens = graph.states, graph.eps_arcs, work.label_tokens
    blank_tokens, links, buckets = work.blank_tokens, work.blank_links, work.blank_buckets
    begin, end, num_links = frames[t].token, frames[t + 1].token, frames[t].blank_link
    for i in range(num_alive if end > begin else 0):  # buckets that no token looks up stay unset
        state = blank_tokens[i].state
        head = buckets[state & HASH]
        if not in_bucket(blank_tokens, head, 0, i, state):
            head = -1
        blank_tokens[i].next = head
        buckets[state & HASH] = i
    for token in range(begin, end):
        state, entry_score = tokens[token].state, tokens[token].score
        if entry_score < cutoff:
            continue
        eps_begin, eps_end = (
            np.int64(states[state].eps_first),
            np.int64(states[state + 1].eps_first),
        )
        if max(num_links, num_alive) + 1 + eps_end - eps_begin > len(links):
            return FULL, num_blank_tokens
        for arc in range(eps_begin - 1, eps_end):
            eps, target, score = NONE, state, entry_score
            if arc >= eps_begin:
                eps, target, score = arc, eps_arcs[arc].dst, entry_score + eps_arcs[arc].score
            head = buckets[target & HASH]
            if not in_bucket(blank_tokens, head, 0, num_alive, target):
                head = -1
            i = head
            while i >= 0 and blank_tokens[i].state != target:
                i = blank_tokens[i].next
            if i < 0:
                i = num_alive
                num_alive += 1
                new = blank_tokens[i]
                new.state, new.next, new.id, new.direct = target, head, num_blank_tokens, 0
                new.score, new.entry_score = score, entry_score
                buckets[target & HASH] = i
                num_blank_tokens += 1
            blank_token, link = blank_tokens[i], links[num_links]
            blank_token.score = max(blank_token.score, score)
            blank_token.entry_score = max(blank_token.entry_score, entry_score)
            if eps == NONE:
                blank_token.direct = 1
            link.src, link.dst, link.eps = token, blank_token.id, eps
            num_links += 1
    frames[t + 1].blank_link = num_links
    return num_alive, num_blank_tokens
