"""Search: a decoding graph intersected with frame posteriors gives a lattice.

The only room where graphs and acoustics meet::

    lattice = decode(DecodingGraph.load("graphs/en"), model.posteriors([wave], 16000))
    print(lattice.best_path()[0].text)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import k2
import torch

from asr_hlg import hybrid
from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice, arc_counts
from asr_hlg.posteriors import Posteriors


@dataclass(frozen=True)
class SearchOptions:
    """How posteriors are scaled and how hard the search prunes.

    Attributes
    ----------
    acoustic_scale : float
        Factor on the acoustic log-probabilities; lower it where the model is too sure of itself.
    blank_penalty : float
        Subtracted from the blank's log-probability; raise it where words are missing.
    floor : float
        Smallest probability of a token in a frame.
    search_beam : float
        Paths worse than the frame's best by more than this are dropped. Wider is slower and
        more exact.
    output_beam : float
        Arcs whose best path is worse than the lattice's best by more than this are dropped.
        Wider gives more alternatives.
    min_active, max_active : int
        Bounds on the states that stay alive in a frame; they override ``search_beam``.
    """

    acoustic_scale: float = 1.0
    blank_penalty: float = 0.0
    floor: float = 1e-7
    search_beam: float = 14.0
    output_beam: float = 8.0
    min_active: int = 30
    max_active: int = 10_000

    def __post_init__(self):
        for name in ("acoustic_scale", "search_beam", "output_beam", "max_active"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.floor < 1:
            raise OptionError(f"floor is a probability, not {self.floor}")
        if not 0 <= self.min_active <= self.max_active:
            raise OptionError("min_active must lie between 0 and max_active")


def decode(
    graph: DecodingGraph, posteriors: Posteriors, options: SearchOptions | None = None
) -> Lattice:
    """Find the paths of a graph that explain a batch of utterances.

    Parameters
    ----------
    graph : DecodingGraph
        On the device on which the search shall run.
    posteriors : Posteriors
        Log-posteriors; columns are matched to the graph's tokens by name.
    options : SearchOptions, optional
        Scales and beams; the graph's own by default.

    Returns
    -------
    Lattice
        One lattice an utterance, in the order of ``posteriors``. An utterance through which no
        path of the graph survives, even with a beam four times as wide, has an empty lattice.

    Raises
    ------
    ModelError
        If the posteriors lack a token of the graph.
    """
    options = options or graph.search_options()
    mapped = hybrid.map_tokens(posteriors, graph.columns)
    scores = hybrid.scale(
        mapped,
        acoustic_scale=options.acoustic_scale,
        blank_penalty=options.blank_penalty,
        floor=options.floor,
    ).to(graph.device)
    rows = [i for i, length in enumerate(scores.lengths.tolist()) if length > 0]
    fsas = _intersect(graph.fsa, scores, rows, options)
    lost = _lost(fsas, rows)
    if lost:
        again = _intersect(graph.fsa, scores, lost, _wider(options))
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


def _wider(options: SearchOptions) -> SearchOptions:
    """Options for a second try where the first lost every path."""
    return replace(
        options,
        search_beam=4 * options.search_beam,
        min_active=max(1_000, options.min_active),
        max_active=max(10_000, 4 * options.max_active),
    )
