"""Pruning of the links of token passing to the output beam, from the last frame to the first."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.search.records import NONE, REPEAT, GraphArrays, Ints, Scores, Tokens

Indices = npt.NDArray[np.uint32]

Ends = tuple[Any, Any, Any]
"""Backward scores of label tokens, and of blank tokens by their ids, after the last frame.

They are ``-inf`` for earlier tokens. The third is the score of the best path, ``-inf`` if there is
none.
"""

_SLACK = 1e-3
"""Added to the output beam in the first sweep, against rounding; the second is exact."""


class Kept(NamedTuple):
    """What is on paths within the output beam."""

    label_links: Indices
    blank_links: Indices
    last_blank_tokens: Indices  # indices of ``blank_tokens`` after the last frame
    label_tokens: npt.NDArray[np.bool_]
    blank_begin: Ints  # of every blank token, the first frame; if unused, after the last frame
    blank_end: Ints  # of every blank token, the last frame


@njit(nogil=True, cache=True)
def prune_links(  # noqa: C901 - a frame's two loops share ten arrays
    graph: GraphArrays, acoustics: Scores, output_beam: float, tokens: Tokens, ends: Ends
) -> Kept:
    """The links and tokens on paths within the output beam, of the best of those to ``ends``.

    Backward scores are, as in the search, relative to a path of nothing but blanks from the first
    frame to the last, so that a blank token's changes only where a label link leaves it.
    """
    frames, num_frames, label_tokens = tokens.frames, len(acoustics), tokens.label_tokens
    kept_links = np.empty(frames[num_frames].link, dtype=np.uint32)
    kept_blank_links = np.empty(frames[num_frames].blank_link, dtype=np.uint32)
    # Both are filled from the end.
    first_link, first_blank_link = len(kept_links), len(kept_blank_links)
    label_beta, blank_beta, best = ends
    # Without a final state, no path is kept.
    cutoff = best - output_beam - _SLACK if best > -np.inf else np.inf
    last_blank_tokens = np.empty(tokens.num_alive, dtype=np.uint32)
    num_last = 0
    used = np.zeros(frames[num_frames + 1].token, dtype=np.bool_)
    begin = np.full(tokens.num_blank_tokens, num_frames + 1, dtype=np.int32)
    end = np.full(tokens.num_blank_tokens, -1, dtype=np.int32)
    used[0] = True
    for i in range(tokens.num_alive):
        blank_token = tokens.blank_tokens[i]
        if blank_token.score + blank_beta[blank_token.id] >= cutoff:
            last_blank_tokens[num_last] = i
            num_last += 1
            end[blank_token.id] = num_frames
    for t in range(num_frames - 1, -1, -1):
        for i in range(frames[t + 1].blank_link - 1, frames[t].blank_link - 1, -1):
            blank_link = tokens.blank_links[i]
            beta = blank_beta[blank_link.dst]
            if blank_link.eps != NONE:
                beta += graph.eps_arcs[blank_link.eps].score
            if label_tokens[blank_link.src].score + beta >= cutoff:
                first_blank_link -= 1
                kept_blank_links[first_blank_link] = i
                begin[blank_link.dst] = t + 1
                label_beta[blank_link.src] = max(label_beta[blank_link.src], beta)
        for i in range(frames[t + 1].link - 1, frames[t].link - 1, -1):
            link = tokens.label_links[i]
            beta = label_beta[link.dst]
            if link.score + beta < cutoff:
                continue
            first_link -= 1
            kept_links[first_link] = i
            used[link.dst] = True
            beta += acoustics[t, label_tokens[link.dst].label] - acoustics[t, 0]
            if link.arc != REPEAT:
                beta += graph.arcs[link.arc].score
            if link.eps != NONE:
                beta += graph.eps_arcs[link.eps].score
            if link.src >= 0:
                label_beta[link.src] = max(label_beta[link.src], beta)
            else:
                token = -1 - link.src
                blank_beta[token] = max(blank_beta[token], beta)
                end[token] = max(end[token], t)
    return Kept(
        kept_links[first_link:],
        kept_blank_links[first_blank_link:],
        last_blank_tokens[:num_last],
        used,
        begin,
        end,
    )


@njit(nogil=True, cache=True)
def final_scores(graph: GraphArrays, final: Scores, tokens: Tokens) -> Ends:
    """Ends of an utterance: tokens of the last frame have the score of their final state."""
    num_frames = len(tokens.frames) - 2
    states, eps_arcs, label_tokens = graph.states, graph.eps_arcs, tokens.label_tokens
    first, end = tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token
    label_beta = np.full(end, -np.inf)
    blank_beta = np.full(tokens.num_blank_tokens, -np.inf)
    best = -np.inf
    for token in range(first, end):
        state = label_tokens[token].state
        label_beta[token] = final[state]
        for arc in range(states[state].eps_first, states[state + 1].eps_first):
            beta = eps_arcs[arc].score + final[eps_arcs[arc].dst]
            label_beta[token] = max(label_beta[token], beta)
        best = max(best, label_tokens[token].score + label_beta[token])
    for i in range(tokens.num_alive):
        blank_token = tokens.blank_tokens[i]
        blank_beta[blank_token.id] = final[blank_token.state]
        best = max(best, blank_token.score + final[blank_token.state])
    return label_beta, blank_beta, best


@njit(nogil=True, cache=True)
def open_scores(tokens: Tokens) -> Ends:
    """Ends of an utterance that goes on: every token may be on the best path.

    What :func:`prune_links` removes with them is within the output beam for no continuation, since
    each path over it is farther than that below another path to the same token.
    """
    num_frames = len(tokens.frames) - 2
    first, end = tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token
    label_beta = np.full(end, -np.inf)
    blank_beta = np.full(tokens.num_blank_tokens, -np.inf)
    for token in range(first, end):
        label_beta[token] = -tokens.label_tokens[token].score
    for i in range(tokens.num_alive):
        blank_token = tokens.blank_tokens[i]
        blank_beta[blank_token.id] = -blank_token.score
    return label_beta, blank_beta, 0.0


@njit(nogil=True, cache=True)
def best_score(tokens: Tokens) -> float:
    """The best score of a token of the last frame, relative to a path of nothing but blanks."""
    num_frames = len(tokens.frames) - 2
    best = -np.inf
    for token in range(tokens.frames[num_frames].token, tokens.frames[num_frames + 1].token):
        best = max(best, tokens.label_tokens[token].score)
    for i in range(tokens.num_alive):
        best = max(best, tokens.blank_tokens[i].score)
    return best
