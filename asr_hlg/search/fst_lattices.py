"""From the tokens and links of :mod:`asr_hlg.search.fst_kernels` to a lattice, with numba.

Links on no path within the output beam of the best path are removed from the last frame to the
first. Of the others, every arc of the lattice is a path of ε-links followed by a link that reads a
label: it is one frame long, and its words are those of all its links.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.search.fst_records import FstArrays, FstOutputs, FstTokens, Index, Structs
from asr_hlg.search.lattices import ARC, prune_arcs, sort_by_source
from asr_hlg.search.records import NONE, Ints, Scores

_SLACK = 1e-3
"""Added to the output beam in the first sweep, against rounding; the second is exact."""

_PATH = np.dtype([("token", "u4"), ("before", "i4"), ("eps", "i4"), ("score", "f8")], align=True)
"""A path of ε-links: its last token and ε-arc, and the path ``before`` that."""

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


Ends = tuple[Any, Any]
"""Backward scores of tokens after the last frame, and the score of the best path or ``-inf``."""


class Kept(NamedTuple):
    """Links on paths within the output beam, and the scores from tokens to the end."""

    links: Flags
    eps_links: Flags
    beta: npt.NDArray[np.float64]
    cutoff: float


@njit(nogil=True, cache=True)
def build(
    graph: FstArrays, outputs: FstOutputs, acoustics: Scores, output_beam: float, tokens: FstTokens
) -> Any:
    """The lattice of one utterance as the fields of :class:`asr_hlg.lattice.FrameArcs`, in order.

    There are no arcs where no path reached a final state. ``acoustics`` are those that
    :func:`asr_hlg.search.fst_kernels.pass_tokens` has searched.
    """
    ends = final_scores(outputs.final, tokens)
    kept = prune_links(graph, acoustics, output_beam, tokens, ends)
    arcs, paths, num_states = _make_arcs(graph, outputs, acoustics, tokens, kept)
    order = sort_by_source(arcs, num_states)
    keep, number, num_states = prune_arcs(arcs, order, num_states, output_beam)
    src, dst, label, phone, frame = np.empty((5, len(keep)), dtype=np.int32)
    score, graph_score = np.empty((2, len(keep)))
    for i in range(len(keep)):
        arc = arcs[keep[i]]
        src[i], dst[i] = number[arc.src], number[arc.dst]
        label[i], phone[i], frame[i] = arc.label, arc.phone, arc.frame
        score[i], graph_score[i] = arc.score, arc.graph_score
    words, splits = _words(outputs, arcs, paths, keep)
    return num_states, src, dst, label, phone, frame, score, graph_score, words, splits


@njit(nogil=True, cache=True)
def prune_links(
    graph: FstArrays, acoustics: Scores, output_beam: float, tokens: FstTokens, ends: Ends
) -> Kept:
    """Mark the links on paths within the output beam, from the last frame to the first."""
    frames, num_frames, nodes = tokens.frames, len(acoustics), tokens.tokens
    links, eps_links = tokens.links, tokens.eps_links
    beta, best = ends
    cutoff = best - output_beam - _SLACK if best > -np.inf else np.inf
    kept = np.zeros(frames[num_frames].link, dtype=np.bool_)
    kept_eps = np.zeros(frames[num_frames + 1].eps_link, dtype=np.bool_)
    for t in range(num_frames, -1, -1):
        if t < num_frames:
            for i in range(frames[t].link, frames[t + 1].link):
                source, arc = links[i].src, links[i].arc
                after = beta[links[i].dst] + graph.arcs[arc].score
                after += acoustics[t, graph.arcs[arc].label]
                if nodes[source].score + after >= cutoff:
                    kept[i] = True
                    beta[source] = max(beta[source], after)
        changed = True
        while changed:
            changed = False
            for i in range(frames[t + 1].eps_link - 1, frames[t].eps_link - 1, -1):
                source = eps_links[i].src
                after = beta[eps_links[i].dst] + graph.eps_arcs[eps_links[i].arc].score
                if nodes[source].score + after >= cutoff:
                    kept_eps[i] = True
                    if after > beta[source] + 1e-9:
                        beta[source] = after
                        changed = True
    return Kept(kept, kept_eps, beta, cutoff)


@njit(nogil=True, cache=True)
def final_scores(final: Scores, tokens: FstTokens) -> Ends:
    """Ends of an utterance: tokens of the last frame have the score of their final state."""
    num_frames = len(tokens.frames) - 2
    beta, best = np.full(tokens.frames[num_frames + 1].token, -np.inf), -np.inf
    for token in range(tokens.frames[num_frames].token, len(beta)):
        beta[token] = final[tokens.tokens[token].state]
        best = max(best, tokens.tokens[token].score + beta[token])
    return beta, best


@njit(nogil=True, cache=True)
def open_scores(tokens: FstTokens) -> Ends:
    """Ends of an utterance that goes on: every token may be on the best path."""
    num_frames = len(tokens.frames) - 2
    beta = np.full(tokens.frames[num_frames + 1].token, -np.inf)
    for token in range(tokens.frames[num_frames].token, len(beta)):
        beta[token] = -tokens.tokens[token].score
    return beta, 0.0


@njit(nogil=True, cache=True)
def _make_arcs(
    graph: FstArrays, outputs: FstOutputs, acoustics: Scores, tokens: FstTokens, kept: Kept
) -> tuple[Structs, Structs, Index]:
    """The lattice's arcs, the ε-paths that their field ``eps`` names, and the number of states.

    States are the start and the tokens that links lead to, in the order of frames; the last state
    is final.
    """
    frames, links, num_frames = tokens.frames, tokens.links, len(acoustics)
    number, final_state = _number_states(tokens, kept)
    first_link = _first_links(links, len(kept.links), len(number))
    first_eps = _first_links(tokens.eps_links, len(kept.eps_links), len(number))
    arcs, paths = np.empty(2 * len(kept.links) + 16, dtype=ARC), np.empty(1024, dtype=_PATH)
    num_arcs = num_paths = t = 0
    for token in range(len(number)):
        while frames[t + 1].token <= token:
            t += 1
        if number[token] < 0:
            continue
        first_path = num_paths
        paths, num_paths = _add_eps_paths(graph, tokens, kept, first_eps, token, paths, num_paths)
        for path in range(first_path, num_paths):
            here, eps_score = paths[path].token, paths[path].score
            eps = path if path > first_path else NONE
            begin, end = first_link[here], first_link[here + 1]
            while num_arcs + end - begin + 1 > len(arcs):
                arcs = np.append(arcs, np.empty(len(arcs), dtype=ARC))
            for i in range(begin, end):
                if kept.links[i]:
                    arc, row = graph.arcs[links[i].arc], arcs[num_arcs]
                    row.src, row.dst = number[token], number[links[i].dst]
                    row.eps, row.arc, row.frame = eps, links[i].arc, t
                    row.label, row.phone = arc.label, outputs.phones[links[i].arc]
                    row.graph_score = eps_score + arc.score
                    row.score = row.graph_score + acoustics[t, arc.label]
                    num_arcs += 1
            final = outputs.final[tokens.tokens[here].state]
            if t == num_frames and final > -np.inf:
                row = arcs[num_arcs]
                row.src, row.dst, row.eps, row.arc = number[token], final_state, eps, NONE
                row.label, row.phone, row.frame = -1, 0, t
                row.score = row.graph_score = eps_score + final
                num_arcs += 1
    return arcs[:num_arcs], paths, final_state + 1


@njit(nogil=True, cache=True)
def _number_states(tokens: FstTokens, kept: Kept) -> tuple[Ints, Index]:
    """The state of every token, -1 for none, and how many there are."""
    number = np.full(len(kept.beta), -1, dtype=np.int32)
    number[0] = 0
    for i in range(len(kept.links)):
        if kept.links[i]:
            number[tokens.links[i].dst] = 0
    count = 0
    for token in range(len(number)):
        if number[token] == 0:
            number[token] = count
            count += 1
    return number, count


@njit(nogil=True, cache=True)
def _first_links(links: Structs, num_links: Index, num_tokens: Index) -> Indices:
    """The first link of every token; links come in the order of their sources."""
    first = np.zeros(num_tokens + 1, dtype=np.int64)
    for i in range(num_links):
        first[links[i].src + 1] += 1
    return np.cumsum(first)


@njit(nogil=True, cache=True)
def _add_eps_paths(
    graph: FstArrays,
    tokens: FstTokens,
    kept: Kept,
    first_eps: Indices,
    start: Index,
    paths: Structs,
    num_paths: Index,
) -> tuple[Structs, Index]:
    """Add the paths of kept ε-links from a token, the empty one first, breadth first."""
    done = num_paths
    paths = _room(paths, num_paths)
    path = paths[num_paths]
    path.token, path.before, path.eps, path.score = start, NONE, NONE, 0.0
    num_paths += 1
    alpha = tokens.tokens[start].score
    while done < num_paths:
        here, score = paths[done].token, paths[done].score
        for i in range(first_eps[here], first_eps[here + 1]):
            if not kept.eps_links[i]:
                continue
            link = tokens.eps_links[i]
            longer = score + graph.eps_arcs[link.arc].score
            if alpha + longer + kept.beta[link.dst] < kept.cutoff:
                continue
            if _passes(paths, done, link.dst):
                continue  # a cycle of ε-arcs
            paths = _room(paths, num_paths)
            path = paths[num_paths]
            path.token, path.before, path.eps, path.score = link.dst, done, link.arc, longer
            num_paths += 1
        done += 1
    return paths, num_paths


@njit(nogil=True, cache=True)
def _passes(paths: Structs, path: Index, token: Index) -> bool:
    """Whether a path of ε-links passes a token."""
    while path >= 0:
        if paths[path].token == token:
            return True
        path = paths[path].before
    return False


@njit(nogil=True, cache=True)
def _room(records: Structs, count: Index) -> Structs:
    """The records, in an array twice as large if it is full."""
    if count < len(records):
        return records
    return np.append(records, np.empty(len(records), dtype=_PATH))


@njit(nogil=True, cache=True)
def _words(
    outputs: FstOutputs, arcs: Structs, paths: Structs, keep: Indices
) -> tuple[Ints, Indices]:
    """Words of the arcs to keep, those of their ε-paths first: values and row splits."""
    splits = np.zeros(len(keep) + 1, dtype=np.int64)
    words = np.empty(2 * len(keep) + 16, dtype=np.int32)
    rows = np.empty(64, dtype=np.int32)  # spellings of an arc, from its last to its first
    n = 0
    for i in range(len(keep)):
        arc, count = arcs[keep[i]], 0
        if arc.arc != NONE:
            rows[0] = outputs.outputs[arc.arc]
            count = 1
        path = arc.eps
        while path != NONE and paths[path].eps != NONE:
            if count == len(rows):
                rows = np.append(rows, np.empty(len(rows), dtype=np.int32))
            rows[count] = outputs.eps_outputs[paths[path].eps]
            count += 1
            path = paths[path].before
        for k in range(count - 1, -1, -1):
            begin, end = outputs.spelling_splits[rows[k]], outputs.spelling_splits[rows[k] + 1]
            if n + end - begin > len(words):
                words = np.append(words, np.empty(len(words) + end - begin, dtype=np.int32))
            for position in range(begin, end):
                words[n] = outputs.spellings[position]
                n += 1
        splits[i + 1] = n
    return words[:n].copy(), splits
