"""Search by k2: H∘L∘G intersected with a batch of utterances, on the CPU or on CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.lattice import Lattice, arc_counts
from asr_hlg.search.decoder import PosteriorDecoder
from asr_hlg.search.options import SearchOptions

if TYPE_CHECKING:
    import k2


class Intersection(PosteriorDecoder):
    """Pruned intersection of H∘L∘G with all utterances of a batch together, by k2."""

    def _search(self, scores: Posteriors) -> Lattice:
        import k2

        scores = scores.to(self.graph.device)
        rows = [i for i, length in enumerate(scores.lengths.tolist()) if length > 0]
        fsas = self._intersect(scores, rows, self.options)
        # Utterances in whose lattice no path reached a final state are searched again.
        lost = [] if fsas is None else _empty(fsas, rows)
        if lost:
            again = self._intersect(scores, lost, self.options.wider())
            fsas = k2.cat([fsas, again])
            rows = rows + lost
        return Lattice(fsas, rows, scores, self.graph)

    def _intersect(
        self, scores: Posteriors, rows: list[int], options: SearchOptions
    ) -> k2.Fsa | None:
        """The lattices of the utterances ``rows``, as one FsaVec; None where there are none."""
        if not rows:
            return None
        import k2
        import torch

        segments = [[row, 0, int(scores.lengths[row])] for row in rows]
        return k2.intersect_dense_pruned(
            self.graph.fsa,
            k2.DenseFsaVec(scores.log_probs, torch.tensor(segments, dtype=torch.int32)),
            search_beam=options.search_beam,
            output_beam=options.output_beam,
            min_active_states=options.min_active,
            max_active_states=options.max_active,
            frame_idx_name="frames",
        )


def _empty(fsas: k2.Fsa, rows: list[int]) -> list[int]:
    """Those of ``rows`` whose lattice has no arcs."""
    return [row for row, count in zip(rows, arc_counts(fsas), strict=True) if count == 0]
