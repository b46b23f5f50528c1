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

REPEAT = -1
"""In place of an arc: the hop goes on with the same token."""

NOTHING = -1
"""In place of an ε-arc: none."""

FULL = -1
"""The search's answer when its workspace is too small."""


HASH = (1 << 12) - 1
"""Bits of a state's number by which its tokens are found: lists stay short, and in the cache."""


@njit(nogil=True, cache=True)
def _heads(token_state, token, begin, end, state):
    """Whether a token is one of ``begin`` to ``end - 1``, and in the same list as a state's."""
    return begin <= token < end and (token_state[token] ^ state) & HASH == 0


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
    heads : tuple of np.ndarray
        Two int32 ``(HASH + 1,)``, for moving and resting tokens: the last one in a list of those
        whose states have the same lowest bits. What they hold to begin with does not matter:
        an entry counts only if a token of this frame is there, and belongs in that list.
    tokens, hops, rests, resting, work : tuples of np.ndarray
        Room for what is found; see :class:`asr_hlg.search.token_passing.Workspace`.
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
    token_state, token_label, token_next, token_reach, token_score = tokens
    hop_src, hop_dst, hop_eps, hop_arc, hop_score = hops
    rest_src, rest_dst, rest_eps = rests
    rest_state, rest_next, rest_reach, rest_id, rest_landed, rest_score, rest_alive = resting
    work_state, work_own, work_src, work_eps, work_score = work
    num_frames, num_labels = acoustics.shape
    room = len(token_state)
    gain = np.empty(num_labels)
    beam = search_beam
    worst = -np.inf
    # The start counts as a token of label 0, which no arc repeats.
    token_state[0], token_label[0], token_next[0], token_score[0] = 0, 0, -1, 0.0
    token_reach[0] = states[0].reach
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
        source, own = 0, 0
        active = i = 0
        while i < num_resting:
            if rest_alive[i] < worst:
                num_resting -= 1
                rest_state[i] = rest_state[num_resting]
                rest_reach[i] = rest_reach[num_resting]
                rest_id[i] = rest_id[num_resting]
                rest_landed[i] = rest_landed[num_resting]
                rest_score[i] = rest_score[num_resting]
                rest_alive[i] = rest_alive[num_resting]
                continue
            active += rest_landed[i]
            if rest_score[i] > best:
                best, source = rest_score[i], rest_state[i]
            i += 1
        for token in range(begin, end):
            active += token_score[token] >= worst
            if token_score[token] > best:
                best, source, own = token_score[token], token_state[token], token_label[token]
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
            state, own, score = token_state[token], token_label[token], token_score[token]
            if score < floor:
                continue
            if num_work + 1 + states[state + 1].eps_first - states[state].eps_first > room:
                return FULL, 0
            going_on = score + gain[own]
            if going_on >= worst:
                head = moving_head[state & HASH]
                token_state[num_tokens] = state
                token_label[num_tokens] = own
                token_next[num_tokens] = (
                    head if _heads(token_state, head, end, num_tokens, state) else -1
                )
                token_reach[num_tokens] = token_reach[token]
                token_score[num_tokens] = going_on
                moving_head[state & HASH] = num_tokens
                hop_src[num_hops] = token
                hop_dst[num_hops] = num_tokens
                hop_eps[num_hops] = NOTHING
                hop_arc[num_hops] = REPEAT
                hop_score[num_hops] = going_on
                num_tokens += 1
                num_hops += 1
                if going_on > top:
                    top = going_on
                    worst = top - beam
            if score + loudest + token_reach[token] >= worst:
                work_state[num_work] = state
                work_own[num_work] = own
                work_src[num_work] = token
                work_eps[num_work] = NOTHING
                work_score[num_work] = score
                num_work += 1
            for arc in range(states[state].eps_first, states[state + 1].eps_first):
                behind = score + eps_arcs[arc].score
                target = eps_arcs[arc].dst
                if behind + loudest + states[target].reach >= worst:
                    work_state[num_work] = target
                    work_own[num_work] = own
                    work_src[num_work] = token
                    work_eps[num_work] = arc
                    work_score[num_work] = behind
                    num_work += 1
        if num_work + num_resting > room:
            return FULL, 0
        for i in range(num_resting):
            score = rest_score[i]
            if score + loudest + rest_reach[i] >= worst:
                work_state[num_work] = rest_state[i]
                work_own[num_work] = 0
                work_src[num_work] = -1 - rest_id[i]
                work_eps[num_work] = NOTHING
                work_score[num_work] = score
                num_work += 1

        for item in range(num_work):
            state, own, before = work_state[item], work_own[item], work_score[item]
            for arc in range(states[state].first, states[state + 1].first):
                label = arcs[arc].label
                score = before + gain[label] + arcs[arc].score
                if score < worst or label == own:
                    continue
                if num_tokens == room or num_hops == room:
                    return FULL, 0
                target = arcs[arc].dst
                head = moving_head[target & HASH]
                if not _heads(token_state, head, end, num_tokens, target):
                    head = -1
                token = head
                while token >= 0 and (token_state[token] != target or token_label[token] != label):
                    token = token_next[token]
                if token < 0:
                    token = num_tokens
                    num_tokens += 1
                    token_state[token] = target
                    token_label[token] = label
                    token_next[token] = head
                    # Asked for now, the state is here when the next frame needs it.
                    token_reach[token] = states[target].reach
                    token_score[token] = score
                    moving_head[target & HASH] = token
                elif score > token_score[token]:
                    token_score[token] = score
                elif score < token_score[token] - output_beam:
                    continue  # as far behind any path through the token as through here
                hop_src[num_hops] = work_src[item]
                hop_dst[num_hops] = token
                hop_eps[num_hops] = work_eps[item]
                hop_arc[num_hops] = arc
                hop_score[num_hops] = score
                num_hops += 1
                if score > top:
                    top = score
                    worst = top - beam

        # Lists of resting tokens, in frames in which another may come to rest.
        for i in range(num_resting if end > begin else 0):
            head = resting_head[rest_state[i] & HASH]
            rest_next[i] = head if _heads(rest_state, head, 0, i, rest_state[i]) else -1
            resting_head[rest_state[i] & HASH] = i
        for token in range(begin, end):
            state = token_state[token]
            if token_score[token] < max(worst, floor):
                continue
            eps_first, eps_last = states[state].eps_first, states[state + 1].eps_first
            if max(num_rests, num_resting) + 1 + eps_last - eps_first > room:
                return FULL, 0
            for arc in range(eps_first - 1, eps_last):
                eps, target, score = NOTHING, state, token_score[token]
                if arc >= eps_first:
                    eps, target, score = arc, eps_arcs[arc].dst, score + eps_arcs[arc].score
                head = resting_head[target & HASH]
                if not _heads(rest_state, head, 0, num_resting, target):
                    head = -1
                i = head
                while i >= 0 and rest_state[i] != target:
                    i = rest_next[i]
                if i < 0:
                    i = num_resting
                    rest_next[i] = head
                    num_resting += 1
                    rest_state[i] = target
                    rest_reach[i] = states[target].reach
                    rest_id[i] = num_born
                    rest_score[i] = score
                    rest_landed[i] = 0
                    rest_alive[i] = token_score[token]
                    resting_head[target & HASH] = i
                    num_born += 1
                rest_score[i] = max(rest_score[i], score)
                rest_alive[i] = max(rest_alive[i], token_score[token])
                if arc < eps_first:
                    rest_landed[i] = 1
                rest_src[num_rests] = token
                rest_dst[num_rests] = rest_id[i]
                rest_eps[num_rests] = eps
                num_rests += 1
        splits[t + 2, 0] = num_tokens
        splits[t + 1, 1] = num_hops
        splits[t + 1, 2] = num_rests
    return num_resting, num_born
