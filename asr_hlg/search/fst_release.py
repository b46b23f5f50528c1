"""Release of tokens and links of :mod:`asr_hlg.search.fst_kernels` that no continuation needs.

As :mod:`asr_hlg.search.release`, for the tokens and links of an automaton with explicit labels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from asr_hlg.search.fst_lattices import open_scores, prune_links
from asr_hlg.search.fst_records import FstArrays, FstTokens, Structs
from asr_hlg.search.records import Ints, Scores


@njit(nogil=True, cache=True)
def release(
    graph: FstArrays, acoustics: Scores, output_beam: float, tokens: FstTokens, position: Structs
) -> None:
    """Remove what no continuation needs from the arrays of ``tokens``.

    Parameters
    ----------
    graph : FstArrays
    acoustics : np.ndarray
        float32 ``(num_frames, num_columns)``: those searched so far.
    output_beam : float
    tokens : FstTokens
        Whose arrays change, ``frames`` included.
    position : np.ndarray
        The `POSITION` record, whose counts change.
    """
    kept = prune_links(graph, acoustics, output_beam, tokens, open_scores(tokens))
    remove(tokens, kept.links, kept.eps_links, position)


@njit(nogil=True, cache=True)
def remove(tokens: FstTokens, links: Ints, eps_links: Ints, position: Structs) -> Ints:
    """Remove links from the arrays of ``tokens``, and the tokens that have none left.

    Parameters
    ----------
    tokens, position
        As for :func:`release`.
    links, eps_links : np.ndarray
        int32: numbers of those that stay, in order.

    Returns
    -------
    np.ndarray
        int32 ``(num_tokens,)``: new numbers of tokens, -1 for those that were removed.
    """
    number = _new_numbers(tokens, links, eps_links)
    frames, num_frames = tokens.frames, len(tokens.frames) - 2
    num_tokens = num_links = num_eps = token = 0
    for t in range(num_frames + 2):
        # Those of the frames before t, whose ends frames[t] holds.
        while token < frames[t].token:
            if number[token] >= 0:
                tokens.tokens[number[token]] = tokens.tokens[token]
                num_tokens += 1
            token += 1
        while num_links < len(links) and links[num_links] < frames[t].link:
            _move(tokens.links, links[num_links], num_links, number)
            num_links += 1
        while num_eps < len(eps_links) and eps_links[num_eps] < frames[t].eps_link:
            _move(tokens.eps_links, eps_links[num_eps], num_eps, number)
            num_eps += 1
        frames[t].token, frames[t].link, frames[t].eps_link = num_tokens, num_links, num_eps
    position[0].num_tokens, position[0].num_links = num_tokens, num_links
    return number


@njit(nogil=True, cache=True)
def _move(links: Structs, old: int, new: int, number: Ints) -> None:
    """Move a link, with the new numbers of its tokens."""
    src, dst, arc = links[old].src, links[old].dst, links[old].arc
    links[new].src, links[new].dst, links[new].arc = number[src], number[dst], arc


@njit(nogil=True, cache=True)
def _new_numbers(tokens: FstTokens, links: Ints, eps_links: Ints) -> Ints:
    """New numbers of tokens, -1 for those to remove."""
    num_frames = len(tokens.frames) - 2
    number = np.full(tokens.frames[num_frames + 1].token, -1, dtype=np.int32)
    number[0] = 0
    number[tokens.frames[num_frames].token :] = 0
    for i in links:
        number[tokens.links[i].src] = number[tokens.links[i].dst] = 0
    for i in eps_links:
        number[tokens.eps_links[i].src] = number[tokens.eps_links[i].dst] = 0
    count = 0
    for token in range(len(number)):
        if number[token] == 0:
            number[token] = count
            count += 1
    return number
