"""From what token passing wrote down to a lattice, compiled with numba.

First a sweep from the last frame to the first throws away every hop and rest through which no path
comes within the output beam of the best; most go. What stays becomes states and arcs, one frame
long each, and is trimmed once more by its exact scores in both directions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from asr_hlg.lattice import kernels
from asr_hlg.search.kernels import NOTHING, REPEAT
from asr_hlg.search.prefetch import prefetch

_SLACK = 1e-3
"""Added to the output beam in the first sweep, against rounding; the second is exact."""

_ARC = np.dtype(
    [
        *((name, "i4") for name in ("src", "dst", "label", "phone", "frame", "eps", "arc")),
        ("score", "f8"),
        ("graph_score", "f8"),
    ],
    align=True,
)
"""An arc of the lattice, and which ε-arc and arc of L∘G it is."""


@njit(nogil=True, cache=True)
def build(states, arcs, words, final, eps_arcs, spellings, acoustics, output_beam, found):
    """The lattice of one utterance.

    Parameters
    ----------
    states, arcs, words, final, eps_arcs
        Arrays of :class:`asr_hlg.graph.packed.PackedLg`.
    spellings : tuple of np.ndarray
        Its spellings and spelling_splits.
    acoustics : np.ndarray
        As :func:`asr_hlg.search.kernels.pass_tokens` takes them.
    output_beam : float
    found : tuple
        What ``pass_tokens`` wrote and returned: tokens, hops, rests, resting, splits,
        num_resting, num_born.

    Returns
    -------
    tuple
        The fields of :class:`asr_hlg.lattice.FrameArcs` in order; no arcs where no path reached
        a final state.
    """
    kept = _within_beam(states, arcs, final, eps_arcs, acoustics, output_beam, found)
    made, num_states = _assemble(states, arcs, final, eps_arcs, acoustics, found, kept)
    order = _by_source(made, num_states)
    keep, number, num_states = _trim(made, order, num_states, output_beam)
    src, dst, label, phone, frame = np.empty((5, len(keep)), dtype=np.int32)
    score, graph_score = np.empty((2, len(keep)))
    for i in range(len(keep)):
        prefetch(words, made[keep[i]].arc)
    for i in range(len(keep)):
        arc = made[keep[i]]
        src[i], dst[i] = number[arc.src], number[arc.dst]
        label[i], phone[i], frame[i] = arc.label, arc.phone, arc.frame
        score[i], graph_score[i] = arc.score, arc.graph_score
    said, splits = _words(words, eps_arcs, spellings, made, keep)
    return num_states, src, dst, label, phone, frame, score, graph_score, said, splits


@njit(nogil=True, cache=True)
def _within_beam(states, arcs, final, eps_arcs, acoustics, output_beam, found):
    """The hops, rests and resting tokens at the end that a path near the best goes through."""
    tokens, hops, rests, resting, splits, num_resting, num_born = found
    num_frames = len(acoustics)
    num_tokens = splits[num_frames + 1, 0]
    kept_hops = np.empty(splits[num_frames, 1], dtype=np.uint32)
    kept_rests = np.empty(splits[num_frames, 2], dtype=np.uint32)
    kept_ends = np.empty(num_resting, dtype=np.uint32)
    num_ends = 0
    # Those of hops and rests are filled from the back.
    first_hop, first_rest = len(kept_hops), len(kept_rests)

    # From a token to the end at best; a resting token's is relative to nothing but blanks, so
    # that, as in the search, it changes only where another path leaves it.
    moving_beta = np.full(num_tokens, -np.inf)
    resting_beta = np.full(num_born, -np.inf)
    best = -np.inf
    for token in range(splits[num_frames, 0], num_tokens):
        state = tokens[token].state
        moving_beta[token] = final[state]
        for arc in range(states[state].eps_first, states[state + 1].eps_first):
            beta = eps_arcs[arc].score + final[eps_arcs[arc].dst]
            moving_beta[token] = max(moving_beta[token], beta)
        best = max(best, tokens[token].score + moving_beta[token])
    for i in range(num_resting):
        best = max(best, resting[i].score + final[resting[i].state])
    worst = best - output_beam - _SLACK
    if best == -np.inf:
        return kept_hops[first_hop:], kept_rests[first_rest:], kept_ends[:num_ends]
    for i in range(num_resting):
        beta = final[resting[i].state]
        resting_beta[resting[i].id] = beta
        if resting[i].score + beta >= worst:
            kept_ends[num_ends] = i
            num_ends += 1

    # Everything below is relative to a path of nothing but blanks from first to last frame.
    for t in range(num_frames - 1, -1, -1):
        for i in range(splits[t + 1, 2] - 1, splits[t, 2] - 1, -1):
            rest = rests[i]
            beta = resting_beta[rest.dst]
            if rest.eps != NOTHING:
                beta += eps_arcs[rest.eps].score
            if tokens[rest.src].score + beta >= worst:
                first_rest -= 1
                kept_rests[first_rest] = i
                moving_beta[rest.src] = max(moving_beta[rest.src], beta)
        blank = acoustics[t, 0]
        for i in range(splits[t + 1, 1] - 1, splits[t, 1] - 1, -1):
            hop = hops[i]
            beta = moving_beta[hop.dst]
            if hop.score + beta < worst:
                continue
            first_hop -= 1
            kept_hops[first_hop] = i
            beta += acoustics[t, tokens[hop.dst].label] - blank
            if hop.arc != REPEAT:
                beta += arcs[hop.arc].score
            if hop.eps != NOTHING:
                beta += eps_arcs[hop.eps].score
            if hop.src >= 0:
                moving_beta[hop.src] = max(moving_beta[hop.src], beta)
            else:
                token = -1 - hop.src
                resting_beta[token] = max(resting_beta[token], beta)
    return kept_hops[first_hop:], kept_rests[first_rest:], kept_ends[:num_ends]


@njit(nogil=True, cache=True)
def _assemble(states, arcs, final, eps_arcs, acoustics, found, kept):
    """Arcs of what was kept as `_ARC`, and how many states they have; the last one is the end."""
    tokens, hops, rests, resting, splits, _, num_born = found
    kept_hops, kept_rests, kept_ends = kept
    num_frames = len(acoustics)
    num_tokens, last_moving = splits[num_frames + 1, 0], splits[num_frames, 0]

    # A resting token has a state in every frame from the first rest to the last hop.
    begin = np.full(num_born, num_frames + 1, dtype=np.int32)
    end = np.full(num_born, -1, dtype=np.int32)
    used = np.zeros(num_tokens, dtype=np.bool_)
    used[0] = True
    t = num_frames - 1
    for i in kept_rests[::-1]:
        while splits[t, 2] > i:
            t -= 1
        begin[rests[i].dst] = t + 1
    t = 0
    for i in kept_hops:
        while splits[t + 1, 1] <= i:
            t += 1
        used[hops[i].dst] = True
        if hops[i].src < 0:
            end[-1 - hops[i].src] = t
    for i in kept_ends:
        end[resting[i].id] = num_frames

    # States are numbered frame by frame, moving tokens first.
    resting_first = np.zeros(num_born + 1, dtype=np.int64)
    per_frame = np.zeros(num_frames + 2, dtype=np.int64)
    for token in range(num_born):
        for t in range(begin[token], end[token] + 1):
            per_frame[t + 1] += 1
        span = max(0, end[token] + 1 - begin[token])
        resting_first[token + 1] = resting_first[token] + span
    moving_number = np.empty(num_tokens, dtype=np.int32)
    number = 0
    for t in range(num_frames + 1):
        for token in range(splits[t, 0], splits[t + 1, 0]):
            moving_number[token] = number
            number += used[token]
        per_frame[t + 1] += number
        number, per_frame[t] = per_frame[t + 1], number
    num_states = number + 1
    resting_number = np.empty(resting_first[num_born], dtype=np.int32)
    for token in range(num_born):
        for t in range(begin[token], end[token] + 1):
            resting_number[resting_first[token] + t - begin[token]] = per_frame[t]
            per_frame[t] += 1

    room = len(kept_rests) + len(kept_hops) + len(resting_number) + len(kept_ends)
    for token in range(last_moving, num_tokens):
        state = tokens[token].state
        room += 1 + states[state + 1].eps_first - states[state].eps_first
    made = np.empty(room, dtype=_ARC)
    n = t = 0
    for i in kept_rests:
        while splits[t + 1, 2] <= i:
            t += 1
        rest = rests[i]
        if end[rest.dst] > t:
            source = moving_number[rest.src]
            target = resting_number[resting_first[rest.dst] + t + 1 - begin[rest.dst]]
            graph = 0.0 if rest.eps == NOTHING else eps_arcs[rest.eps].score
            n = _put(made, n, source, target, 0, 0, t, rest.eps, NOTHING, graph)
    t = 0
    for i in kept_hops:
        while splits[t + 1, 1] <= i:
            t += 1
        hop = hops[i]
        if hop.src >= 0:
            source = moving_number[hop.src]
        else:
            token = -1 - hop.src
            if begin[token] > t:
                continue
            source = resting_number[resting_first[token] + t - begin[token]]
        read = tokens[hop.dst].label
        target = moving_number[hop.dst]
        if hop.arc == REPEAT:
            n = _put(made, n, source, target, read, 0, t, NOTHING, NOTHING, 0.0)
            continue
        graph = np.float64(arcs[hop.arc].score)
        if hop.eps != NOTHING:
            graph += eps_arcs[hop.eps].score
        n = _put(made, n, source, target, read, read, t, hop.eps, hop.arc, graph)
    for token in range(num_born):
        for t in range(begin[token], end[token]):
            here = resting_first[token] + t - begin[token]
            source, target = resting_number[here], resting_number[here + 1]
            n = _put(made, n, source, target, 0, 0, t, NOTHING, NOTHING, 0.0)
    for i in range(n):
        made[i].score = made[i].graph_score + acoustics[made[i].frame, made[i].label]

    last, first_end = num_states - 1, n
    for i in kept_ends:
        token = resting[i].id
        if begin[token] <= num_frames:
            source = resting_number[resting_first[token] + num_frames - begin[token]]
            ending = final[resting[i].state]
            n = _put(made, n, source, last, -1, 0, num_frames, NOTHING, NOTHING, ending)
    for token in range(last_moving, num_tokens):
        if not used[token]:
            continue
        state = tokens[token].state
        source = moving_number[token]
        if final[state] > -np.inf:
            n = _put(made, n, source, last, -1, 0, num_frames, NOTHING, NOTHING, final[state])
        for arc in range(states[state].eps_first, states[state + 1].eps_first):
            ending = eps_arcs[arc].score + final[eps_arcs[arc].dst]
            if ending > -np.inf:
                n = _put(made, n, source, last, -1, 0, num_frames, arc, NOTHING, ending)
    for i in range(first_end, n):
        made[i].score = made[i].graph_score
    return made[:n], num_states


@njit(nogil=True, cache=True)
def _put(made, n, src, dst, label, phone, frame, eps, arc, graph_score):
    """Write an arc but for its score; returns the next one's index."""
    row = made[n]
    row.src, row.dst, row.label, row.phone = src, dst, label, phone
    row.frame, row.eps, row.arc, row.graph_score = frame, eps, arc, graph_score
    return n + 1


@njit(nogil=True, cache=True)
def _by_source(made, num_states):
    """Indices that sort arcs by their source, otherwise as they were."""
    place = np.zeros(num_states + 1, dtype=np.int64)
    for i in range(len(made)):
        place[made[i].src + 1] += 1
    place = np.cumsum(place)
    order = np.empty(len(made), dtype=np.int64)
    for i in range(len(made)):
        order[place[made[i].src]] = i
        place[made[i].src] += 1
    return order


@njit(nogil=True, cache=True)
def _trim(made, order, num_states, output_beam):
    """The arcs on paths within the output beam of the best, and new numbers for their states."""
    number = np.full(num_states, -1, dtype=np.int32)
    if len(made) == 0:
        return order, number, 0
    src, dst = np.empty((2, len(order)), dtype=np.int32)
    score = np.empty(len(order))
    for i in range(len(order)):
        arc = made[order[i]]
        src[i], dst[i], score[i] = arc.src, arc.dst, arc.score
    alpha = kernels.forward(src, dst, score, num_states, False)
    beta = kernels.backward(src, dst, score, num_states, False)
    worst = alpha[num_states - 1] - output_beam
    keep = np.empty_like(order)
    kept = 0
    if alpha[num_states - 1] > -np.inf:
        for i in range(len(order)):
            if alpha[src[i]] + score[i] + beta[dst[i]] >= worst:
                keep[kept] = order[i]
                kept += 1
                number[src[i]] = number[dst[i]] = 0
    count = 0
    for state in range(num_states):
        if number[state] == 0:
            number[state] = count
            count += 1
    return keep[:kept], number, count


@njit(nogil=True, cache=True)
def _words(words, eps_arcs, spellings, made, keep):
    """Words of the arcs to keep, those of their ε-arcs first: values and row splits."""
    values, value_splits = spellings
    splits = np.zeros(len(keep) + 1, dtype=np.int64)
    said = np.empty(len(keep), dtype=np.int32)
    n = 0
    for i in range(len(keep)):
        eps, arc = made[keep[i]].eps, made[keep[i]].arc
        begin = end = 0
        if eps != NOTHING:
            begin = value_splits[eps_arcs[eps].spelling]
            end = value_splits[np.int64(eps_arcs[eps].spelling) + 1]
        if n + end - begin + 1 > len(said):
            said = np.append(said, np.empty(len(said) + end - begin + 1, dtype=np.int32))
        for k in range(begin, end):
            said[n] = values[k]
            n += 1
        if arc != NOTHING and words[arc] != 0:
            said[n] = words[arc]
            n += 1
        splits[i + 1] = n
    return said[:n].copy(), splits
