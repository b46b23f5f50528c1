"""Lattices from the links that the search of L∘G in tensors has recorded.

The links that :meth:`asr_hlg.search.tensor_history.History.prune` leaves become the records of
token passing, of which :func:`asr_hlg.search.lattices.build` makes lattices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit

from asr_hlg.lattice import FrameArcs
from asr_hlg.search import lattices
from asr_hlg.search.records import (
    BLANK_LINK,
    BLANK_TOKEN,
    FRAME,
    LABEL_LINK,
    LABEL_TOKEN,
    GraphArrays,
    GraphOutputs,
    Tokens,
)
from asr_hlg.search.tensor_graph import TensorGraph
from asr_hlg.search.tensor_history import Ends, KeptLinks
from asr_hlg.search.tensor_ops import NEG_INF, ExactShapes, pick
from asr_hlg.search.tensor_records import BLANK, BlankTokens, LabelTokens

Array = npt.NDArray[Any]


def ends(labels: LabelTokens, blanks: BlankTokens, graph: TensorGraph) -> list[Ends]:
    """Last tokens with the scores of the final states where they are, or behind their ε-arcs."""
    first = pick(graph.eps_splits, labels.state)
    counts = (pick(graph.eps_splits, labels.state + 1) - first) * (labels.score > NEG_INF)
    rows, copy = ExactShapes().expand(counts, "epsilons")
    eps = pick(first, rows.at) + copy
    behind = pick(graph.final, pick(graph.eps_state, eps)) + pick(graph.eps_score, eps)
    utterance, id, score = (
        pick(part, rows.at) for part in (labels.utterance, labels.id, labels.score)
    )
    found = [Ends(utterance, id, score, behind.double())]
    for tokens in (labels, blanks):
        final = pick(graph.final, tokens.state).double()
        found.append(Ends(tokens.utterance, tokens.id, tokens.score, final))
    return found


def ids_of(parts: Sequence[BlankTokens]) -> Array:
    """Ids of tokens, but for dead rows."""
    ids, scores = (torch.cat([getattr(part, name) for part in parts]) for name in ("id", "score"))
    return np.asarray(ids[scores > NEG_INF].cpu().numpy())


def build(
    links: KeptLinks,
    last_blanks: Array,
    num_ids: int,
    graph: GraphArrays,
    outputs: GraphOutputs,
    acoustics: Sequence[Array],
    output_beam: float,
) -> list[FrameArcs | None]:
    """The lattice of every utterance, None where no path reached a final state.

    Parameters
    ----------
    links : KeptLinks
    last_blanks : np.ndarray
        int64: ids of blank tokens that were active after the last frame of their utterance.
    num_ids : int
        Ids of tokens that the search has used; token i is the start of utterance i.
    graph, outputs : GraphArrays, GraphOutputs
    acoustics : sequence of np.ndarray
        float32 ``(num_frames, num_labels)`` for every utterance: the scores that were searched.
    output_beam : float
    """
    is_last = np.zeros(num_ids, np.bool_)
    is_last[last_blanks] = True
    number = np.zeros(num_ids, np.int32)
    result: list[FrameArcs | None] = []
    for row, frames in enumerate(acoustics):
        span = slice(links.splits[row], links.splits[row + 1])
        if span.start == span.stop:
            result.append(None)
            continue
        columns = tuple(column[span] for column in links[1:])
        tokens = Tokens(*_records(columns, row, len(frames), graph, is_last, number))
        arcs = FrameArcs(*lattices.build(graph, outputs, frames, output_beam, tokens))
        result.append(arcs if arcs.num_arcs else None)
    return result


@njit(nogil=True, cache=True)
def _records(
    links: Any, start: int, num_frames: int, graph: GraphArrays, is_last: Array, number: Array
) -> Any:
    """Fields of :class:`~asr_hlg.search.records.Tokens` of one utterance, made from its links.

    ``number`` maps ids to what links have as ``src``, plus 1 for label tokens; 0 is none yet.
    """
    frame, src, dst, eps, arc, score = links
    count = len(src)
    label_tokens = np.empty(count + 1, dtype=LABEL_TOKEN)
    label_links = np.empty(count, dtype=LABEL_LINK)
    blank_links = np.empty(count, dtype=BLANK_LINK)
    blank_state = np.empty(count, dtype=np.uint32)
    blank_score = np.empty(count)
    blank_id = np.empty(count, dtype=np.int64)
    frames = np.zeros(num_frames + 2, dtype=FRAME)
    token = label_tokens[0]
    token.state, token.label, token.next, token.score = 0, 0, -1, 0.0
    number[start] = 1
    num_tokens, num_blanks, num_label_links, num_blank_links = 1, 0, 0, 0
    i = 0
    frames[1].token = 1
    for t in range(num_frames):
        while i < count and frame[i] == t:
            source = number[src[i]]
            first = number[dst[i]] == 0
            if arc[i] == BLANK:
                if first:
                    number[dst[i]] = -1 - num_blanks
                    blank_id[num_blanks], blank_score[num_blanks] = dst[i], score[i]
                    if eps[i] >= 0:
                        blank_state[num_blanks] = graph.eps_arcs[eps[i]].dst
                    else:
                        blank_state[num_blanks] = label_tokens[source - 1].state
                    num_blanks += 1
                blank = -1 - number[dst[i]]
                blank_score[blank] = max(blank_score[blank], score[i])
                blank_link = blank_links[num_blank_links]
                blank_link.src, blank_link.dst, blank_link.eps = source - 1, blank, eps[i]
                num_blank_links += 1
            else:
                if first:
                    number[dst[i]] = num_tokens + 1
                    token = label_tokens[num_tokens]
                    token.next, token.score = -1, score[i]
                    if arc[i] >= 0:
                        token.state = graph.arcs[arc[i]].dst
                        token.label = graph.arcs[arc[i]].label
                    else:
                        token.state = label_tokens[source - 1].state
                        token.label = label_tokens[source - 1].label
                    num_tokens += 1
                token = label_tokens[number[dst[i]] - 1]
                token.score = max(token.score, score[i])
                link = label_links[num_label_links]
                link.src = source - 1 if source > 0 else source
                link.dst, link.eps, link.arc = number[dst[i]] - 1, eps[i], arc[i]
                link.score = score[i]
                num_label_links += 1
            i += 1
        frames[t + 2].token = num_tokens
        frames[t + 1].link, frames[t + 1].blank_link = num_label_links, num_blank_links
    blank_tokens = np.empty(num_blanks, dtype=BLANK_TOKEN)
    num_alive = 0
    for blank in range(num_blanks):
        if is_last[blank_id[blank]]:
            last = blank_tokens[num_alive]
            last.state, last.id, last.score = blank_state[blank], blank, blank_score[blank]
            num_alive += 1
    return label_tokens, label_links, blank_tokens, blank_links, frames, num_alive, num_blanks
