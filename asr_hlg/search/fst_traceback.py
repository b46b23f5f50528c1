"""The last frames of the best path while an utterance is searched, with numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from asr_hlg.search.fst_lattices import Indices
from asr_hlg.search.fst_records import FstArrays, FstTokens, Index
from asr_hlg.search.records import Ints, Scores


@njit(nogil=True, cache=True)
def last_frames(
    graph: FstArrays, phones: Ints, acoustics: Scores, tokens: FstTokens, count: int
) -> tuple[Ints, Indices]:
    """Phone in each of the last ``count`` frames of the best path so far, and the state before it.

    int32 and int64 ``(count,)``. A phone lasts from the arc that begins it to the next; 0 before
    the first. The path may end in any state.
    """
    num_frames = len(acoustics)
    result, states = np.zeros(count, dtype=np.int32), np.full(count, -1, dtype=np.int64)
    token = _best_token(tokens, num_frames)
    end, frame = num_frames, num_frames
    while frame > 0 and end > num_frames - count:
        token, arc = _emitting_link(graph, acoustics, tokens, token, frame)
        if token < 0:
            break
        frame -= 1
        if frame >= num_frames - count:
            states[frame - num_frames + count] = tokens.tokens[token].state
        if phones[arc] != 0:
            for t in range(max(frame, num_frames - count), end):
                result[t - num_frames + count] = phones[arc]
            end = frame
    return result, states


@njit(nogil=True, cache=True)
def _best_token(tokens: FstTokens, frame: Index) -> Index:
    """Token with the largest score after a frame."""
    begin, end = tokens.frames[frame].token, tokens.frames[frame + 1].token
    best = begin
    for token in range(begin + 1, end):
        if tokens.tokens[token].score > tokens.tokens[best].score:
            best = token
    return best


@njit(nogil=True, cache=True)
def _emitting_link(
    graph: FstArrays, acoustics: Scores, tokens: FstTokens, token: Index, frame: Index
) -> tuple[Index, Index]:
    """Token of the frame before from which the best path comes, and the arc that it took.

    (-1, -1) if there is none.
    """
    frames, nodes = tokens.frames, tokens.tokens
    for _ in range(frames[frame + 1].token - frames[frame].token + 1):
        best, source, found = -np.inf, -1, -1
        for i in range(frames[frame - 1].link, frames[frame].link):
            link = tokens.links[i]
            if link.dst == token:
                arc = graph.arcs[link.arc]
                score = nodes[link.src].score + arc.score + acoustics[frame - 1, arc.label]
                if score > best:
                    best, source, found = score, link.src, link.arc
        if found >= 0 and best >= nodes[token].score:
            return source, found
        before = -1
        for i in range(frames[frame].eps_link, frames[frame + 1].eps_link):
            link = tokens.eps_links[i]
            if link.dst == token:
                score = nodes[link.src].score + graph.eps_arcs[link.arc].score
                if score > best:
                    best, before = score, link.src
        if before < 0:
            return source, found
        token = before
    return -1, -1
