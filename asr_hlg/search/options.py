"""Options of the search for frame posteriors: scales, beams, engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import DecodingGraph


@dataclass(frozen=True)
class SearchOptions:
    """How posteriors are scaled and how hard the search prunes.

    Attributes
    ----------
    acoustic_scale : float
        Factor on the acoustic log-probabilities; lower it where the model is overconfident.
    blank_penalty : float
        Subtracted from the blank's log-probability; raise it where words are missing.
    floor : float
        Smallest probability of a token in a frame.
    prior_scale : float
        Exponent of the priors that a hybrid model's posteriors are divided by; 0 ignores them.
    search_beam : float
        Paths worse than the frame's best by more than this are dropped. Wider is slower and
        more exact.
    output_beam : float
        Arcs whose best path is worse than the lattice's best by more than this are dropped.
        Wider gives more alternatives.
    min_active, max_active : int
        Bounds on the number of active states in a frame; they override ``search_beam``.
    engine : {"auto", "tokens", "fst", "k2", "tensors"}
        ``tokens`` is token passing on L∘G, on the CPU and for the CTC topology only; ``fst`` is
        token passing on H∘L∘G, on the CPU and for every topology; ``k2`` intersects H∘L∘G with
        the posteriors, also on CUDA; ``tensors`` is token passing in torch operations, on every
        device and for every topology: on L∘G for CTC, else on H∘L∘G. ``auto`` is the first of them
        that can serve.
    """

    acoustic_scale: float = 1.0
    blank_penalty: float = 0.0
    floor: float = 1e-7
    prior_scale: float = 1.0
    search_beam: float = 14.0
    output_beam: float = 8.0
    min_active: int = 30
    max_active: int = 10_000
    engine: Literal["auto", "tokens", "fst", "k2", "tensors"] = "auto"

    graph_scale = 1.0  # no field: only transducers weight the graph differently

    def __post_init__(self) -> None:
        for name in ("acoustic_scale", "search_beam", "output_beam", "max_active"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.floor < 1:
            raise OptionError(f"floor must be a probability below 1, not {self.floor}")
        if not 0 <= self.min_active <= self.max_active:
            raise OptionError("min_active must be between 0 and max_active")
        if self.engine not in ("auto", "tokens", "fst", "k2", "tensors"):
            raise OptionError(
                f"unknown engine {self.engine!r}",
                remedy="choose auto, tokens, fst, k2 or tensors",
            )

    @classmethod
    def from_graph(cls, graph: DecodingGraph, **changes: Any) -> SearchOptions:
        """Options in the section ``[search]`` of the graph's recipe, with changes.

        Raises
        ------
        GraphError
            If the graph is for transducers, whose posteriors cannot be searched frame by frame.
        """
        if graph.topology == "transducer":
            raise GraphError(
                "the graph is for transducers, and the acoustic model is none",
                path=graph.folder,
                remedy="name a transducer with --model, or a graph of another topology",
            )
        return graph.options(cls, **changes)

    @property
    def limits(self) -> tuple[float, float, float, float]:
        """search_beam, output_beam, min_active, max_active."""
        return (
            float(self.search_beam),
            float(self.output_beam),
            float(self.min_active),
            float(self.max_active),
        )

    def wider(self) -> SearchOptions:
        """Wider beams, for a second try after the first lost every path."""
        return replace(
            self,
            search_beam=4 * self.search_beam,
            min_active=max(1_000, self.min_active),
            max_active=max(10_000, 4 * self.max_active),
        )

    def narrower(self) -> SearchOptions:
        """Narrower beams, for another try after memory ran short."""
        return replace(
            self,
            search_beam=0.8 * self.search_beam,
            output_beam=0.8 * self.output_beam,
            max_active=max(1, self.min_active, self.max_active // 4),
        )
