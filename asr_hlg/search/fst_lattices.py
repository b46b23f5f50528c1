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
from asr_hlg.search.lattices import ARC, prune_arcs
from asr_hlg.search.records import NONE, Ints, Scores

_SLACK = 1e-3
"""Added to the output beam in the first sweep, against rounding; the second is exact."""

_PATH = np.dtype(
    [("state", "u4"), ("token", "u4"), ("before", "i4"), ("eps", "i4"), ("score", "f8")], align=True
)
"""A path of ε-links from a state: its last token and ε-arc, and the path ``before`` that."""

Indices = npt.NDArray[np.int64]


Ends = tuple[Any, Any]
"""Backward scores of tokens after the last frame, and the score of the best path or ``-inf``."""


class Kept(NamedTuple):
    """Links on paths within the output beam, in their order, and the scores from tokens to the end.

    ``beta`` is ``-inf`` for tokens on no such path.
    """

    links: Ints
    eps_links: Ints
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
    keep, number, num_states = prune_arcs(arcs, np.arange(len(arcs)), num_states, output_beam)
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
def prune_links(  # noqa: C901 - both kinds of links share eight arrays
    graph: FstArrays, acoustics: Scores, output_beam: float, tokens: FstTokens, ends: Ends
) -> Kept:
    """The links on paths within the output beam, found from the last frame to the first.

    Most links lead to a token that is on no such path: they cost one look at its score.
    """
    frames, num_frames, nodes = tokens.frames, len(acoustics), tokens.tokens
    links, eps_links = tokens.links, tokens.eps_links
    beta, best = ends
    cutoff = best - output_beam - _SLACK if best > -np.inf else np.inf
    kept = np.empty(frames[num_frames].link, dtype=np.int32)
    kept_eps = np.empty(frames[num_frames + 1].eps_link, dtype=np.int32)
    first, first_eps = len(kept), len(kept_eps)
    for t in range(num_frames, -1, -1):
        if t < num_frames:
            for i in range(frames[t + 1].link - 1, frames[t].link - 1, -1):
                after = beta[links[i].dst]
                if after == -np.inf:
                    continue
                source, arc = links[i].src, links[i].arc
                after += graph.arcs[arc].score
                after += acoustics[t, graph.arcs[arc].label]
                if nodes[source].score + after >= cutoff:
                    first -= 1
                    kept[first] = i
                    beta[source] = max(beta[source], after)
        last_eps, changed = first_eps, True
        while changed:  # the last round finds the scores as they are, and so all links to keep
            changed, first_eps = False, last_eps
            for i in range(frames[t + 1].eps_link - 1, frames[t].eps_link - 1, -1):
                after = beta[eps_links[i].dst]
                if after == -np.inf:
                    continue
                source = eps_links[i].src
                after += graph.eps_arcs[eps_links[i].arc].score
                if nodes[source].score + after >= cutoff:
                    first_eps -= 1
                    kept_eps[first_eps] = i
                    if after > beta[source] + 1e-9:
                        beta[source] = after
                        changed = True
    return Kept(kept[first:], kept_eps[first_eps:], beta, cutoff)


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
    is final. Arcs are in the order of their sources.
    """
    frames, links, num_frames = tokens.frames, tokens.links, len(acoustics)
    number, of_state = _number_states(tokens, kept)
    paths = _eps_paths(graph, tokens, kept, of_state)
    final_state, num_kept = len(of_state), len(kept.links)
    first_link = _first_links(links, kept.links, len(number))
    arcs = np.empty(2 * num_kept + 16, dtype=ARC)
    num_arcs = t = 0
    for path in range(len(paths)):
        src, here, eps_score = paths[path].state, paths[path].token, paths[path].score
        while frames[t + 1].token <= here:
            t += 1
        k = first_link[here]
        while k < num_kept and links[kept.links[k]].src == here:
            index, dst = links[kept.links[k]].arc, number[links[kept.links[k]].dst]
            if num_arcs == len(arcs):
                arcs = np.append(arcs, np.empty_like(arcs))
            arc, row = graph.arcs[index], arcs[num_arcs]
            row.src, row.dst, row.eps, row.arc, row.frame = src, dst, path, index, t
            row.label, row.phone = arc.label, outputs.phones[index]
            row.graph_score = eps_score + arc.score
            row.score = row.graph_score + acoustics[t, arc.label]
            num_arcs += 1
            k += 1
        final = outputs.final[tokens.tokens[here].state] if t == num_frames else -np.inf
        if final > -np.inf:
            if num_arcs == len(arcs):
                arcs = np.append(arcs, np.empty_like(arcs))
            row = arcs[num_arcs]
            row.src, row.dst, row.eps, row.arc, row.frame = src, final_state, path, NONE, t
            row.label, row.phone = -1, 0
            row.score = row.graph_score = eps_score + final
            num_arcs += 1
    return arcs[:num_arcs], paths, final_state + 1


@njit(nogil=True, cache=True)
def _number_states(tokens: FstTokens, kept: Kept) -> tuple[Ints, Ints]:
    """The state of every token that has one, and the token of every state."""
    number = np.full(len(kept.beta), -1, dtype=np.int32)
    of_state = np.empty(len(kept.links) + 1, dtype=np.int32)
    number[0] = of_state[0] = 0
    count = 1
    for i in kept.links:
        token = tokens.links[i].dst
        if number[token] < 0:
            number[token] = count
            of_state[count] = token
            count += 1
    return number, of_state[:count]


@njit(nogil=True, cache=True)
def _first_links(links: Structs, kept: Ints, num_tokens: Index) -> Ints:
    """Where a token's links begin among those kept, which come in the order of their sources."""
    first = np.full(num_tokens, len(kept), dtype=np.int32)
    for k in range(len(kept) - 1, -1, -1):
        first[links[kept[k]].src] = k
    return first


@njit(nogil=True, cache=True)
def _eps_paths(graph: FstArrays, tokens: FstTokens, kept: Kept, of_state: Ints) -> Structs:
    """The paths of kept ε-links from every state, the empty one first, breadth first."""
    links, num_kept = tokens.eps_links, len(kept.eps_links)
    first_link = _first_links(links, kept.eps_links, len(kept.beta))
    paths = np.empty(2 * len(of_state), dtype=_PATH)
    done = num_paths = 0
    for state in range(len(of_state)):
        if num_paths == len(paths):
            paths = np.append(paths, np.empty_like(paths))
        path = paths[num_paths]
        path.state, path.token = state, of_state[state]
        path.before, path.eps, path.score = NONE, NONE, 0.0
        num_paths += 1
        alpha = tokens.tokens[of_state[state]].score
        while done < num_paths:
            here, score = paths[done].token, paths[done].score
            k = first_link[here]
            while k < num_kept and links[kept.eps_links[k]].src == here:
                arc, dst = links[kept.eps_links[k]].arc, links[kept.eps_links[k]].dst
                k += 1
                longer = score + graph.eps_arcs[arc].score
                if alpha + longer + kept.beta[dst] < kept.cutoff or _passes(paths, done, dst):
                    continue  # below the beam, or a cycle of ε-arcs
                if num_paths == len(paths):
                    paths = np.append(paths, np.empty_like(paths))
                path = paths[num_paths]
                path.state, path.token = state, dst
                path.before, path.eps, path.score = done, arc, longer
                num_paths += 1
            done += 1
    return paths[:num_paths]


@njit(nogil=True, cache=True)
def _passes(paths: Structs, path: Index, token: Index) -> bool:
    """Whether a path of ε-links passes a token."""
    while path >= 0:
        if paths[path].token == token:
            return True
        path = paths[path].before
    return False


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
