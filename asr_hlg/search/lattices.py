"""From the tokens and links of token passing to a lattice, compiled with numba.

First :func:`asr_hlg.search.pruning.prune_links` removes every link that is on no path within the
output beam of the best path: most of them. The others become states and arcs, each one frame long,
which are pruned once more by their exact scores in both directions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.lattice import kernels
from asr_hlg.search.prefetch import prefetch
from asr_hlg.search.pruning import Kept, final_scores, prune_links
from asr_hlg.search.records import (
    NONE,
    REPEAT,
    GraphArrays,
    GraphOutputs,
    Ints,
    Records,
    Scores,
    Tokens,
)

Indices = npt.NDArray[np.int64]

ARC = np.dtype(
    [(name, "i4") for name in ("src", "dst", "label", "phone", "frame", "eps", "arc")]
    + [("score", "f8"), ("graph_score", "f8")],
    align=True,
)
"""An arc of the lattice, and which ε-arc and arc of L∘G it is."""


class _States(NamedTuple):
    """States of the lattice: one for a label token, and one for a blank token in every frame.

    In frame t, that of a blank token is ``of_blank[first[token] + t]``.
    """

    count: Any  # includes the final state, which is the last
    of_label: Ints
    first: Indices
    of_blank: Ints


@njit(nogil=True, cache=True)
def build(
    graph: GraphArrays, outputs: GraphOutputs, acoustics: Scores, output_beam: float, tokens: Tokens
) -> Any:
    """The lattice of one utterance as the fields of :class:`asr_hlg.lattice.FrameArcs`, in order.

    There are no arcs where no path reached a final state. ``acoustics`` are those that
    :func:`asr_hlg.search.kernels.pass_tokens` has searched.
    """
    ends = final_scores(graph, outputs.final, tokens)
    kept = prune_links(graph, acoustics, output_beam, tokens, ends)
    arcs, num_states = _make_arcs(graph, outputs.final, acoustics, tokens, kept)
    order = sort_by_source(arcs, num_states)
    keep, number, num_states = prune_arcs(arcs, order, num_states, output_beam)
    src, dst, label, phone, frame = np.empty((5, len(keep)), dtype=np.int32)
    score, graph_score = np.empty((2, len(keep)))
    for i in range(len(keep)):
        prefetch(outputs.words, arcs[keep[i]].arc)
    for i in range(len(keep)):
        arc = arcs[keep[i]]
        src[i], dst[i] = number[arc.src], number[arc.dst]
        label[i], phone[i], frame[i] = arc.label, arc.phone, arc.frame
        score[i], graph_score[i] = arc.score, arc.graph_score
    words, word_splits = _words(graph, outputs, arcs, keep)
    return num_states, src, dst, label, phone, frame, score, graph_score, words, word_splits


@njit(nogil=True, cache=True)
def _make_arcs(
    graph: GraphArrays, final: Scores, acoustics: Scores, tokens: Tokens, kept: Kept
) -> tuple[Records, int]:
    """The lattice's arcs as `ARC` records, and the number of its states; the last one is final."""
    num_frames = len(acoustics)
    states = _number_states(tokens, num_frames, kept)
    capacity = len(kept.label_links) + len(kept.blank_links)
    capacity += len(states.of_blank) + len(kept.last_blank_tokens)
    for token in range(tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token):
        state = tokens.label_tokens[token].state
        capacity += 1 + graph.states[state + 1].eps_first - graph.states[state].eps_first
    arcs = np.empty(capacity, dtype=ARC)
    n = _put_blank_links(graph, tokens, states, kept, arcs)
    n = _put_label_links(graph, tokens, states, kept, arcs, n)
    for token in range(len(kept.blank_begin)):  # from blank tokens to themselves
        for t in range(kept.blank_begin[token], kept.blank_end[token]):
            here = states.first[token] + t
            src, dst = states.of_blank[here], states.of_blank[here + 1]
            n = _put(arcs, n, src, dst, (0, 0, t), NONE, NONE, 0.0)
    for i in range(n):
        arcs[i].score = arcs[i].graph_score + acoustics[arcs[i].frame, arcs[i].label]
    num_emitting = n
    n = _put_final_arcs(graph, final, tokens, states, kept, arcs, n)
    for i in range(num_emitting, n):
        arcs[i].score = arcs[i].graph_score
    return arcs[:n], states.count


@njit(nogil=True, cache=True)
def _number_states(tokens: Tokens, num_frames: int, kept: Kept) -> _States:
    """Number the states frame by frame, those of label tokens first."""
    begin, end = kept.blank_begin, kept.blank_end
    first = np.empty(len(begin), dtype=np.int64)
    per_frame = np.zeros(num_frames + 2, dtype=np.int64)  # states; later, the next free number
    total = 0
    for token in range(len(begin)):
        for t in range(begin[token], end[token] + 1):
            per_frame[t + 1] += 1
        first[token] = total - begin[token]
        total += max(0, end[token] + 1 - begin[token])
    of_label = np.empty(len(kept.label_tokens), dtype=np.int32)
    number = 0
    for t in range(num_frames + 1):
        for token in range(tokens.frames[t].token, tokens.frames[t + 1].token):
            of_label[token] = number
            number += kept.label_tokens[token]
        per_frame[t + 1] += number
        number, per_frame[t] = per_frame[t + 1], number
    of_blank = np.empty(total, dtype=np.int32)
    for token in range(len(begin)):
        for t in range(begin[token], end[token] + 1):
            of_blank[first[token] + t] = per_frame[t]
            per_frame[t] += 1
    return _States(number + 1, of_label, first, of_blank)


@njit(nogil=True, cache=True)
def _put_blank_links(
    graph: GraphArrays, tokens: Tokens, states: _States, kept: Kept, arcs: Records
) -> int:
    """Write the arcs from label tokens to blank tokens; returns their number."""
    n = t = 0
    for i in kept.blank_links:
        while tokens.frames[t + 1].blank_link <= i:
            t += 1
        link = tokens.blank_links[i]
        if kept.blank_end[link.dst] > t:
            dst = states.of_blank[states.first[link.dst] + t + 1]
            score = 0.0 if link.eps == NONE else graph.eps_arcs[link.eps].score
            n = _put(arcs, n, states.of_label[link.src], dst, (0, 0, t), link.eps, NONE, score)
    return n


@njit(nogil=True, cache=True)
def _put_label_links(
    graph: GraphArrays, tokens: Tokens, states: _States, kept: Kept, arcs: Records, n: int
) -> int:
    """Write the arcs to label tokens after ``n`` others; returns the number of all."""
    t = 0
    for i in kept.label_links:
        while tokens.frames[t + 1].link <= i:
            t += 1
        link = tokens.label_links[i]
        if link.src >= 0:
            src = states.of_label[link.src]
        else:
            token = -1 - link.src
            if kept.blank_begin[token] > t:
                continue
            src = states.of_blank[states.first[token] + t]
        label, dst = tokens.label_tokens[link.dst].label, states.of_label[link.dst]
        if link.arc == REPEAT:
            n = _put(arcs, n, src, dst, (label, 0, t), NONE, NONE, 0.0)
            continue
        score = np.float64(graph.arcs[link.arc].score)
        if link.eps != NONE:
            score += graph.eps_arcs[link.eps].score
        n = _put(arcs, n, src, dst, (label, label, t), link.eps, link.arc, score)
    return n


@njit(nogil=True, cache=True)
def _put_final_arcs(
    graph: GraphArrays,
    final: Scores,
    tokens: Tokens,
    states: _States,
    kept: Kept,
    arcs: Records,
    n: int,
) -> int:
    """Write the arcs to the final state: from blank tokens and from label tokens."""
    num_frames, dst = len(tokens.frames) - 2, states.count - 1
    read = -1, 0, num_frames
    for i in kept.last_blank_tokens:
        blank = tokens.blank_tokens[i]
        if kept.blank_begin[blank.id] <= num_frames:
            src = states.of_blank[states.first[blank.id] + num_frames]
            n = _put(arcs, n, src, dst, read, NONE, NONE, final[blank.state])
    for token in range(tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token):
        if not kept.label_tokens[token]:
            continue
        state, src = tokens.label_tokens[token].state, states.of_label[token]
        if final[state] > -np.inf:
            n = _put(arcs, n, src, dst, read, NONE, NONE, final[state])
        for eps in range(graph.states[state].eps_first, graph.states[state + 1].eps_first):
            score = graph.eps_arcs[eps].score + final[graph.eps_arcs[eps].dst]
            if score > -np.inf:
                n = _put(arcs, n, src, dst, read, eps, NONE, score)
    return n


@njit(nogil=True, cache=True)
def _put(
    arcs: Records, n: int, src: int, dst: int, read: Any, eps: int, arc: int, graph_score: Any
) -> int:
    """Write an arc but for its score; returns the next one's index.

    ``read`` is the label, the phone that begins, and the frame.
    """
    row = arcs[n]
    row.src, row.dst, row.eps, row.arc, row.graph_score = src, dst, eps, arc, graph_score
    row.label, row.phone, row.frame = read
    return n + 1


@njit(nogil=True, cache=True)
def sort_by_source(arcs: Records, num_states: int) -> Indices:
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
def prune_arcs(
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
def _words(
    graph: GraphArrays, outputs: GraphOutputs, arcs: Records, keep: Indices
) -> tuple[Ints, Indices]:
    """Words of the arcs to keep, those of their ε-arcs first: values and row splits."""
    splits = np.zeros(len(keep) + 1, dtype=np.int64)
    words = np.empty(len(keep), dtype=np.int32)
    n = 0
    for i in range(len(keep)):
        eps, arc = arcs[keep[i]].eps, arcs[keep[i]].arc
        begin = end = 0
        if eps != NONE:
            row = np.int64(graph.eps_arcs[eps].spelling)
            begin, end = outputs.spelling_splits[row], outputs.spelling_splits[row + 1]
        if n + end - begin + 1 > len(words):
            words = np.append(words, np.empty(len(words) + end - begin + 1, dtype=np.int32))
        for k in range(begin, end):
            words[n] = outputs.spellings[k]
            n += 1
        if arc != NONE and outputs.words[arc] != 0:
            words[n] = outputs.words[arc]
            n += 1
        splits[i + 1] = n
    return words[:n].copy(), splits
