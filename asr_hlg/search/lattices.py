"""From the tokens and links of token passing to a lattice, compiled with numba.

First a sweep from the last frame to the first prunes every link through which no path comes within
the output beam of the best; most go. The others become states and arcs, one frame long each, which
are pruned once more by their exact scores in both directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.lattice import kernels
from asr_hlg.search.prefetch import prefetch
from asr_hlg.search.pruning import Kept, prune_links
from asr_hlg.search.records import NONE, REPEAT, GraphArrays, Ints, Records, Scores, Tokens

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

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
def build(graph: GraphArrays, acoustics: Scores, output_beam: float, tokens: Tokens) -> Any:
    """The lattice of one utterance.

    Parameters
    ----------
    graph : GraphArrays
    acoustics : np.ndarray
        As :func:`asr_hlg.search.kernels.pass_tokens` takes them.
    output_beam : float
    tokens : Tokens

    Returns
    -------
    tuple
        The fields of :class:`asr_hlg.lattice.FrameArcs` in order; no arcs where no path reached
        a final state.
    """
    kept = prune_links(graph, acoustics, output_beam, tokens)
    arcs, num_states = _make_arcs(graph, acoustics, tokens, kept)
    order = _sort_by_source(arcs, num_states)
    keep, number, num_states = _prune_arcs(arcs, order, num_states, output_beam)
    src, dst, label, phone, frame = np.empty((5, len(keep)), dtype=np.int32)
    score, graph_score = np.empty((2, len(keep)))
    for i in range(len(keep)):
        prefetch(graph.words, arcs[keep[i]].arc)
    for i in range(len(keep)):
        arc = arcs[keep[i]]
        src[i], dst[i] = number[arc.src], number[arc.dst]
        label[i], phone[i], frame[i] = arc.label, arc.phone, arc.frame
        score[i], graph_score[i] = arc.score, arc.graph_score
    words, word_splits = _words(graph, arcs, keep)
    return num_states, src, dst, label, phone, frame, score, graph_score, words, word_splits


@njit(nogil=True, cache=True)
def _make_arcs(
    graph: GraphArrays, acoustics: Scores, tokens: Tokens, kept: Kept
) -> tuple[Records, int]:
    """The lattice's arcs as `_ARC` records, and the number of its states; the last one is final."""
    num_frames = len(acoustics)
    used, begin, end = _extents(tokens, num_frames, kept)
    label_state, blank_state, first, num_states = _number_states(
        tokens, num_frames, used, begin, end
    )
    # A blank token's state in frame t is blank_state[first[token] + t].
    arcs = np.empty(_max_arcs(graph, tokens, num_frames, kept, len(blank_state)), dtype=_ARC)
    n = _put_blank_links(graph, tokens, kept[1], label_state, blank_state, first, end, arcs)
    n = _put_label_links(graph, tokens, kept[0], label_state, blank_state, first, begin, arcs, n)
    n = _put_blank_loops(begin, end, blank_state, first, arcs, n)
    for i in range(n):
        arcs[i].score = arcs[i].graph_score + acoustics[arcs[i].frame, arcs[i].label]
    num_emitting = n
    for i in kept[2]:
        token = tokens.blank_tokens[i]
        if begin[token.id] <= num_frames:
            src, score = blank_state[first[token.id] + num_frames], graph.final[token.state]
            n = _put(arcs, n, src, num_states - 1, -1, 0, num_frames, NONE, NONE, score)
    n = _put_final_arcs(graph, tokens, num_frames, used, label_state, num_states - 1, arcs, n)
    for i in range(num_emitting, n):
        arcs[i].score = arcs[i].graph_score
    return arcs[:n], num_states


@njit(nogil=True, cache=True)
def _extents(
    tokens: Tokens, num_frames: int, kept: Kept
) -> tuple[npt.NDArray[np.bool_], Ints, Ints]:
    """Which label tokens are used, and the first and last frame of each blank token.

    A blank token has a state in every frame from its first blank link to its last label link.
    Those of a blank token that no kept link enters begin after the last frame.
    """
    frames, links = tokens.frames, tokens.label_links
    used = np.zeros(frames[num_frames + 1].token, dtype=np.bool_)
    begin = np.full(tokens.num_blank_tokens, num_frames + 1, dtype=np.int32)
    end = np.full(tokens.num_blank_tokens, -1, dtype=np.int32)
    used[0] = True
    t = num_frames - 1
    for i in kept[1][::-1]:
        while frames[t].blank_link > i:
            t -= 1
        begin[tokens.blank_links[i].dst] = t + 1
    t = 0
    for i in kept[0]:
        while frames[t + 1].link <= i:
            t += 1
        used[links[i].dst] = True
        if links[i].src < 0:
            end[-1 - links[i].src] = t
    for i in kept[2]:
        end[tokens.blank_tokens[i].id] = num_frames
    return used, begin, end


@njit(nogil=True, cache=True)
def _number_states(
    tokens: Tokens, num_frames: int, used: npt.NDArray[np.bool_], begin: Ints, end: Ints
) -> tuple[Ints, Ints, Indices, int]:
    """Number the states frame by frame, those of label tokens first.

    Returns
    -------
    label_state : np.ndarray
        int32: the state of every label token.
    blank_state, first : np.ndarray
        int32 and int64: the state of blank token b in frame t is ``blank_state[first[b] + t]``.
    num_states : int
        Includes the final state.
    """
    num_blank_tokens = len(begin)
    first = np.empty(num_blank_tokens, dtype=np.int64)
    per_frame = np.zeros(num_frames + 2, dtype=np.int64)  # states; later, the next free number
    total = 0
    for token in range(num_blank_tokens):
        for t in range(begin[token], end[token] + 1):
            per_frame[t + 1] += 1
        first[token] = total - begin[token]
        total += max(0, end[token] + 1 - begin[token])
    label_state = np.empty(len(used), dtype=np.int32)
    number = 0
    for t in range(num_frames + 1):
        for token in range(tokens.frames[t].token, tokens.frames[t + 1].token):
            label_state[token] = number
            number += used[token]
        per_frame[t + 1] += number
        number, per_frame[t] = per_frame[t + 1], number
    blank_state = np.empty(total, dtype=np.int32)
    for token in range(num_blank_tokens):
        for t in range(begin[token], end[token] + 1):
            blank_state[first[token] + t] = per_frame[t]
            per_frame[t] += 1
    return label_state, blank_state, first, number + 1


@njit(nogil=True, cache=True)
def _max_arcs(
    graph: GraphArrays, tokens: Tokens, num_frames: int, kept: Kept, num_blank_states: int
) -> int:
    """An upper bound on the number of arcs."""
    count = len(kept[0]) + len(kept[1]) + len(kept[2]) + num_blank_states
    for token in range(tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token):
        state = tokens.label_tokens[token].state
        count += 1 + graph.states[state + 1].eps_first - graph.states[state].eps_first
    return count


@njit(nogil=True, cache=True)
def _put_blank_links(
    graph: GraphArrays,
    tokens: Tokens,
    kept: npt.NDArray[np.uint32],
    label_state: Ints,
    blank_state: Ints,
    first: Indices,
    end: Ints,
    arcs: Records,
) -> int:
    """Write the arcs from label tokens to blank tokens; returns their number."""
    n = t = 0
    for i in kept:
        while tokens.frames[t + 1].blank_link <= i:
            t += 1
        link = tokens.blank_links[i]
        if end[link.dst] > t:
            src, dst = label_state[link.src], blank_state[first[link.dst] + t + 1]
            score = 0.0 if link.eps == NONE else graph.eps_arcs[link.eps].score
            n = _put(arcs, n, src, dst, 0, 0, t, link.eps, NONE, score)
    return n


@njit(nogil=True, cache=True)
def _put_label_links(
    graph: GraphArrays,
    tokens: Tokens,
    kept: npt.NDArray[np.uint32],
    label_state: Ints,
    blank_state: Ints,
    first: Indices,
    begin: Ints,
    arcs: Records,
    n: int,
) -> int:
    """Write the arcs to label tokens after ``n`` others; returns the number of all."""
    t = 0
    for i in kept:
        while tokens.frames[t + 1].link <= i:
            t += 1
        link = tokens.label_links[i]
        if link.src >= 0:
            src = label_state[link.src]
        else:
            token = -1 - link.src
            if begin[token] > t:
                continue
            src = blank_state[first[token] + t]
        label, dst = tokens.label_tokens[link.dst].label, label_state[link.dst]
        if link.arc == REPEAT:
            n = _put(arcs, n, src, dst, label, 0, t, NONE, NONE, 0.0)
            continue
        score = np.float64(graph.arcs[link.arc].score)
        if link.eps != NONE:
            score += graph.eps_arcs[link.eps].score
        n = _put(arcs, n, src, dst, label, label, t, link.eps, link.arc, score)
    return n


@njit(nogil=True, cache=True)
def _put_blank_loops(
    begin: Ints, end: Ints, blank_state: Ints, first: Indices, arcs: Records, n: int
) -> int:
    """Write the arcs by which blank tokens read further blanks."""
    for token in range(len(begin)):
        for t in range(begin[token], end[token]):
            here = first[token] + t
            n = _put(arcs, n, blank_state[here], blank_state[here + 1], 0, 0, t, NONE, NONE, 0.0)
    return n


@njit(nogil=True, cache=True)
def _put_final_arcs(
    graph: GraphArrays,
    tokens: Tokens,
    num_frames: int,
    used: npt.NDArray[np.bool_],
    label_state: Ints,
    final_state: int,
    arcs: Records,
    n: int,
) -> int:
    """Write the arcs from the last label tokens, directly or over an ε-arc, to the final state."""
    states, eps_arcs, final = graph.states, graph.eps_arcs, graph.final
    for token in range(tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token):
        if not used[token]:
            continue
        state, src = tokens.label_tokens[token].state, label_state[token]
        if final[state] > -np.inf:
            n = _put(arcs, n, src, final_state, -1, 0, num_frames, NONE, NONE, final[state])
        for arc in range(states[state].eps_first, states[state + 1].eps_first):
            score = eps_arcs[arc].score + final[eps_arcs[arc].dst]
            if score > -np.inf:
                n = _put(arcs, n, src, final_state, -1, 0, num_frames, arc, NONE, score)
    return n


@njit(nogil=True, cache=True)
def _put(
    arcs: Records,
    n: int,
    src: int,
    dst: int,
    label: int,
    phone: int,
    frame: int,
    eps: int,
    arc: int,
    graph_score: Any,
) -> int:
    """Write an arc but for its score; returns the next one's index."""
    row = arcs[n]
    row.src, row.dst, row.label, row.phone = src, dst, label, phone
    row.frame, row.eps, row.arc, row.graph_score = frame, eps, arc, graph_score
    return n + 1


@njit(nogil=True, cache=True)
def _sort_by_source(arcs: Records, num_states: int) -> Indices:
    """Indices that sort arcs by their source, otherwise in the same order."""
    place = np.zeros(num_states + 1, dtype=np.int64)
    for i in range(len(arcs)):
        place[arcs[i].src + 1] += 1
    place = np.cumsum(place)
    order = np.empty(len(arcs), dtype=np.int64)
    for i in range(len(arcs)):
        order[place[arcs[i].src]] = i
        place[arcs[i].src] += 1
    return order


@njit(nogil=True, cache=True)
def _prune_arcs(
    arcs: Records, order: Indices, num_states: int, output_beam: float
) -> tuple[Indices, Ints, int]:
    """The arcs on paths within the output beam of the best, and new numbers for their states."""
    number = np.full(num_states, -1, dtype=np.int32)
    if len(arcs) == 0:
        return order, number, 0
    src, dst = np.empty((2, len(order)), dtype=np.int32)
    score = np.empty(len(order))
    for i in range(len(order)):
        arc = arcs[order[i]]
        src[i], dst[i], score[i] = arc.src, arc.dst, arc.score
    alpha = kernels.forward(src, dst, score, num_states, False)
    beta = kernels.backward(src, dst, score, num_states, False)
    cutoff = alpha[num_states - 1] - output_beam
    keep = np.empty_like(order)
    kept = 0
    if alpha[num_states - 1] > -np.inf:
        for i in range(len(order)):
            if alpha[src[i]] + score[i] + beta[dst[i]] >= cutoff:
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
def _words(graph: GraphArrays, arcs: Records, keep: Indices) -> tuple[Ints, Indices]:
    """Words of the arcs to keep, those of their ε-arcs first: values and row splits."""
    splits = np.zeros(len(keep) + 1, dtype=np.int64)
    words = np.empty(len(keep), dtype=np.int32)
    n = 0
    for i in range(len(keep)):
        eps, arc = arcs[keep[i]].eps, arcs[keep[i]].arc
        begin = end = 0
        if eps != NONE:
            row = np.int64(graph.eps_arcs[eps].spelling)
            begin, end = graph.spelling_splits[row], graph.spelling_splits[row + 1]
        if n + end - begin + 1 > len(words):
            words = np.append(words, np.empty(len(words) + end - begin + 1, dtype=np.int32))
        for k in range(begin, end):
            words[n] = graph.spellings[k]
            n += 1
        if arc != NONE and graph.words[arc] != 0:
            words[n] = graph.words[arc]
            n += 1
        splits[i + 1] = n
    return words[:n].copy(), splits
