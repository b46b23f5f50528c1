"""Pruning of the links of token passing to the output beam, from the last frame to the first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.search.records import NONE, REPEAT, GraphArrays, Scores, Tokens

Floats = npt.NDArray[np.float64]
Kept = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]

_SLACK = 1e-3
"""Added to the output beam in the first sweep, against rounding; the second is exact."""


@njit(nogil=True, cache=True)
def prune_links(graph: GraphArrays, acoustics: Scores, output_beam: float, tokens: Tokens) -> Kept:
    """The label links, blank links and last blank tokens on paths within the output beam.

    Backward scores are, as in the search, relative to a path of nothing but blanks from the first
    frame to the last, so that a blank token's changes only where a label link leaves it.
    """
    frames, num_frames = tokens.frames, len(acoustics)
    kept_links = np.empty(frames[num_frames].link, dtype=np.uint32)
    kept_blank_links = np.empty(frames[num_frames].blank_link, dtype=np.uint32)
    # Both are filled from the end.
    first_link, first_blank_link = len(kept_links), len(kept_blank_links)
    label_beta = np.full(frames[num_frames + 1].token, -np.inf)
    blank_beta = np.full(tokens.num_blank_tokens, -np.inf)
    best = _final_scores(graph, tokens, num_frames, label_beta)
    cutoff = best - output_beam - _SLACK
    ends = _last_blank_tokens(graph, tokens, cutoff, blank_beta)
    if best == -np.inf:
        return kept_links[first_link:], kept_blank_links[first_blank_link:], ends[:0]
    for t in range(num_frames - 1, -1, -1):
        first_blank_link = _prune_blank_links(
            graph, tokens, t, cutoff, label_beta, blank_beta, kept_blank_links, first_blank_link
        )
        first_link = _prune_label_links(
            graph, acoustics, tokens, t, cutoff, label_beta, blank_beta, kept_links, first_link
        )
    return kept_links[first_link:], kept_blank_links[first_blank_link:], ends


@njit(nogil=True, cache=True)
def _final_scores(graph: GraphArrays, tokens: Tokens, num_frames: int, label_beta: Floats) -> float:
    """Write the final scores of the last label tokens to ``label_beta``.

    Returns the score of the best path, ``-inf`` where none reached a final state.
    """
    states, eps_arcs, final, label_tokens = (
        graph.states,
        graph.eps_arcs,
        graph.final,
        tokens.label_tokens,
    )
    best = -np.inf
    for token in range(tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token):
        state = label_tokens[token].state
        label_beta[token] = final[state]
        for arc in range(states[state].eps_first, states[state + 1].eps_first):
            beta = eps_arcs[arc].score + final[eps_arcs[arc].dst]
            label_beta[token] = max(label_beta[token], beta)
        best = max(best, label_tokens[token].score + label_beta[token])
    for i in range(tokens.num_alive):
        best = max(best, tokens.blank_tokens[i].score + final[tokens.blank_tokens[i].state])
    return best


@njit(nogil=True, cache=True)
def _last_blank_tokens(
    graph: GraphArrays, tokens: Tokens, cutoff: float, blank_beta: Floats
) -> npt.NDArray[np.uint32]:
    """Blank tokens at the end of paths above the cutoff; writes final scores to ``blank_beta``."""
    kept = np.empty(tokens.num_alive, dtype=np.uint32)
    count = 0
    for i in range(tokens.num_alive):
        token = tokens.blank_tokens[i]
        beta = graph.final[token.state]
        blank_beta[token.id] = beta
        if token.score + beta >= cutoff:
            kept[count] = i
            count += 1
    return kept[:count]


@njit(nogil=True, cache=True)
def _prune_blank_links(
    graph: GraphArrays,
    tokens: Tokens,
    t: int,
    cutoff: float,
    label_beta: Floats,
    blank_beta: Floats,
    kept: npt.NDArray[np.uint32],
    first: int,
) -> int:
    """Keep frame ``t``'s blank links above the cutoff before ``kept[first]``; the new first."""
    links, frames = tokens.blank_links, tokens.frames
    for i in range(frames[t + 1].blank_link - 1, frames[t].blank_link - 1, -1):
        link = links[i]
        beta = blank_beta[link.dst]
        if link.eps != NONE:
            beta += graph.eps_arcs[link.eps].score
        if tokens.label_tokens[link.src].score + beta >= cutoff:
            first -= 1
            kept[first] = i
            label_beta[link.src] = max(label_beta[link.src], beta)
    return first


@njit(nogil=True, cache=True)
def _prune_label_links(
    graph: GraphArrays,
    acoustics: Scores,
    tokens: Tokens,
    t: int,
    cutoff: float,
    label_beta: Floats,
    blank_beta: Floats,
    kept: npt.NDArray[np.uint32],
    first: int,
) -> int:
    """Keep frame ``t``'s label links above the cutoff before ``kept[first]``; the new first."""
    links, frames, blank = tokens.label_links, tokens.frames, acoustics[t, 0]
    for i in range(frames[t + 1].link - 1, frames[t].link - 1, -1):
        link = links[i]
        beta = label_beta[link.dst]
        if link.score + beta < cutoff:
            continue
        first -= 1
        kept[first] = i
        beta += acoustics[t, tokens.label_tokens[link.dst].label] - blank
        if link.arc != REPEAT:
            beta += graph.arcs[link.arc].score
        if link.eps != NONE:
            beta += graph.eps_arcs[link.eps].score
        if link.src >= 0:
            label_beta[link.src] = max(label_beta[link.src], beta)
        else:
            token = -1 - link.src
            blank_beta[token] = max(blank_beta[token], beta)
    return first
