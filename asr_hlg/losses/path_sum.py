"""Total score of a graph, the sum over all its paths, as a differentiable torch function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from asr_hlg.errors import OptionError
from asr_hlg.losses.device_sum import path_sums
from asr_hlg.losses.frame_graph import FrameGraph


def path_sum(
    scores: torch.Tensor, lengths: torch.Tensor, graphs: Sequence[FrameGraph]
) -> torch.Tensor:
    """Total score of each utterance: log Σ over the paths of its graph of exp(path score).

    Computed in float64, whatever the dtype of ``scores``: on the CPU by kernels, on every other
    device there, in torch operations (:mod:`asr_hlg.losses.device_sum`).
    ``k2.intersect_dense`` and ``get_tot_scores`` do the same for float32 scores; on the graphs of
    single sentences k2 takes four to five times as long.

    Parameters
    ----------
    scores : torch.Tensor
        Floating ``(B, T, V)``: score of label v in frame t, natural logs.
    lengths : torch.Tensor
        int ``(B,)``: frames of each utterance.
    graphs : sequence of FrameGraph
        One for each utterance.

    Returns
    -------
    torch.Tensor
        ``(B,)``, dtype and device of ``scores``; ``-inf``, with a zero gradient, where a graph
        has no path of that many frames. The gradient is the occupancy γ_t(v).
    """
    if scores.ndim != 3 or not len(scores) == len(lengths) == len(graphs):
        raise OptionError(
            f"scores have shape {tuple(scores.shape)} for {len(lengths)} lengths and "
            f"{len(graphs)} graphs, expected (utterances, frames, columns)"
        )
    totals: torch.Tensor = _PathSum.apply(scores, lengths, graphs)
    return totals


class _PathSum(torch.autograd.Function):
    """`path_sum` with its gradient, which the forward pass computes too."""

    @staticmethod
    def forward(
        ctx: Any, scores: torch.Tensor, lengths: torch.Tensor, graphs: Sequence[FrameGraph]
    ) -> torch.Tensor:
        if scores.device.type != "cpu":
            lengths = lengths.to(scores.device)
            sums, occupancy = path_sums(scores.detach().double(), lengths, graphs)
            ctx.save_for_backward(occupancy.to(scores))
            return sums.to(scores)
        frames = scores.detach().double()
        gradient = torch.zeros_like(frames)
        totals = []
        for index, (length, graph) in enumerate(zip(lengths.tolist(), graphs, strict=True)):
            log_probs = frames[index, :length].numpy()
            total, occupancies = graph.path_sum(log_probs, ctx.needs_input_grad[0])
            totals.append(total)
            if occupancies is not None:
                gradient[index, :length] = torch.from_numpy(occupancies)
        ctx.save_for_backward(gradient.to(scores))
        return torch.tensor(totals, dtype=scores.dtype, device=scores.device)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_totals: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad_totals[:, None, None] * gradient, None, None
