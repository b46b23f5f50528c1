"""Release of the tokens and links that no continuation of an utterance needs, with numba.

While an utterance is searched, :func:`release` moves what is within the output beam of some active
token to the front of the workspace, in the same order, so that a lattice made later has the same
arcs in the same order. What is left of the past is the size of a lattice; where all active tokens
have one past, it is that past.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.search.pruning import Kept, open_scores, prune_links
from asr_hlg.search.records import GraphArrays, Records, Scores, Tokens

Numbers = npt.NDArray[np.int64]


@njit(nogil=True, cache=True)
def release(
    graph: GraphArrays,
    acoustics: Scores,
    output_beam: float,
    tokens: Tokens,
    position: Records,
) -> None:
    """Remove what no continuation needs from the arrays of ``tokens``.

    Parameters
    ----------
    graph : GraphArrays
    acoustics : np.ndarray
        float32 ``(num_frames, num_tokens)``: those searched so far.
    output_beam : float
    tokens : Tokens
        Whose arrays change, ``frames`` included.
    position : np.ndarray
        The `POSITION` record, whose counts change.
    """
    kept = prune_links(graph, acoustics, output_beam, tokens, open_scores(tokens))
    label, blank = _new_numbers(tokens, kept)
    frames, num_frames = tokens.frames, len(acoustics)
    old_begin = num_links = num_blank_links = i = j = 0
    num_tokens = 0
    for t in range(num_frames + 1):
        old_end = frames[t + 1].token
        for token in range(old_begin, old_end):
            if label[token] >= 0:
                tokens.label_tokens[label[token]] = tokens.label_tokens[token]
                num_tokens += 1
        old_begin = old_end
        if t < num_frames:
            end, blank_end = frames[t + 1].link, frames[t + 1].blank_link
            while i < len(kept.label_links) and kept.label_links[i] < end:
                link, to = tokens.label_links[kept.label_links[i]], tokens.label_links[num_links]
                src, dst = link.src, link.dst
                to.eps, to.arc, to.score = link.eps, link.arc, link.score
                to.src = label[src] if src >= 0 else -1 - blank[-1 - src]
                to.dst = label[dst]
                num_links += 1
                i += 1
            while j < len(kept.blank_links) and kept.blank_links[j] < blank_end:
                blank_link = tokens.blank_links[kept.blank_links[j]]
                to_blank = tokens.blank_links[num_blank_links]
                source, target = blank_link.src, blank_link.dst
                to_blank.eps = blank_link.eps
                to_blank.src, to_blank.dst = label[source], blank[target]
                num_blank_links += 1
                j += 1
            frames[t + 1].link, frames[t + 1].blank_link = num_links, num_blank_links
        frames[t + 1].token = num_tokens
    for k in range(tokens.num_alive):
        tokens.blank_tokens[k].id = blank[tokens.blank_tokens[k].id]
    here = position[0]
    here.num_tokens, here.num_links = num_tokens, num_links
    here.num_blank_tokens = 0
    for token in range(len(blank)):
        here.num_blank_tokens += blank[token] >= 0


@njit(nogil=True, cache=True)
def _new_numbers(tokens: Tokens, kept: Kept) -> tuple[Numbers, Numbers]:
    """New numbers of label tokens, and of blank tokens by their ids; -1 for those to remove."""
    num_frames = len(tokens.frames) - 2
    label = np.full(tokens.frames[num_frames + 1].token, -1, dtype=np.int64)
    blank = np.full(tokens.num_blank_tokens, -1, dtype=np.int64)
    label[0] = 0
    label[tokens.frames[num_frames].token :] = 0
    for k in range(tokens.num_alive):
        blank[tokens.blank_tokens[k].id] = 0
    for i in kept.label_links:
        link = tokens.label_links[i]
        label[link.dst] = 0
        if link.src >= 0:
            label[link.src] = 0
        else:
            blank[-1 - link.src] = 0
    for i in kept.blank_links:
        label[tokens.blank_links[i].src] = 0
        blank[tokens.blank_links[i].dst] = 0
    _count(label)
    _count(blank)
    return label, blank


@njit(nogil=True, cache=True)
def _count(numbers: Numbers) -> None:
    """Replace the zeros by the numbers 0, 1, 2 and so on."""
    count = 0
    for i in range(len(numbers)):
        if numbers[i] == 0:
            numbers[i] = count
            count += 1
