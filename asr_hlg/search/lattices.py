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

_SLACK = 1e-3
"""Added to the output beam in the first sweep, against rounding; the second is exact."""


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
    offset = np.zeros(len(acoustics) + 1)
    offset[1:] = np.cumsum(acoustics[:, 0].astype(np.float64))
    keep_hop, keep_rest, keep_end = _within_beam(
        states, arcs, final, eps_arcs, acoustics, offset, output_beam, found
    )
    made = _assemble(states, arcs, final, eps_arcs, acoustics, found, keep_hop, keep_rest, keep_end)
    num_states, src, dst, label, phone, frame, score, graph_score, eps, arc = made
    keep, number, num_states = _trim(src, dst, score, num_states, output_beam)
    said, splits = _words(words, eps_arcs, spellings, eps[keep], arc[keep])
    return (
        num_states,
        number[src[keep]],
        number[dst[keep]],
        label[keep],
        phone[keep],
        frame[keep],
        score[keep],
        graph_score[keep],
        said,
        splits,
    )


@njit(nogil=True, cache=True)
def _within_beam(states, arcs, final, eps_arcs, acoustics, offset, output_beam, found):
    """Which hops, rests and resting tokens at the end a path near the best goes through."""
    tokens, hops, rests, resting, splits, num_resting, num_born = found
    token_state, token_label, _, _, token_score = tokens
    hop_src, hop_dst, hop_eps, hop_arc, hop_value = hops
    rest_src, rest_dst, rest_eps = rests
    rest_state, _, _, rest_id, _, rest_score, _ = resting
    num_frames = len(acoustics)
    num_tokens = splits[num_frames + 1, 0]
    keep_hop = np.zeros(splits[num_frames, 1], dtype=np.bool_)
    keep_rest = np.zeros(splits[num_frames, 2], dtype=np.bool_)
    keep_end = np.zeros(num_resting, dtype=np.bool_)

    # From a token to the end at best; a resting token's is relative to nothing but blanks, so
    # that, as in the search, it changes only where another path leaves it.
    moving_beta = np.full(num_tokens, -np.inf)
    resting_beta = np.full(num_born, -np.inf)
    best = -np.inf
    for token in range(splits[num_frames, 0], num_tokens):
        state = token_state[token]
        moving_beta[token] = final[state]
        for arc in range(states[state].eps_first, states[state + 1].eps_first):
            beta = eps_arcs[arc].score + final[eps_arcs[arc].dst]
            moving_beta[token] = max(moving_beta[token], beta)
        best = max(best, token_score[token] + moving_beta[token])
    for i in range(num_resting):
        best = max(best, rest_score[i] + final[rest_state[i]])
    worst = best - output_beam - _SLACK
    if best == -np.inf:
        return keep_hop, keep_rest, keep_end
    for i in range(num_resting):
        resting_beta[rest_id[i]] = final[rest_state[i]]
        keep_end[i] = rest_score[i] + final[rest_state[i]] >= worst

    # Everything below is relative to a path of nothing but blanks from first to last frame.
    for t in range(num_frames - 1, -1, -1):
        for i in range(splits[t, 2], splits[t + 1, 2]):
            step = 0.0 if rest_eps[i] == NOTHING else eps_arcs[rest_eps[i]].score
            beta = step + resting_beta[rest_dst[i]]
            if token_score[rest_src[i]] + beta >= worst:
                keep_rest[i] = True
                moving_beta[rest_src[i]] = max(moving_beta[rest_src[i]], beta)
        for i in range(splits[t, 1], splits[t + 1, 1]):
            beta = moving_beta[hop_dst[i]]
            if hop_value[i] + beta < worst:
                continue
            keep_hop[i] = True
            beta += acoustics[t, token_label[hop_dst[i]]] - acoustics[t, 0]
            if hop_arc[i] != REPEAT:
                beta += arcs[hop_arc[i]].score
            if hop_eps[i] != NOTHING:
                beta += eps_arcs[hop_eps[i]].score
            if hop_src[i] >= 0:
                moving_beta[hop_src[i]] = max(moving_beta[hop_src[i]], beta)
            else:
                token = -1 - hop_src[i]
                resting_beta[token] = max(resting_beta[token], beta)
    return keep_hop, keep_rest, keep_end


@njit(nogil=True, cache=True)
def _assemble(states, arcs, final, eps_arcs, acoustics, found, keep_hop, keep_rest, keep_end):
    """States and arcs of what was kept, sorted by source."""
    tokens, hops, rests, resting, splits, num_resting, num_born = found
    token_state, token_label, _, _, _ = tokens
    hop_src, hop_dst, hop_eps, hop_arc, _ = hops
    rest_src, rest_dst, rest_eps = rests
    rest_state, _, _, rest_id, _, _, _ = resting
    num_frames = len(acoustics)
    last_moving = splits[num_frames, 0]

    # A resting token has a state in every frame from the first rest to the last hop.
    begin = np.full(num_born, num_frames + 1, dtype=np.int32)
    end = np.full(num_born, -1, dtype=np.int32)
    used = np.zeros(splits[num_frames + 1, 0], dtype=np.bool_)
    used[0] = True
    num_arcs = 0
    for t in range(num_frames):
        for i in range(splits[t, 2], splits[t + 1, 2]):
            if keep_rest[i]:
                num_arcs += 1
                begin[rest_dst[i]] = min(begin[rest_dst[i]], t + 1)
        for i in range(splits[t, 1], splits[t + 1, 1]):
            if keep_hop[i]:
                num_arcs += 1
                used[hop_dst[i]] = True
                if hop_src[i] < 0:
                    end[-1 - hop_src[i]] = t
    for i in range(num_resting):
        if keep_end[i]:
            end[rest_id[i]] = num_frames
            num_arcs += 1
    for token in range(last_moving, len(used)):
        if used[token]:
            state = token_state[token]
            num_arcs += 1 + states[state + 1].eps_first - states[state].eps_first

    # States are numbered frame by frame, moving tokens first.
    per_frame = np.zeros(num_frames + 2, dtype=np.int64)
    for token in range(num_born):
        num_arcs += max(0, end[token] - begin[token])
        for t in range(begin[token], end[token] + 1):
            per_frame[t + 1] += 1
    moving_number = np.empty(len(used), dtype=np.int32)
    number = 0
    for t in range(num_frames + 1):
        for token in range(splits[t, 0], splits[t + 1, 0]):
            if used[token]:
                moving_number[token] = number
                number += 1
        per_frame[t + 1] += number
        number, per_frame[t] = per_frame[t + 1], number
    num_states = number + 1
    resting_first = np.zeros(num_born + 1, dtype=np.int64)
    for token in range(num_born):
        span = max(0, end[token] + 1 - begin[token])
        resting_first[token + 1] = resting_first[token] + span
    resting_number = np.empty(resting_first[num_born], dtype=np.int32)
    for token in range(num_born):
        for t in range(begin[token], end[token] + 1):
            resting_number[resting_first[token] + t - begin[token]] = per_frame[t]
            per_frame[t] += 1

    # source, destination, label, phone, frame, ε-arc, arc
    table = np.empty((num_arcs, 7), dtype=np.int32)
    graph_score = np.zeros(num_arcs)
    n = 0
    for t in range(num_frames):
        for i in range(splits[t, 2], splits[t + 1, 2]):
            rest = rest_dst[i]
            if keep_rest[i] and end[rest] > t:
                source = moving_number[rest_src[i]]
                target = resting_number[resting_first[rest] + t + 1 - begin[rest]]
                graph_score[n] = 0.0 if rest_eps[i] == NOTHING else eps_arcs[rest_eps[i]].score
                n = _put(table, n, source, target, 0, 0, t, rest_eps[i], NOTHING)
        for i in range(splits[t, 1], splits[t + 1, 1]):
            if not keep_hop[i]:
                continue
            rest = -1 - hop_src[i]
            if rest < 0:
                source = moving_number[hop_src[i]]
            elif begin[rest] <= t:
                source = resting_number[resting_first[rest] + t - begin[rest]]
            else:
                continue
            read = token_label[hop_dst[i]]
            target = moving_number[hop_dst[i]]
            if hop_arc[i] == REPEAT:
                n = _put(table, n, source, target, read, 0, t, NOTHING, NOTHING)
                continue
            graph_score[n] = arcs[hop_arc[i]].score
            if hop_eps[i] != NOTHING:
                graph_score[n] += eps_arcs[hop_eps[i]].score
            n = _put(table, n, source, target, read, read, t, hop_eps[i], hop_arc[i])
    for rest in range(num_born):
        for t in range(begin[rest], end[rest]):
            source = resting_first[rest] + t - begin[rest]
            target = resting_number[source + 1]
            n = _put(table, n, resting_number[source], target, 0, 0, t, NOTHING, NOTHING)
    last = num_states - 1
    for i in range(num_resting):
        rest = rest_id[i]
        if keep_end[i] and begin[rest] <= num_frames:
            source = resting_number[resting_first[rest] + num_frames - begin[rest]]
            graph_score[n] = final[rest_state[i]]
            n = _put(table, n, source, last, -1, 0, num_frames, NOTHING, NOTHING)
    for token in range(last_moving, len(used)):
        if not used[token]:
            continue
        state = token_state[token]
        source = moving_number[token]
        if final[state] > -np.inf:
            graph_score[n] = final[state]
            n = _put(table, n, source, last, -1, 0, num_frames, NOTHING, NOTHING)
        for arc in range(states[state].eps_first, states[state + 1].eps_first):
            if final[eps_arcs[arc].dst] > -np.inf:
                graph_score[n] = eps_arcs[arc].score + final[eps_arcs[arc].dst]
                n = _put(table, n, source, last, -1, 0, num_frames, arc, NOTHING)
    order = _by_source(table[:n, 0], num_states)
    table, graph_score = table[order], graph_score[order]
    total = graph_score.copy()
    for i in range(n):
        if table[i, 2] >= 0:
            total[i] += acoustics[table[i, 4], table[i, 2]]
    columns = table.T.copy()
    return (
        num_states, columns[0], columns[1], columns[2], columns[3], columns[4],
        total, graph_score, columns[5], columns[6],
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _put(arcs, n, src, dst, label, phone, frame, eps, arc):
    """Write a row; returns the next one's index."""
    row = arcs[n]
    row[0], row[1], row[2], row[3] = src, dst, label, phone
    row[4], row[5], row[6] = frame, eps, arc
    return n + 1


@njit(nogil=True, cache=True)
def _by_source(src, num_states):
    """Indices that sort arcs by their source, otherwise as they were."""
    place = np.zeros(num_states + 1, dtype=np.int64)
    for state in src:
        place[state + 1] += 1
    place = np.cumsum(place)
    order = np.empty(len(src), dtype=np.int64)
    for arc in range(len(src)):
        order[place[src[arc]]] = arc
        place[src[arc]] += 1
    return order


@njit(nogil=True, cache=True)
def _trim(src, dst, score, num_states, output_beam):
    """The arcs on paths within the output beam of the best, and new numbers for their states."""
    number = np.full(num_states, -1, dtype=np.int32)
    if len(src) == 0:
        return np.zeros(0, dtype=np.int64), number, 0
    alpha = kernels.best_to(src, dst, score, num_states)
    beta = kernels.backward(src, dst, score, num_states, False)
    worst = alpha[num_states - 1] - output_beam
    keep = np.flatnonzero(alpha[src] + score + beta[dst] >= worst)
    if alpha[num_states - 1] == -np.inf:
        keep = keep[:0]
    for arc in keep:
        number[src[arc]] = number[dst[arc]] = 0
    count = 0
    for state in range(num_states):
        if number[state] == 0:
            number[state] = count
            count += 1
    return keep, number, count


@njit(nogil=True, cache=True)
def _words(words, eps_arcs, spellings, eps, arc):
    """Words of every arc, those of its ε-arc first: values and row splits."""
    values, value_splits = spellings
    splits = np.zeros(len(arc) + 1, dtype=np.int64)
    said = np.empty(len(arc), dtype=np.int32)
    n = 0
    for i in range(len(arc)):
        begin = end = 0
        if eps[i] != NOTHING:
            begin = value_splits[eps_arcs[eps[i]].spelling]
            end = value_splits[np.int64(eps_arcs[eps[i]].spelling) + 1]
        if n + end - begin + 1 > len(said):
            said = np.append(said, np.empty(len(said) + end - begin + 1, dtype=np.int32))
        for k in range(begin, end):
            said[n] = values[k]
            n += 1
        if arc[i] != NOTHING and words[arc[i]] != 0:
            said[n] = words[arc[i]]
            n += 1
        splits[i + 1] = n
    return said[:n].copy(), splits
