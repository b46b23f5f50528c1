"""The sum over all paths of a graph as a function that torch can differentiate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.autograd.function import once_differentiable

from asr_hlg.errors import OptionError
from asr_hlg.losses.graphs import FrameGraph


def path_sum(
    scores: torch.Tensor, lengths: torch.Tensor, graphs: Sequence[FrameGraph]
) -> torch.Tensor:
    """Log Σ over the paths of each utterance's graph of exp(its graph and frame scores).

    Computed in float64 on the CPU, whatever the dtype and the device of ``scores``.
    ``k2.intersect_dense`` and ``get_tot_scores`` do the same for float32 scores; on the graphs of
    single sentences they take four to five times as long.

    Parameters
    ----------
    scores : torch.Tensor
        Floating ``(B, T, V)``: what label v scores in frame t, natural logs.
    lengths : torch.Tensor
        int ``(B,)``: frames of each utterance.
    graphs : sequence of FrameGraph
        One an utterance.

    Returns
    -------
    torch.Tensor
        ``(B,)``, dtype and device of ``scores``; ``-inf``, with a zero gradient, where a graph
        has no path of so many frames. The gradient is the occupancy γ_t(v).
    """
    if scores.ndim != 3 or not len(scores) == len(lengths) == len(graphs):
        raise OptionError(
            f"scores have shape {tuple(scores.shape)} for {len(lengths)} lengths and "
            f"{len(graphs)} graphs, expected (utterances, frames, columns)"
        )
    return _PathSum.apply(scores, lengths, graphs)


class _PathSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, lengths, graphs):
        frames = scores.detach().to("cpu", torch.float64)
        gradient = torch.zeros_like(frames)
        totals = []
        for index, (length, graph) in enumerate(zip(lengths.tolist(), graphs, strict=True)):
            own = frames[index, :length].numpy()
            total, occupancies = graph.path_sum(own, ctx.needs_input_grad[0])
            totals.append(total)
            if occupancies is not None:
                gradient[index, :length] = torch.from_numpy(occupancies)
        ctx.save_for_backward(gradient.to(scores))
        return torch.tensor(totals, dtype=scores.dtype, device=scores.device)

    @staticmethod
    @once_differentiable
    def backward(ctx, of_totals):
        (gradient,) = ctx.saved_tensors
        return of_totals[:, None, None] * gradient, None, None
