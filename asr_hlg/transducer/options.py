"""What a transducer's search may be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from asr_hlg.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """Along a graph: what ``[search]`` in a recipe of the topology ``transducer`` may hold.

    Attributes
    ----------
    graph_scale : float
        Weight of the graph's scores: of its n-gram (shallow fusion) and its lexicon. The
        prediction network has learnt itself which words are probable, so that 1 counts it
        twice, and words go missing; 0 only keeps to what the graph allows.
    blank_penalty : float
        Natural log, subtracted from ∅; raise it where words are missing.
    search_beam : float
        Paths worse than the frame's best by more than this are dropped.
    max_active, max_contexts : int
        How many states may stay alive in a frame, and in how many different contexts of the
        prediction network, each of which costs a run of the joiner.
    """

    graph_scale: float = 0.3
    blank_penalty: float = 0.0
    search_beam: float = 12.0
    max_active: int = 64
    max_contexts: int = 16

    def __post_init__(self):
        for name in ("search_beam", "max_active", "max_contexts"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be above 0, not {getattr(self, name)}")
        if not self.graph_scale >= 0:
            raise OptionError(f"graph_scale must not be negative, it is {self.graph_scale}")

    def wider(self) -> GraphOptions:
        """For a second try where the first lost every path."""
        return replace(
            self,
            search_beam=4 * self.search_beam,
            max_active=4 * self.max_active,
            max_contexts=4 * self.max_contexts,
        )

    def narrower(self) -> GraphOptions:
        """For another try where memory ran short."""
        return replace(
            self,
            search_beam=0.8 * self.search_beam,
            max_active=max(1, self.max_active // 2),
            max_contexts=max(1, self.max_contexts // 2),
        )


@dataclass(frozen=True)
class TransducerOptions(GraphOptions):
    """Which search, and how hard it prunes.

    Attributes
    ----------
    search : {"graph", "beam", "greedy"}
        ``greedy`` keeps one hypothesis. ``beam`` keeps ``beam_size``, and adds up alignments of
        the same tokens. ``graph`` follows the paths of a graph, as :class:`GraphOptions` say; it
        needs a prediction network of finite context.
    beam_size : int
        Hypotheses of the beam search; more are slower and more exact.
    """

    search: Literal["graph", "beam", "greedy"] = "graph"
    beam_size: int = 4

    def __post_init__(self):
        super().__post_init__()
        if self.search not in ("graph", "beam", "greedy"):
            raise OptionError(
                f"unknown search {self.search!r}", remedy="graph, beam and greedy are known"
            )
        if not self.beam_size > 0:
            raise OptionError(f"beam_size must be above 0, not {self.beam_size}")
