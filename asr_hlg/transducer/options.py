"""Search options of transducers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from asr_hlg.errors import OptionError

Self = TypeVar("Self", bound="GraphOptions")


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
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

    graph_scale: float = 0.3
    blank_penalty: float = 0.0
    search_beam: float = 12.0
    max_active: int = 64
    max_contexts: int = 16

    def __post_init__(self) -> None:
        for name in ("search_beam", "max_active", "max_contexts"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be above 0, not {getattr(self, name)}")
        if not self.graph_scale >= 0:
            raise OptionError(f"graph_scale must not be negative, it is {self.graph_scale}")

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
    beam_size: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.search not in ("graph", "beam", "greedy"):
            raise OptionError(
                f"unknown search {self.search!r}", remedy="graph, beam and greedy are known"
            )
        if not self.beam_size > 0:
            raise OptionError(f"beam_size must be above 0, not {self.beam_size}")

    def narrower(self) -> TransducerOptions:
        """The same options with narrower beams."""
        return replace(super().narrower(), beam_size=max(1, self.beam_size // 2))
