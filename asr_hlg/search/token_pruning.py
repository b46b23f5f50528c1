"""Pruning of tokens and links while an utterance is searched, at the times at which Kaldi prunes.

Kaldi's ``PruneActiveTokens``: a token's extra cost is how far the best path through it is behind
the best path so far, if all tokens of the last frame are taken for equally good. It is computed
from the last frame back, and no further than it changes by more than a tolerance. Hence which
links are left at some time depends on when the pruning ran before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.search.fst_records import FstArrays, FstTokens, Index
from asr_hlg.search.records import Scores

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Pruned(NamedTuple):
    """What is left of the tokens and links.

    Attributes
    ----------
    extra : np.ndarray
        float64 ``(num_tokens,)``: extra cost, infinite for a token that is removed.
    links, eps_links : np.ndarray
        bool: whether a link is left.
    links_due, tokens_due : np.ndarray
        bool ``(num_frames + 1,)``: frames whose links or tokens have to be pruned.
    size : np.ndarray
        int64 ``(num_frames + 1,)``: tokens left in every frame, -1 before they are counted.
    """

    extra: Floats
    links: Flags
    eps_links: Flags
    links_due: Flags
    tokens_due: Flags
    size: npt.NDArray[np.int64]


def nothing_pruned() -> Pruned:
    """The state before the first frame."""
    none = np.zeros(0, np.bool_)
    return Pruned(np.zeros(0), none, none, none, none, np.zeros(0, np.int64))


def extended(pruned: Pruned, tokens: FstTokens) -> Pruned:
    """A copy with room for the tokens, links and frames that were added since."""
    end, frames = tokens.frames[-1], len(tokens.frames) - 1
    return Pruned(
        _longer(pruned.extra, int(end["token"]), 0.0),
        _longer(pruned.links, int(end["link"]), True),
        _longer(pruned.eps_links, int(end["eps_link"]), True),
        _longer(pruned.links_due, frames, True),
        _longer(pruned.tokens_due, frames, True),
        _longer(pruned.size, frames, -1),
    )


def without(pruned: Pruned, is_kept: Flags) -> Pruned:
    """The state after tokens have been removed, and all links that were pruned."""
    return pruned._replace(
        extra=pruned.extra[is_kept],
        links=np.ones(np.count_nonzero(pruned.links), np.bool_),
        eps_links=np.ones(np.count_nonzero(pruned.eps_links), np.bool_),
    )


def _longer(array: npt.NDArray[Any], size: int, value: Any) -> npt.NDArray[Any]:
    return np.append(array, np.full(size - len(array), value, array.dtype))


@njit(nogil=True, cache=True)
def prune(
    graph: FstArrays,
    acoustics: Scores,
    beam: float,
    tolerance: float,
    tokens: FstTokens,
    pruned: Pruned,
) -> None:
    """Prune back from the last frame, as far as extra costs change by more than ``tolerance``."""
    last = len(tokens.frames) - 2
    if pruned.size[last] < 0:
        pruned.size[last] = tokens.frames[last + 1].token - tokens.frames[last].token
    for t in range(last - 1, -1, -1):
        if pruned.links_due[t]:
            changed, removed = _prune_links(graph, acoustics, beam, tolerance, tokens, pruned, t)
            if changed and t > 0:
                pruned.links_due[t - 1] = True
            if removed:
                pruned.tokens_due[t] = True
            pruned.links_due[t] = False
        if t + 1 < last and pruned.tokens_due[t + 1]:
            _count(tokens, pruned, t + 1)
            pruned.tokens_due[t + 1] = False


@njit(nogil=True, cache=True)
def prune_at_end(
    graph: FstArrays,
    acoustics: Scores,
    beam: float,
    tokens: FstTokens,
    pruned: Pruned,
    ends: Floats,
    best: float,
) -> None:
    """Prune all frames; ``ends`` are the final scores of the last frame's tokens."""
    frames, nodes, last = tokens.frames, tokens.tokens, len(tokens.frames) - 2
    begin = frames[last].token
    changed = True
    while changed:
        changed = False
        i = frames[last + 1].eps_link - 1
        for token in range(frames[last + 1].token - 1, begin - 1, -1):
            extra = best - nodes[token].score - ends[token - begin]
            while i >= frames[last].eps_link and tokens.eps_links[i].src == token:
                if pruned.eps_links[i]:
                    link = tokens.eps_links[i]
                    cost = pruned.extra[link.dst] + nodes[link.dst].score - nodes[token].score
                    cost -= graph.eps_arcs[link.arc].score
                    if cost > beam:
                        pruned.eps_links[i] = False
                    else:
                        extra = min(extra, max(cost, 0.0))
                i -= 1
            if extra > beam:
                extra = np.inf
            old = pruned.extra[token]
            if extra != old and not abs(extra - old) <= 1e-5 * (abs(extra) + abs(old)):
                changed = True
            pruned.extra[token] = extra
    for t in range(last - 1, -1, -1):
        _prune_links(graph, acoustics, beam, 0.0, tokens, pruned, t)
        _count(tokens, pruned, t + 1)
    _count(tokens, pruned, 0)


@njit(nogil=True, cache=True)
def _count(tokens: FstTokens, pruned: Pruned, t: Index) -> None:
    count = 0
    for token in range(tokens.frames[t].token, tokens.frames[t + 1].token):
        if pruned.extra[token] < np.inf:
            count += 1
    pruned.size[t] = count


@njit(nogil=True, cache=True)
def _prune_links(
    graph: FstArrays,
    acoustics: Scores,
    beam: float,
    tolerance: float,
    tokens: FstTokens,
    pruned: Pruned,
    t: Index,
) -> tuple[bool, bool]:
    """Prune links of a frame; returns whether extra costs changed, and whether links went."""
    frames, nodes, links, eps_links = tokens.frames, tokens.tokens, tokens.links, tokens.eps_links
    any_changed = removed = False
    changed = True
    while changed:
        changed = False
        i, e = frames[t + 1].link - 1, frames[t + 1].eps_link - 1
        for token in range(frames[t + 1].token - 1, frames[t].token - 1, -1):
            extra = np.inf
            while i >= frames[t].link and links[i].src == token:
                if pruned.links[i]:
                    arc = graph.arcs[links[i].arc]
                    cost = pruned.extra[links[i].dst] + nodes[links[i].dst].score
                    cost -= nodes[token].score + arc.score + acoustics[t, arc.label]
                    if cost > beam:
                        pruned.links[i] = False
                        removed = True
                    else:
                        extra = min(extra, max(cost, 0.0))
                i -= 1
            while e >= frames[t].eps_link and eps_links[e].src == token:
                if pruned.eps_links[e]:
                    cost = pruned.extra[eps_links[e].dst] + nodes[eps_links[e].dst].score
                    cost -= nodes[token].score + graph.eps_arcs[eps_links[e].arc].score
                    if cost > beam:
                        pruned.eps_links[e] = False
                        removed = True
                    else:
                        extra = min(extra, max(cost, 0.0))
                e -= 1
            old = pruned.extra[token]
            if extra != old and abs(extra - old) > tolerance:
                changed = True
            pruned.extra[token] = extra
        any_changed = any_changed or changed
    return any_changed, removed
