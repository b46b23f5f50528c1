"""Search by k2: H∘L∘G intersected with a batch of utterances, on the CPU or on CUDA."""

from __future__ import annotations

import k2
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice, arc_counts
from asr_hlg.search.options import SearchOptions


def search(
    graph: DecodingGraph, scores: Posteriors, options: SearchOptions, wider: SearchOptions
) -> Lattice:
    """Search all utterances together, and those that lose every path again with ``wider``."""
    rows = [i for i, length in enumerate(scores.lengths.tolist()) if length > 0]
    fsas = _intersect(graph.fsa, scores, rows, options)
    lost = _lost(fsas, rows)
    if lost:
        again = _intersect(graph.fsa, scores, lost, wider)
        fsas = k2.cat([fsas, again]) if fsas is not None else again
        rows = rows + lost
    return Lattice(fsas, rows, scores, graph)


def _intersect(
    graph: k2.Fsa, scores: Posteriors, rows: list[int], options: SearchOptions
) -> k2.Fsa | None:
    """The lattices of the utterances ``rows``, as one FsaVec; None where there are none."""
    if not rows:
        return None
    segments = [[row, 0, int(scores.lengths[row])] for row in rows]
    return k2.intersect_dense_pruned(
        graph,
        k2.DenseFsaVec(scores.log_probs, torch.tensor(segments, dtype=torch.int32)),
        search_beam=options.search_beam,
        output_beam=options.output_beam,
        min_active_states=options.min_active,
        max_active_states=options.max_active,
        frame_idx_name="frames",
    )


def _lost(fsas: k2.Fsa | None, rows: list[int]) -> list[int]:
    """The utterances in whose lattice no path reached a final state."""
    if fsas is None:
        return []
    return [row for row, count in zip(rows, arc_counts(fsas), strict=True) if count == 0]
