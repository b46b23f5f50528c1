"""Lattices from what the search in tensors has recorded: pruned on the device, built on the host.

:func:`prune` drops, from the last frame to the first and for all utterances together, the links on
no path within the output beam of the best one. What is left, a tenth, is copied to the host and
becomes the records of token passing, of which :func:`asr_hlg.search.lattices.build` makes lattices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor

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
from asr_hlg.search.tensor_ops import NEG_INF, ExactShapes, largest, pick
from asr_hlg.search.tensor_records import BLANK, BlankTokens, History, LabelTokens, Links

Array = npt.NDArray[Any]

_SLACK = 1e-3
"""Added to the output beam, against rounding: the lattices' own pruning is exact."""


class KeptLinks(NamedTuple):
    """Links on paths within the output beam, as arrays, sorted by utterance, then by frame."""

    splits: Array  # int64 (utterances + 1,)
    frame: Array
    src: Array
    dst: Array
    eps: Array
    arc: Array
    score: Array


def prune(
    history: History, graph: TensorGraph, num_utterances: int, output_beam: float
) -> KeptLinks:
    """Links on paths within the output beam of each utterance's best path.

    Parameters
    ----------
    history : History
        Of a search whose utterances have all ended.
    graph : TensorGraph
    num_utterances : int
    output_beam : float
    """
    beta = torch.full((history.num_ids,), NEG_INF, dtype=torch.float64, device=graph.device)
    best = torch.full((num_utterances,), NEG_INF, dtype=torch.float64, device=graph.device)
    for labels, blanks in history.ends:
        _final_scores(labels, blanks, graph, beta, best)
    sizes = [len(part.src) for part in history.links]
    links = Links(*map(torch.cat, zip(*history.links, strict=True)))
    weight = (links.score - links.before).masked_fill_(links.score == NEG_INF, NEG_INF)
    steps = zip(links.src.split(sizes), links.dst.split(sizes), weight.split(sizes), strict=True)
    through = []  # backward scores of destinations, from the last frame to the first
    for src, dst, added in reversed(list(steps)):
        through.append(pick(beta, dst))
        largest(beta, src, added + through[-1])
    # Without a final state, no path is kept.
    lost = torch.full_like(best, -NEG_INF)
    cutoff = torch.where(best > NEG_INF, best - output_beam - _SLACK, lost)
    scores = links.score + torch.cat(through[::-1])
    kept = (scores >= pick(cutoff, links.utterance)).nonzero().view(-1)
    frame = np.searchsorted(np.cumsum(sizes), kept.cpu().numpy(), side="right") // 2
    utterance, src, dst, eps, arc, score = (pick(part, kept).cpu().numpy() for part in links[:6])
    return sorted_by_utterance(utterance, frame, src, dst, eps, arc, score, num_utterances)


def _final_scores(
    labels: LabelTokens,
    blanks: BlankTokens,
    graph: TensorGraph,
    beta: Tensor,
    best: Tensor,
) -> None:
    """Set the backward scores of last tokens, and the scores of best paths, in place."""
    first = pick(graph.eps_splits, labels.state)
    if len(first):
        counts = pick(graph.eps_splits, labels.state + 1) - first
        rows, copy = ExactShapes().expand(counts * (labels.score > NEG_INF), "epsilons")
        eps, scores = pick(first, rows.at) + copy, rows.of_scores(labels.score)
        behind = pick(graph.final, pick(graph.eps_state, eps)) + pick(graph.eps_score, eps)
        largest(beta, pick(labels.id, rows.at), behind.double())
        largest(best, pick(labels.utterance, rows.at), scores + behind)
    for tokens in (labels, blanks):
        final = pick(graph.final, tokens.state).double()
        final.masked_fill_(tokens.score == NEG_INF, NEG_INF)
        largest(beta, tokens.id, final)
        largest(best, tokens.utterance, tokens.score + final)


def last_blanks(history: History) -> Array:
    """Ids of the blank tokens that were active after the last frame of their utterance."""
    ids = torch.cat([blanks.id for _, blanks in history.ends])
    scores = torch.cat([blanks.score for _, blanks in history.ends])
    return np.asarray(ids[scores > NEG_INF].cpu().numpy())


def sorted_by_utterance(
    utterance: Array,
    frame: Array,
    src: Array,
    dst: Array,
    eps: Array,
    arc: Array,
    score: Array,
    num_utterances: int,
) -> KeptLinks:
    """Sort links, which are in the order of frames, by utterance."""
    order = np.argsort(utterance.astype(np.int32), kind="stable")
    splits = np.append(0, np.cumsum(np.bincount(utterance, minlength=num_utterances)))
    return KeptLinks(splits, *(part[order] for part in (frame, src, dst, eps, arc, score)))


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
        int64: see :func:`last_blanks`.
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
