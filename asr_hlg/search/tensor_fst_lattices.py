"""Lattices from the links that the search of H∘L∘G in tensors has recorded.

They become the records of token passing, of which :func:`asr_hlg.search.fst_lattices.build` makes
lattices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from asr_hlg.lattice import FrameArcs
from asr_hlg.search import fst_lattices
from asr_hlg.search.fst_records import FRAME, LINK, TOKEN, FstArrays, FstOutputs, FstTokens
from asr_hlg.search.tensor_history import Array, KeptLinks


def build(
    links: KeptLinks,
    num_ids: int,
    graph: FstArrays,
    outputs: FstOutputs,
    acoustics: Sequence[Array],
    output_beam: float,
    ends_anywhere: bool,
) -> list[FrameArcs | None]:
    """The lattice of every utterance, None where no path reached a final state.

    Parameters
    ----------
    links : KeptLinks
    num_ids : int
        Ids of tokens that the search has used; token i is the start of utterance i.
    graph, outputs : FstArrays, FstOutputs
    acoustics : sequence of np.ndarray
        float32 ``(num_frames, num_labels)`` for every utterance: the scores that were searched.
    output_beam : float
    ends_anywhere : bool
        Where no path reached a final state, let paths end in every state.
    """
    number = np.zeros(num_ids, np.int32)
    everywhere = outputs._replace(final=np.zeros_like(outputs.final)) if ends_anywhere else outputs
    result: list[FrameArcs | None] = []
    for row, frames in enumerate(acoustics):
        span = slice(links.splits[row], links.splits[row + 1])
        if span.start == span.stop:
            result.append(None)
            continue
        tokens = _records([column[span] for column in links[1:]], row, len(frames), graph, number)
        arcs = FrameArcs(*fst_lattices.build(graph, outputs, frames, output_beam, tokens))
        if ends_anywhere and not arcs.num_arcs:
            arcs = FrameArcs(*fst_lattices.build(graph, everywhere, frames, output_beam, tokens))
        result.append(arcs if arcs.num_arcs else None)
    return result


def _records(
    links: Sequence[Array], start: int, num_frames: int, graph: FstArrays, number: Array
) -> FstTokens:
    """Tokens and links of one utterance, in the order of frames and of the links' sources."""
    frame, src, dst, eps, arc, score = links
    tokens, src, dst, token_frame = _number_tokens(
        frame, src, dst, eps, arc, score, start, graph.arcs, graph.eps_arcs, number
    )
    frames = np.zeros(num_frames + 2, FRAME)
    frames["token"][1:] = np.cumsum(np.bincount(token_frame, minlength=num_frames + 1))
    kinds = {}
    for name, taken in (("link", arc), ("eps_link", eps)):
        rows = np.flatnonzero(taken >= 0)
        frames[name][1:] = np.cumsum(np.bincount(frame[rows], minlength=num_frames + 1))
        rows = rows[np.argsort(src[rows], kind="stable")]
        kinds[name] = records = np.empty(len(rows), LINK)
        records["src"], records["dst"], records["arc"] = src[rows], dst[rows], taken[rows]
    return FstTokens(tokens, kinds["link"], kinds["eps_link"], frames)


@njit(nogil=True, cache=True)
def _number_tokens(
    frame: Array,
    src: Array,
    dst: Array,
    eps: Array,
    arc: Array,
    score: Array,
    start: int,
    arcs: Any,
    eps_arcs: Any,
    number: Array,
) -> Any:
    """Tokens in the order in which links lead to them, the numbers that links have, and frames.

    ``number`` maps ids to numbers + 1; 0 is none yet.
    """
    count = len(src)
    tokens = np.empty(count + 1, TOKEN)
    token_frame, num_tokens = np.zeros(count + 1, np.int64), 1
    source, target = np.empty(count, np.int64), np.empty(count, np.int64)
    tokens[0].state, tokens[0].next, tokens[0].score = 0, -1, 0.0
    number[start] = 1
    for i in range(count):
        if number[dst[i]] == 0:
            token = tokens[num_tokens]
            token.next, token.score = -1, score[i]
            token.state = arcs[arc[i]].dst if arc[i] >= 0 else eps_arcs[eps[i]].dst
            token_frame[num_tokens] = frame[i] + (arc[i] >= 0)
            num_tokens += 1
            number[dst[i]] = num_tokens
        source[i], target[i] = number[src[i]] - 1, number[dst[i]] - 1
        tokens[target[i]].score = max(tokens[target[i]].score, score[i])
    return tokens[:num_tokens], source, target, token_frame[:num_tokens]
