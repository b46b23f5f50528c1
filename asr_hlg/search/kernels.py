"""Token passing through L∘G with the CTC topology implicit, compiled with numba.

Two kinds of tokens stand for all states of H∘(L∘G):

moving   (s, x) has just read token x into state s of L∘G; there is a new one every frame.
resting  s has read a blank since. Its score falls by the blank's alone, the same for all resting
         tokens, so with scores counted relative to a path of nothing but blanks it does not change
         at all: one entry stands for the token in every frame from when it came to rest until it
         is dropped, and a frame costs it one comparison.

    moving (s, x) ──x──▸ (s, x)              the same token goes on
                  ──blank──▸ resting s, and resting u for every ε-arc s → u
                  ──y──▸ moving (d, y)       along arcs s ─y▸ d, or s ─ε▸ u ─y▸ d; y ≠ x
    resting s     ──y──▸ moving (d, y)       along arcs s ─y▸ d

Whatever lies within the beams is written down: *hops* into moving tokens, and *rests*, from which
:func:`asr_hlg.search.lattices.build` makes the lattice.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from asr_hlg.search.prefetch import prefetch

REPEAT = -1
"""In place of an arc: the hop goes on with the same token."""

NOTHING = -1
"""In place of an ε-arc: none."""

FULL = -1
"""The search's answer when its workspace is too small."""


HASH = (1 << 12) - 1
"""Bits of a state's number by which its tokens are found: lists stay short, and in the cache."""

# Numbers that index something are unsigned: numba would ask of all others if they count from the
# end.

TOKEN = np.dtype([("state", "u4"), ("label", "u4"), ("next", "i4"), ("score", "f8")], align=True)
"""A moving token; ``next`` is the one before it in its list."""

HOP = np.dtype(
    [("src", "i4"), ("dst", "u4"), ("eps", "i4"), ("arc", "i4"), ("score", "f8")], align=True
)
"""Into a moving token, from a moving one or from a resting token r as ``-1 - r``; score there."""

REST = np.dtype([("src", "u4"), ("dst", "u4"), ("eps", "i4")], align=True)
"""From a moving token to a resting one."""

RESTING = np.dtype(
    [
        ("state", "u4"),
        ("next", "i4"),
        ("id", "u4"),
        ("landed", "u4"),
        ("score", "f8"),
        ("alive", "f8"),
    ],
    align=True,
)
"""A resting token: whether it was entered without an ε-arc, and the best score of the tokens that
came here, before ε-arcs."""

WORK = np.dtype(
    [("state", "u4"), ("own", "u4"), ("src", "i4"), ("eps", "i4"), ("score", "f8")], align=True
)
"""A state to leave: by which label not, and what its hops come from."""


@njit(nogil=True, cache=True)
def _heads(tokens, token, begin, end, state):
    """Whether a token is one of ``begin`` to ``end - 1``, and in the same list as a state's."""
    return begin <= token < end and (tokens[token].state ^ state) & HASH == 0


@njit(nogil=True, cache=True)
def pass_tokens(
    states, arcs, eps_arcs, acoustics, options, heads, tokens, hops, rests, resting, work, splits
):
    """Search one utterance; see the module's text.

    Parameters
    ----------
    states, arcs, eps_arcs : np.ndarray
        Of :class:`asr_hlg.graph.packed.PackedLg`.
    acoustics : np.ndarray
        float32 ``(num_frames, num_tokens)``, scaled; column 0 is the blank.
    options : tuple of float
        search_beam, output_beam, min_active, max_active.
    heads : np.ndarray
        int32 ``(2, HASH + 1)``, for moving and resting tokens: the last one in a list of those
        whose states have the same lowest bits. What they hold to begin with does not matter:
        an entry counts only if a token of this frame is there, and belongs in that list.
    tokens, hops, rests, resting, work : np.ndarray
        Room for records of what is found: `TOKEN`, `HOP`, `REST`, `RESTING` (those alive) and
        `WORK`, as many of each.
    splits : np.ndarray
        int64 ``(num_frames + 2, 3)``, written: frame t has the moving tokens
        ``splits[t, 0]:splits[t + 1, 0]``, and from there hops ``splits[t, 1]:splits[t + 1, 1]``
        and rests ``splits[t, 2]:splits[t + 1, 2]`` lead to frame t + 1.

    Returns
    -------
    num_resting : int
        Resting tokens that are alive at the end, at the head of ``resting``; FULL where the
        workspace was too small.
    num_born : int
        Resting tokens that there ever were.
    """
    search_beam, output_beam, min_active, max_active = options
    moving_head, resting_head = heads
    num_frames, num_labels = acoustics.shape
    room = len(tokens)
    gain = np.empty(num_labels)
    beam = search_beam
    worst = -np.inf
    # The start counts as a token of label 0, which no arc repeats.
    tokens[0].state, tokens[0].label, tokens[0].next, tokens[0].score = 0, 0, -1, 0.0
    num_tokens = 1
    num_hops = num_rests = num_resting = num_born = 0
    splits[0] = 0
    splits[1, 0] = 1
    for t in range(num_frames):
        begin, end = splits[t, 0], splits[t + 1, 0]
        # Everything is counted relative to the blank's score.
        blank = acoustics[t, 0]
        gain[0] = -np.inf
        loudest = -np.inf
        for x in range(1, num_labels):
            gain[x] = acoustics[t, x] - blank
            loudest = max(loudest, gain[x])

        # The best token, from which the frame's best score is estimated: the closer, the less is
        # kept in vain.
        best = -np.inf
        source, own = np.uint32(0), np.uint32(0)
        active = i = 0
        while i < num_resting:
            if resting[i].alive < worst:
                num_resting -= 1
                resting[i] = resting[num_resting]
                continue
            active += resting[i].landed
            if resting[i].score > best:
                best, source = resting[i].score, resting[i].state
            i += 1
        for token in range(begin, end):
            active += tokens[token].score >= worst
            if tokens[token].score > best:
                best, source, own = tokens[token].score, tokens[token].state, tokens[token].label
        # As in k2: too many tokens narrow the beam, too few widen it, else it recovers.
        if active > max_active:
            beam = 0.8 * min(beam, search_beam)
        elif active < min_active:
            beam = 1.25 * max(beam, search_beam)
        else:
            beam = 0.8 * beam + 0.2 * search_beam
        floor = worst
        top = max(best, best + gain[own])
        for arc in range(states[source].first, states[source + 1].first):
            if arcs[arc].label != own:
                top = max(top, best + gain[arcs[arc].label] + arcs[arc].score)
        worst = top - beam

        # Which states to leave, and from what score; the tokens that go on come first, so that
        # each is new to the next frame.
        num_work = 0
        if num_tokens + (end - begin) > room or num_hops + (end - begin) > room:
            return FULL, 0
        for token in range(begin, end):
            state, own, score = tokens[token].state, tokens[token].label, tokens[token].score
            if score < floor:
                continue
            eps_first, eps_last = states[state].eps_first, states[state + 1].eps_first
            if num_work + 1 + eps_last - eps_first > room:
                return FULL, 0
            going_on = score + gain[own]
            if going_on >= worst:
                head = moving_head[state & HASH]
                if not _heads(tokens, head, end, num_tokens, state):
                    head = -1
                moving_head[state & HASH] = num_tokens
                new, hop = tokens[num_tokens], hops[num_hops]
                new.state, new.label, new.next, new.score = state, own, head, going_on
                hop.src, hop.dst, hop.eps, hop.arc = token, num_tokens, NOTHING, REPEAT
                hop.score = going_on
                num_tokens += 1
                num_hops += 1
                if going_on > top:
                    top = going_on
                    worst = top - beam
            if score + loudest + states[state].reach >= worst:
                prefetch(arcs, states[state].first)
                item = work[num_work]
                item.state, item.own, item.src, item.eps = state, own, token, NOTHING
                item.score = score
                num_work += 1
            for arc in range(eps_first, eps_last):
                behind = score + eps_arcs[arc].score
                target = eps_arcs[arc].dst
                if behind + loudest + states[target].reach >= worst:
                    prefetch(arcs, states[target].first)
                    item = work[num_work]
                    item.state, item.own, item.src, item.eps = target, own, token, arc
                    item.score = behind
                    num_work += 1
        if num_work + num_resting > room:
            return FULL, 0
        for i in range(num_resting):
            rest = resting[i]
            if rest.score + loudest + states[rest.state].reach >= worst:
                item = work[num_work]
                item.state, item.own, item.src, item.eps = rest.state, 0, -1 - rest.id, NOTHING
                item.score = rest.score
                num_work += 1

        for i in range(num_work):
            item = work[i]
            state, own, before = item.state, item.own, item.score
            # Arcs come by score: behind one that is out of reach, so are all.
            too_little = worst - before - loudest
            for arc in range(states[state].first, states[state + 1].first):
                if arcs[arc].score < too_little:
                    break
                label = arcs[arc].label
                score = before + gain[label] + arcs[arc].score
                if score < worst or label == own:
                    continue
                if num_tokens == room or num_hops == room:
                    return FULL, 0
                target = arcs[arc].dst
                head = moving_head[target & HASH]
                if not _heads(tokens, head, end, num_tokens, target):
                    head = -1
                token = head
                while token >= 0 and (
                    tokens[token].state != target or tokens[token].label != label
                ):
                    token = tokens[token].next
                if token < 0:
                    prefetch(states, target)
                    token = num_tokens
                    num_tokens += 1
                    new = tokens[token]
                    new.state, new.label, new.next, new.score = target, label, head, score
                    moving_head[target & HASH] = token
                elif score > tokens[token].score:
                    tokens[token].score = score
                elif score < tokens[token].score - output_beam:
                    continue  # as far behind any path through the token as through here
                hop = hops[num_hops]
                hop.src, hop.dst, hop.eps, hop.arc = item.src, token, item.eps, arc
                hop.score = score
                num_hops += 1
                if score > top:
                    top = score
                    worst = top - beam

        # Lists of resting tokens, in frames in which another may come to rest.
        for i in range(num_resting if end > begin else 0):
            state = resting[i].state
            head = resting_head[state & HASH]
            resting[i].next = head if _heads(resting, head, 0, i, state) else -1
            resting_head[state & HASH] = i
        for token in range(begin, end):
            state, alive = tokens[token].state, tokens[token].score
            if alive < max(worst, floor):
                continue
            eps_first, eps_last = states[state].eps_first, states[state + 1].eps_first
            if max(num_rests, num_resting) + 1 + eps_last - eps_first > room:
                return FULL, 0
            for arc in range(np.int64(eps_first) - 1, np.int64(eps_last)):
                eps, target, score = NOTHING, state, alive
                if arc >= eps_first:
                    eps, target, score = arc, eps_arcs[arc].dst, alive + eps_arcs[arc].score
                head = resting_head[target & HASH]
                if not _heads(resting, head, 0, num_resting, target):
                    head = -1
                i = head
                while i >= 0 and resting[i].state != target:
                    i = resting[i].next
                if i < 0:
                    i = num_resting
                    num_resting += 1
                    new = resting[i]
                    new.state, new.next, new.id, new.landed = target, head, num_born, 0
                    new.score, new.alive = score, alive
                    resting_head[target & HASH] = i
                    num_born += 1
                here = resting[i]
                here.score = max(here.score, score)
                here.alive = max(here.alive, alive)
                if eps == NOTHING:
                    here.landed = 1
                rest = rests[num_rests]
                rest.src, rest.dst, rest.eps = token, here.id, eps
                num_rests += 1
        splits[t + 2, 0] = num_tokens
        splits[t + 1, 1] = num_hops
        splits[t + 1, 2] = num_rests
    return num_resting, num_born
