"""Search on the CPU by token passing on L∘G, utterances side by side in threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.packed import PackedLg
from asr_hlg.lattice import FrameArcs, Lattice
from asr_hlg.search import kernels, lattices
from asr_hlg.search.decoder import PosteriorDecoder
from asr_hlg.search.options import SearchOptions


class TokenPassing(PosteriorDecoder):
    """Token passing along L∘G, for the CTC topology on the CPU.

    As many utterances are searched at the same time as torch may use threads.

    Raises
    ------
    OptionError
        If the graph has another topology, was changed after compiling, or is not on the CPU.
    """

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options)
        if graph.packed is None:
            raise OptionError(
                "token passing needs an unchanged graph of the CTC topology, on the CPU",
                remedy="leave the engine to be chosen, or compile the graph again",
            )
        self._lg = graph.packed

    @staticmethod
    def fits(graph: DecodingGraph) -> bool:
        """Whether token passing can search a graph."""
        return graph.supports_token_passing

    def _search(self, scores: Posteriors) -> Lattice:
        lengths = scores.lengths.tolist()
        log_probs = scores.log_probs.contiguous().numpy()
        utterances = [log_probs[row, :length] for row, length in enumerate(lengths)]
        threads = min(torch.get_num_threads(), len(lengths))
        if threads < 2:
            found = [self._search_one(acoustics) for acoustics in utterances]
        else:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(self._search_one, utterances))
        return Lattice.from_arcs(found, scores, self.graph)

    def _search_one(self, acoustics: npt.NDArray[np.float32]) -> FrameArcs | None:
        """One utterance's lattice, searched with wider beams where the first lose every path."""
        if not len(acoustics):
            return None
        found = search_one(self._lg, acoustics, self.options)
        return found if found is not None else search_one(self._lg, acoustics, self.options.wider())


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
