"""Search options of transducers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from asr_hlg.errors import OptionError
from asr_hlg.settings import Bounded, NonNegative, Positive, Size

Self = TypeVar("Self", bound="GraphOptions")


@dataclass(frozen=True, kw_only=True)
class GraphOptions(Bounded):
    """Options of graph search: the keys of ``[search]`` in a recipe with topology ``transducer``.

    Attributes
    ----------
    graph_scale : float
        Weight of the graph's scores: of its n-gram (shallow fusion) and its lexicon. The
        prediction network is a language model, too, so a weight of 1 counts word probabilities
        twice and words are deleted; with 0 the graph only restricts what can be recognised.
    blank_penalty : float
        Natural log, subtracted from ∅; raise it if words are deleted.
    search_beam : float
        Paths worse than the best path of the frame by more than this are dropped.
    max_active, max_contexts : int
        Upper bounds on the active states of a frame, and on their different contexts of the
        prediction network, each of which costs one evaluation of the joiner.
    """

    graph_scale: NonNegative = 0.3
    blank_penalty: float = 0.0
    search_beam: Positive = 12.0
    max_active: Size = 64
    max_contexts: Size = 16

    def wider(self: Self) -> Self:
        """The same options with wider beams, for a second try if no path survived."""
        return replace(
            self,
            search_beam=4 * self.search_beam,
            max_active=4 * self.max_active,
            max_contexts=4 * self.max_contexts,
        )

    def narrower(self: Self) -> Self:
        """The same options with narrower beams, for another try after memory ran short."""
        return replace(
            self,
            search_beam=0.8 * self.search_beam,
            max_active=max(1, self.max_active // 2),
            max_contexts=max(1, self.max_contexts // 2),
        )


@dataclass(frozen=True)
class TransducerOptions(GraphOptions):
    """Choice of the search, and its options.

    Attributes
    ----------
    search : {"graph", "beam", "greedy"}
        ``greedy`` keeps one hypothesis. ``beam`` keeps ``beam_size`` hypotheses and sums over
        alignments of the same tokens. ``graph`` searches the paths of a graph with the options of
        :class:`GraphOptions`; it needs a prediction network of finite context.
    beam_size : int
        Hypotheses of the beam search; more are slower and more exact.
    """

    search: Literal["graph", "beam", "greedy"] = "graph"
    beam_size: Size = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.search not in ("graph", "beam", "greedy"):
            raise OptionError(
                f"unknown search {self.search!r}", remedy="graph, beam and greedy are known"
            )

    def narrower(self) -> TransducerOptions:
        """The same options with narrower beams."""
        return replace(super().narrower(), beam_size=max(1, self.beam_size // 2))
