"""The decoder protocol, and what the decoders of frame posteriors have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from asr_hlg import threads
from asr_hlg.acoustic import likelihoods
from asr_hlg.acoustic.arrays import log_softmax
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import FrameArcs, Lattice
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.records import Limits
from asr_hlg.search.utterance import UtteranceSearch


class Beams(Protocol):
    """Pruning options that every decoder has."""

    @property
    def search_beam(self) -> float:
        """Paths worse than the frame's best by more than this are dropped."""

    @property
    def max_active(self) -> int:
        """Upper bound on the states that stay active in a frame."""

    @property
    def graph_scale(self) -> float:
        """Weight of the graph's scores."""


class Decoder(Protocol):
    """Finds the paths of a decoding graph that explain a batch of utterances."""

    @property
    def graph(self) -> DecodingGraph:
        """The graph that is searched."""

    @property
    def options(self) -> Beams:
        """Scales and beams of the search."""

    def decode(self, posteriors: Posteriors) -> Lattice:
        """One lattice per utterance, in the order of ``posteriors``.

        An utterance for which no path of the graph survives, even with wider beams, has an empty
        lattice.
        """

    def narrower(self) -> Decoder:
        """The same decoder with narrower beams, for another try after memory ran short."""

    def noise(self) -> Posteriors:
        """One utterance of random posteriors that this decoder accepts."""


def warm_up(decoder: Decoder) -> None:
    """Decode random posteriors once, so that compiling and loading delay no recording."""
    lattice = decoder.decode(decoder.noise())
    lattice.words(lattice.best_path())


def random_frames(width: int) -> npt.NDArray[np.float32]:
    """Normally distributed frames ``(1, 50, width)``, the same in every call."""
    frames = 5.0 * np.random.default_rng(0).standard_normal((1, 50, width))
    return frames.astype(np.float32)


Self = TypeVar("Self", bound="PosteriorDecoder")


class PosteriorDecoder(ABC):
    """A decoder that adds scaled log-posteriors to the scores of a graph.

    Parameters
    ----------
    graph : DecodingGraph
        On the device on which the search runs.
    options : SearchOptions, optional
        Scales and beams; by default those of the graph's recipe.
    """

    def __init__(self, graph: DecodingGraph, options: SearchOptions | None = None):
        self.graph = graph
        self.options = options or SearchOptions.from_graph(graph)

    def decode(self, posteriors: Posteriors) -> Lattice:
        """Search a batch of utterances, as :func:`asr_hlg.search.decode` describes it."""
        return self._search(self.scaled(posteriors))

    def scaled(self, posteriors: Posteriors) -> Posteriors:
        """Scores of the search from posteriors, in the graph's columns."""
        mapped = likelihoods.map_tokens(posteriors, self.graph.columns)
        return likelihoods.scale(
            mapped,
            priors=mapped.priors,
            prior_scale=self.options.prior_scale,
            acoustic_scale=self.options.acoustic_scale,
            blank_penalty=self.options.blank_penalty,
            floor=self.options.floor,
        )

    def narrower(self: Self) -> Self:
        """The same decoder with narrower beams."""
        return type(self)(self.graph, self.options.narrower())

    def noise(self) -> Posteriors:
        """Random log-posteriors in the graph's columns."""
        frames = random_frames(len(self.graph.columns))
        return Posteriors(log_softmax(frames), [frames.shape[1]], 0.01, self.graph.columns)

    @abstractmethod
    def _search(self, scores: Posteriors) -> Lattice:
        """The lattices of scaled scores, which have the graph's columns."""


class UtteranceDecoder(PosteriorDecoder):
    """A decoder that searches one utterance per thread, with wider beams where it finds no path.

    As many utterances are searched at the same time as :mod:`asr_hlg.threads` allows.

    Attributes
    ----------
    _idle : SimpleQueue
        Workspaces that no search is using, shared by all graphs.
    allocate : callable
        Makes a workspace, a tuple of arrays, with room for so many records of each kind.
    """

    _idle: ClassVar[SimpleQueue[Any]]
    allocate: ClassVar[Callable[..., Any]]

    def _search(self, scores: Posteriors) -> Lattice:
        lengths = scores.lengths.tolist()
        log_probs = np.ascontiguousarray(scores.array)
        utterances = [log_probs[row, :length] for row, length in enumerate(lengths)]
        number = min(threads.number(), len(lengths))
        if number < 2:
            return Lattice.from_arcs(map(self._search_one, utterances), scores, self.graph)
        with ThreadPoolExecutor(number) as pool:
            return Lattice.from_arcs(pool.map(self._search_one, utterances), scores, self.graph)

    def _search_one(self, acoustics: npt.NDArray[np.float32]) -> FrameArcs | None:
        """One utterance's lattice, searched with wider beams where the first lose every path."""
        if not len(acoustics):
            return None
        arcs = self._search_with(acoustics, self.options)
        return self.search_wider(acoustics) if arcs is None else arcs

    def search_wider(self, acoustics: npt.NDArray[np.float32]) -> FrameArcs | None:
        """One utterance's lattice with beams four times as wide, None if they lose every path.

        ``acoustics`` are float32 ``(num_frames, num_columns)``, scaled.
        """
        return self._search_with(acoustics, self.options.wider())

    def _search_with(
        self, acoustics: npt.NDArray[np.float32], options: SearchOptions
    ) -> FrameArcs | None:
        """One utterance's lattice, None where no path reaches a final state."""
        try:
            workspace = self._idle.get_nowait()
        except Empty:
            workspace = self.allocate()
        search = self.start(workspace, options.limits)
        try:
            search.accept(acoustics)
            arcs = search.lattice()
        finally:
            self._idle.put(search.workspace)
        return arcs if arcs.num_arcs else None

    @abstractmethod
    def start(self, workspace: Any, limits: Limits) -> UtteranceSearch:
        """Begin the search of an utterance in a workspace, with some beams."""
