"""Sums over the paths of frame graphs in torch operations, for all utterances of a batch at once.

It is the recursion of :mod:`asr_hlg.losses.frame_graph`, on the device where the scores are: the
graphs of the batch are one graph of separate parts, and a frame is a few operations on all arcs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr_hlg.losses.frame_graph import FrameGraph

_LOWEST = -1e300
"""In place of ``-inf``, so that no difference is a NaN."""

with warnings.catch_warnings():  # torch 1.13 warns once, on the first call
    warnings.simplefilter("ignore")
    torch.zeros(1).scatter_reduce_(0, torch.zeros(1, dtype=torch.int64), torch.zeros(1), "amax")


class _Arcs(NamedTuple):
    """Arcs and states of several graphs, those of each after those of the one before."""

    src: Tensor  # int64 (num_arcs,)
    dst: Tensor
    column: Tensor  # of the scores of all utterances side by side
    owner: Tensor  # utterance
    score: Tensor  # float64
    state_owner: Tensor  # int64 (num_states,): utterance
    final: Tensor  # float64
    start: Tensor  # int64 (num_utterances,): state

    @staticmethod
    def of(graphs: Sequence[FrameGraph], num_columns: int, device: torch.device) -> _Arcs:
        """Put graphs side by side on a device."""
        sizes = [len(graph.final) for graph in graphs]
        starts = np.cumsum([0, *sizes[:-1]])
        owner = np.repeat(np.arange(len(graphs)), [len(graph.src) for graph in graphs])
        dst = [np.repeat(np.arange(len(graph.final)), np.diff(graph.first)) for graph in graphs]
        columns = (
            np.concatenate([graph.src for graph in graphs]) + starts[owner],
            np.concatenate(dst) + starts[owner],
            np.concatenate([graph.label for graph in graphs]) + num_columns * owner,
            owner,
            np.concatenate([graph.score for graph in graphs]),
            np.repeat(np.arange(len(graphs)), sizes),
            np.concatenate([graph.final for graph in graphs]),
            starts,
        )
        return _Arcs(*(torch.from_numpy(column).to(device) for column in columns))


def path_sums(
    scores: Tensor, lengths: Tensor, graphs: Sequence[FrameGraph]
) -> tuple[Tensor, Tensor]:
    """Total score of each utterance's graph, and the occupancies, which are its gradient.

    Parameters
    ----------
    scores : Tensor
        float64 ``(B, T, V)``, on any device.
    lengths : Tensor
        int ``(B,)``, on the same device.
    graphs : sequence of FrameGraph
        One for each utterance.

    Returns
    -------
    totals : Tensor
        float64 ``(B,)``, as :meth:`FrameGraph.path_sum` gives them.
    occupancies : Tensor
        float64 ``(B, T, V)``; zeros where the total is not finite, and after the last frame.
    """
    num_utterances, num_frames, num_columns = scores.shape
    arcs = _Arcs.of(graphs, num_columns, scores.device)
    frames = scores.transpose(0, 1).reshape(num_frames, num_utterances * num_columns)
    ends, arc_ends = lengths[arcs.state_owner], lengths[arcs.owner]
    start = torch.full_like(arcs.final, -torch.inf)
    alpha, after = [start.index_fill(0, arcs.start, 0.0)], []
    for t in range(num_frames):
        after.append(alpha[t][arcs.src] + arcs.score + frames[t][arcs.column])
        following = _log_sums(after[t], arcs.dst, len(start))
        alpha.append(torch.where(t < ends, following, alpha[t]))
    ending = alpha[-1] + arcs.final
    totals = _log_sums(ending, arcs.state_owner, num_utterances)
    padding = torch.arange(num_frames, device=scores.device) >= lengths[:, None]
    is_nan = (scores.isnan().any(dim=2) & ~padding).any(dim=1)
    totals = totals.masked_fill(is_nan, torch.nan)
    total = totals[arcs.state_owner]
    posterior = torch.where(total.isfinite(), (ending - total).exp(), torch.zeros_like(total))
    occupancies = torch.zeros_like(frames)
    for t in range(num_frames - 1, -1, -1):
        share = (after[t] - alpha[t + 1][arcs.dst].clamp(min=_LOWEST)).exp()
        behind = posterior[arcs.dst] * (t < arc_ends)
        share = torch.where(behind > 0, behind * share, torch.zeros_like(share))
        occupancies[t].index_add_(0, arcs.column, share)
        previous = torch.zeros_like(posterior).index_add_(0, arcs.src, share)
        posterior = torch.where(t < ends, previous, posterior)
    return totals, occupancies.view(num_frames, num_utterances, num_columns).transpose(0, 1)


def _log_sums(values: Tensor, group: Tensor, num: int) -> Tensor:
    """Logarithm of the sum of exponentials of each group, ``-inf`` for an empty one."""
    top = values.new_full((num,), _LOWEST).scatter_reduce_(0, group, values, "amax")
    return top + torch.zeros_like(top).index_add_(0, group, (values - top[group]).exp()).log()
