"""Token passing on an automaton with explicit labels, on the CPU, one utterance per thread."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import ClassVar

import numpy as np

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.fst.symbols import BLANK
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.lookahead_records import read_only
from asr_hlg.lattice import FrameArcs
from asr_hlg.search import fst_kernels, fst_lattices
from asr_hlg.search.decoder import UtteranceDecoder
from asr_hlg.search.fst_records import (
    FRAME,
    POSITION,
    FstArrays,
    FstTokens,
    FstWorkspace,
    Structs,
    allocate,
)
from asr_hlg.search.fst_release import release
from asr_hlg.search.fst_states import ComposedStates, Numbers, PackedStates
from asr_hlg.search.fst_traceback import last_frames
from asr_hlg.search.incremental_lattice import IncrementalLattice, Searched, Steps
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.records import Ints, Limits
from asr_hlg.search.utterance import Acoustics, UtteranceSearch

_idle: SimpleQueue[FstWorkspace] = SimpleQueue()
"""Workspaces that no search is using, shared by all graphs."""


class FstTokenPassing(UtteranceDecoder):
    """Token passing along H∘L∘G, for every topology, on the CPU and without k2.

    For the CTC topology :class:`asr_hlg.search.TokenPassing` is faster, since it searches L∘G.

    Attributes
    ----------
    steps : Steps or None
        Where it is set, lattices have ``compact``, the lattice over words that Kaldi's decoder
        makes while frames come in these steps.
    capacity : int
        States of a graph with look-ahead for which each search that runs has room.

    Raises
    ------
    OptionError
        If the graph is not on the CPU.
    """

    _idle = _idle
    allocate = staticmethod(allocate)
    steps: Steps | None = None
    capacity: ClassVar[int] = 480_000

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        super().__init__(graph, options)
        if graph.device != "cpu":
            raise OptionError(
                "token passing needs a graph on the CPU", remedy="leave the engine to be chosen"
            )
        self._composed: SimpleQueue[ComposedStates] = SimpleQueue()  # that no search is using
        self._packed = PackedStates(graph.packed_fst) if graph.look_ahead is None else None
        words = np.arange(len(graph.words), dtype=np.int32)
        self._spellings = read_only(words[1:]), read_only(np.append(np.int32(0), words))

    def narrower(self) -> FstTokenPassing:
        """The same decoder with narrower beams."""
        decoder = super().narrower()
        decoder.steps = self.steps
        return decoder

    def start(self, workspace: FstWorkspace, limits: Limits) -> FstSearch:
        """Begin the search of an utterance in a workspace, with some beams."""
        states = self._packed or self._idle_states()
        search = FstSearch(states, workspace, limits)
        if isinstance(states, ComposedStates):
            weakref.finalize(search, self._composed.put, states)
        search.folder = self.graph.folder
        search.has_blank = self.graph.columns[0] == BLANK
        search.ends_anywhere = self.graph.is_imported
        search.steps = self.steps
        return search

    def _idle_states(self) -> ComposedStates:
        """States of the graph with look-ahead, to be searched by one search."""
        try:
            return self._composed.get_nowait()
        except Empty:
            assert self.graph.look_ahead is not None
            return ComposedStates(self.graph.look_ahead, self._spellings, self.capacity)


class FstSearch(UtteranceSearch):
    """Token passing along H∘L∘G for one utterance.

    Attributes
    ----------
    folder : Path or None
        The graph's, for errors.
    has_blank : bool
        Whether column 0 is a blank.
    ends_anywhere : bool
        Where no path reaches a final state, let paths end in every state, as Kaldi's decoders do.
    steps : Steps or None
        As in :class:`FstTokenPassing`; to be set before the first frame.
    """

    workspace: FstWorkspace
    build = staticmethod(fst_lattices.build)
    folder: Path | None = None
    has_blank = False
    ends_anywhere = False
    steps: Steps | None = None

    def __init__(
        self, states: PackedStates | ComposedStates, workspace: FstWorkspace, limits: Limits
    ):
        super().__init__(states.arrays, states.outputs, workspace, limits, FRAME)
        self._states = states
        self._words = IncrementalLattice(limits[1])

    def release(
        self,
        graph: FstArrays,
        acoustics: Acoustics,
        output_beam: float,
        tokens: FstTokens,
        position: Structs,
    ) -> None:
        """Remove from the workspace what no continuation needs."""
        if self.steps is not None:
            self._words.release(tokens, position)
        else:
            release(graph, acoustics, output_beam, tokens, position)

    def accept(self, acoustics: Acoustics) -> None:
        """Search the next frames, float32 ``(n, num_columns)``, scaled."""
        if self.steps is None:
            super().accept(acoustics)
            return
        begin, last = self.num_frames, self.num_frames + len(acoustics)
        while self.num_frames < last:
            self._words.prune(self._searched())
            stop, is_update = self._words.next_stop(self.num_frames, last, self.steps)
            super().accept(acoustics[self.num_frames - begin : stop - begin])
            if is_update:
                self._words.update(self._searched())

    def lattice(self, everywhere: bool = False, output_beam: float | None = None) -> FrameArcs:
        """As :meth:`UtteranceSearch.lattice` describes it, and see ``ends_anywhere``."""
        arcs = super().lattice(everywhere, output_beam)
        if everywhere or not self.num_frames:
            return arcs
        if not arcs.num_arcs and self.ends_anywhere:
            arcs = super().lattice(True, output_beam)
        if arcs.num_arcs and self.steps is not None:
            arcs = replace(arcs, compact=self._words.result(self._searched()))
        return arcs

    def best_scores(self) -> tuple[float, float]:
        """The best score of a token of the last frame, and with the score of its final state."""
        tokens = self._tokens()
        begin, end = tokens.frames["token"][self.num_frames : self.num_frames + 2]
        best = float(tokens.tokens["score"][begin:end].max(initial=-np.inf))
        return best, fst_lattices.final_scores(self._outputs.final, tokens)[1]

    def last_frames(self, count: int) -> tuple[Ints, Numbers]:
        """The last ``count`` frames of the best path so far: phones, and the states before them."""
        phones, states = last_frames(
            self._graph, self._outputs.phones, self.acoustics, self._tokens(), count
        )
        return phones, self._states.names(states)

    def _start(self) -> Structs:
        return np.zeros(1, POSITION)

    def _allocate(self, capacity: int) -> FstWorkspace:
        return allocate(capacity)

    def _pass(self, acoustics: Acoustics) -> int:
        searched, forgotten_at = 0, -1
        while True:
            count = fst_kernels.pass_tokens(
                self._graph,
                acoustics[searched:],
                self._limits,
                self.workspace,
                self._frames,
                self._position,
                self.has_blank,
            )
            searched = int(self._position["frame"][0]) - self.num_frames
            if count == fst_kernels.ENDLESS:
                raise endless(self.folder)
            if count != fst_kernels.FULL_GRAPH:
                return searched
            self._forget(searched == forgotten_at)
            forgotten_at = searched

    def _forget(self, larger: bool) -> None:
        """Forget composed states, or make more room for them."""
        assert isinstance(self._states, ComposedStates)
        here, work = self._position[0], self.workspace
        num_eps = self._frames["eps_link"][here["frame"] + 1]
        self._states.forget(
            FstTokens(
                work.tokens[: here["num_tokens"]],
                work.links[: here["num_links"]],
                work.eps_links[:num_eps],
                self._frames,
            ),
            larger,
        )
        self._graph, self._outputs = self._states.arrays, self._states.outputs

    def _changing(self) -> None:
        return None

    def _change_back(self, changing: None) -> None:
        return None

    def _copy(self, larger: FstWorkspace, changing: None) -> None:
        position = self._position[0]
        for name, used in (
            ("tokens", position["num_tokens"]),
            ("links", position["num_links"]),
            ("eps_links", self._frames["eps_link"][self.num_frames + 1]),
        ):
            getattr(larger, name)[:used] = getattr(self.workspace, name)[:used]

    def _searched(self) -> Searched:
        return Searched(self._graph, self._outputs, self._tokens(), self.acoustics)

    def _tokens(self) -> FstTokens:
        return FstTokens(*self.workspace[:3], self._frames[: self.num_frames + 2])


def endless(folder: Path | None) -> GraphError:
    """The error of a graph in which scores rise without end."""
    return GraphError(
        "a cycle of ε-arcs raises the score of a path without end",
        path=folder,
        remedy="compile the graph from a language model whose back-off weights are not above 1",
    )
