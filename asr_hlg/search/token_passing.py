"""Search on the CPU by token passing on L∘G, utterances side by side in threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import numpy as np
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.packed import PackedLg
from asr_hlg.lattice import FrameArcs, Lattice
from asr_hlg.search import kernels, lattices
from asr_hlg.search.options import SearchOptions


def search(
    graph: DecodingGraph, scores: Posteriors, options: SearchOptions, wider: SearchOptions
) -> Lattice:
    """Search every utterance, with ``wider`` where ``options`` lose every path.

    As many run at a time as torch may use threads.
    """
    lg = graph.packed
    assert lg is not None

    def arcs(row: int) -> FrameArcs | None:
        acoustics = utterances[row, : lengths[row]]
        if not len(acoustics):
            return None
        found = search_one(lg, acoustics, options)
        return found if found is not None else search_one(lg, acoustics, wider)

    lengths = scores.lengths.tolist()
    utterances = scores.log_probs.contiguous().numpy()
    threads = min(torch.get_num_threads(), len(lengths))
    if threads < 2:
        return Lattice.from_arcs([arcs(row) for row in range(len(lengths))], scores, graph)
    with ThreadPoolExecutor(threads) as pool:
        return Lattice.from_arcs(list(pool.map(arcs, range(len(lengths)))), scores, graph)


def search_one(lg: PackedLg, acoustics: np.ndarray, options: SearchOptions) -> FrameArcs | None:
    """The lattice of one utterance, None where no path reaches a final state.

    Parameters
    ----------
    lg : PackedLg
    acoustics : np.ndarray
        float32 ``(num_frames, num_tokens)``, scaled; column 0 is the blank.
    options : SearchOptions
    """
    try:
        workspace = _idle.get_nowait()
    except Empty:
        workspace = Workspace()
    try:
        found = _pass_tokens(lg, acoustics, options, workspace)
        graph = lg.states, lg.arcs, lg.words, lg.final, lg.eps_arcs
        spellings = lg.spellings, lg.spelling_splits
        arcs = FrameArcs(
            *lattices.build(*graph, spellings, acoustics, float(options.output_beam), found)
        )
    finally:
        _idle.put(workspace)
    return arcs if arcs.num_arcs else None


class Workspace:
    """Arrays that a search writes to; they grow until its utterance fits, and serve the next.

    Attributes
    ----------
    heads, tokens, hops, rests, resting, work : np.ndarray
        As :func:`asr_hlg.search.kernels.pass_tokens` takes them.
    """

    def __init__(self, size: int = 1 << 20):
        self.heads = np.zeros((2, kernels.HASH + 1), np.int32)
        self.allocate(size)

    def allocate(self, size: int) -> None:
        """Make room for so many of each; pages that are never written cost no memory."""
        self.size = size
        kinds = kernels.TOKEN, kernels.HOP, kernels.REST, kernels.RESTING, kernels.WORK
        self.tokens, self.hops, self.rests, self.resting, self.work = (
            np.empty(size, kind) for kind in kinds
        )


_idle: SimpleQueue[Workspace] = SimpleQueue()
"""Workspaces that no search uses at the moment, for all graphs."""


def _pass_tokens(
    lg: PackedLg, acoustics: np.ndarray, options: SearchOptions, workspace: Workspace
) -> tuple:
    """Run the search in a workspace that is large enough; returns what it wrote."""
    names = ("search_beam", "output_beam", "min_active", "max_active")
    limits = tuple(float(getattr(options, name)) for name in names)
    splits = np.zeros((len(acoustics) + 2, 3), dtype=np.int64)
    while True:
        room = workspace.tokens, workspace.hops, workspace.rests, workspace.resting
        num_resting, num_born = kernels.pass_tokens(
            lg.states, lg.arcs, lg.eps_arcs, acoustics, limits, workspace.heads, *room,
            workspace.work, splits,
        )  # fmt: skip
        if num_resting != kernels.FULL:
            return (*room, splits, num_resting, num_born)
        workspace.allocate(2 * workspace.size)
