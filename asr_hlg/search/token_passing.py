"""The token passing decoder: L∘G on the CPU, one utterance per thread."""

from __future__ import annotations

from queue import SimpleQueue

import numpy as np

from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.search import kernels, lattices
from asr_hlg.search.decoder import UtteranceDecoder
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.pruning import best_score, final_scores
from asr_hlg.search.records import (
    BLANK_LINK,
    BLANK_TOKEN,
    FRAME,
    HASH,
    LABEL_LINK,
    LABEL_TOKEN,
    SOURCE,
    GraphArrays,
    GraphOutputs,
    Limits,
    Records,
    Tokens,
    Workspace,
)
from asr_hlg.search.release import release
from asr_hlg.search.utterance import Acoustics, UtteranceSearch

_idle: SimpleQueue[Workspace] = SimpleQueue()
"""Workspaces that no search is using, shared by all graphs."""


def allocate(capacity: int = 1 << 20) -> Workspace:
    """A workspace with room for so many records of each kind.

    Pages of its arrays that are never written cost no memory.
    """
    return Workspace(
        np.empty(capacity, LABEL_TOKEN),
        np.empty(capacity, LABEL_LINK),
        np.empty(capacity, BLANK_TOKEN),
        np.empty(capacity, BLANK_LINK),
        np.empty(capacity, SOURCE),
        np.zeros(HASH + 1, np.int32),
        np.zeros(HASH + 1, np.int32),
    )


class TokenPassing(UtteranceDecoder):
    """Token passing along L∘G, for the CTC topology on the CPU.

    Raises
    ------
    OptionError
        If the graph has another topology or is not on the CPU.
    """

    _idle = _idle
    allocate = staticmethod(allocate)

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options)
        if graph.packed is None:
            raise OptionError(
                "token passing needs a graph of the CTC topology, on the CPU",
                remedy="leave the engine to be chosen",
            )
        lg = graph.packed
        self._arcs = GraphArrays(lg.states, lg.arcs, lg.eps_arcs)
        self._outputs = GraphOutputs(lg.final, lg.words, lg.spellings, lg.spelling_splits)

    @staticmethod
    def fits(graph: DecodingGraph) -> bool:
        """Whether token passing can search a graph."""
        return graph.supports_token_passing

    def start(self, workspace: Workspace, limits: Limits) -> TokenSearch:
        """Begin the search of an utterance in a workspace, with some beams."""
        return TokenSearch(self._arcs, self._outputs, workspace, limits, FRAME)


class TokenSearch(UtteranceSearch):
    """Token passing along L∘G for one utterance."""

    workspace: Workspace
    build = staticmethod(lattices.build)
    release = staticmethod(release)

    def best_scores(self) -> tuple[float, float]:
        """The best score of a token of the last frame, and with the score of its final state."""
        tokens = self._tokens()
        return best_score(tokens), final_scores(self._graph, self._outputs.final, tokens)[2]

    def _start(self) -> Records:
        return kernels.start(self.workspace.label_tokens, self._frames, self._limits[0])

    def _allocate(self, capacity: int) -> Workspace:
        return allocate(capacity)

    def _pass(self, acoustics: Acoustics) -> int:
        fits = kernels.pass_tokens(
            self._graph, acoustics, self._limits, self.workspace, self._frames, self._position
        )
        return len(acoustics) if fits else 0

    def _changing(self) -> Records:
        return self.workspace.blank_tokens[: self._position["num_alive"][0]].copy()

    def _change_back(self, changing: Records) -> None:
        self.workspace.blank_tokens[: len(changing)] = changing

    def _copy(self, larger: Workspace, changing: Records) -> None:
        position, work = self._position[0], self.workspace
        num_blank_links = self._frames["blank_link"][self.num_frames]
        larger.blank_tokens[: len(changing)] = changing
        for name, used in (
            ("label_tokens", position["num_tokens"]),
            ("label_links", position["num_links"]),
            ("blank_links", num_blank_links),
        ):
            getattr(larger, name)[:used] = getattr(work, name)[:used]

    def _tokens(self) -> Tokens:
        here = self._position[0]
        frames = self._frames[: self.num_frames + 2]
        return Tokens(*self.workspace[:4], frames, here["num_alive"], here["num_blank_tokens"])
