"""Decoding of utterances while their posteriors come.

decoder = IncrementalDecoder(TokenPassing(graph))
for posteriors in parts:
decoder.accept(posteriors)
print(decoder.partial().best_path()[0].text)
lattice = decoder.finish()             # the bytes that decode() gives for all frames at once
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.lattice import FrameArcs, Lattice
from asr_hlg.search.decoder import UtteranceDecoder
from asr_hlg.search.records import Ints
from asr_hlg.search.utterance import Acoustics, UtteranceSearch

_CAPACITY = 1 << 16  # records of a workspace at first; a stream's stays much smaller than a file's
_REMEMBERED = 3000  # frames of earlier utterances whose phones are known
_NARROW = 1e-3  # the output beam of a lattice of which only the best path is needed


class IncrementalDecoder:
    """Decodes one utterance after the other from parts of their posteriors.

    Parameters
    ----------
    decoder : UtteranceDecoder
        Many incremental decoders may use one at the same time, in threads.
    keeps_phones : bool
        Keep the phones of the best paths of earlier utterances for :meth:`last_frames`.
    """

    def __init__(self, decoder: UtteranceDecoder, keeps_phones: bool = False):
        self._keeps_phones = keeps_phones
        self._decoder = decoder
        self._workspace = decoder.allocate(_CAPACITY)
        self._search: UtteranceSearch | None = None
        self._frame_shift = 0.0
        self._earlier = np.zeros((2, 0), np.int64)

    @property
    def num_frames(self) -> int:
        """Frames of the present utterance that are searched."""
        return 0 if self._search is None else self._search.num_frames

    def accept(self, posteriors: Posteriors) -> None:
        """Search more frames of the present utterance; ``posteriors`` are of one utterance."""
        self._frame_shift = posteriors.frame_shift
        self._started().accept(self._scores(posteriors))

    def partial(self, confidences: bool = False, ahead: Posteriors | None = None) -> Lattice:
        """The best path so far, which may end within a word.

        Parameters
        ----------
        confidences : bool
            Keep the other paths within the output beam too. Without them a word's posterior is 1.
        ahead : Posteriors, optional
            More frames, which are searched for this result only.
        """
        beam = None if confidences else _NARROW
        if ahead is None or not int(ahead.lengths[0]):
            return self._partial(self._arcs(everywhere=True, output_beam=beam))
        self._frame_shift = ahead.frame_shift
        scores = self._scores(ahead)
        arcs = self._started().lattice_ahead(scores, beam)
        both = np.concatenate([self._started().acoustics, scores])
        return self._partial(arcs if arcs.num_arcs else None, both)

    def final_gap(self) -> float:
        """Score of the best path less that of the best one that ends in a final state.

        Kaldi's final relative cost: 0 or more, infinite if no path ends in a final state.
        """
        if self._search is None or not self._search.num_frames:
            return float("inf")
        best, best_final = self._search.best_scores()
        return max(0.0, best - best_final)

    def last_frames(self, count: int) -> tuple[Ints, npt.NDArray[np.int64]]:
        """Phones of the last ``count`` frames of the best paths so far, and the states before them.

        int32 and int64 ``(count,)``. They go back beyond the present utterance; -1 for frames
        before the first one, or long ago.
        """
        number = min(count, self.num_frames)
        frames = np.full((2, count), -1, np.int64)
        earlier = min(count - number, self._earlier.shape[1])
        if earlier:
            frames[:, count - number - earlier : count - number] = self._earlier[:, -earlier:]
        if self._search is not None and number:
            frames[:, count - number :] = self._search.last_frames(number)
        return frames[0].astype(np.int32), frames[1]

    def finish(self) -> Lattice:
        """The lattice of the utterance, which ends here; a new one begins.

        Where no path reached a final state, it is searched again with wider beams.
        """
        arcs = self._arcs()
        if arcs is None and self._search is not None:
            arcs = self._decoder.search_wider(self._search.acoustics)
        lattice = self._lattice(arcs)
        self.restart()
        return lattice

    def restart(self) -> None:
        """Forget the present utterance; a new one begins."""
        if self._search is not None:
            if self._keeps_phones:
                self._earlier = np.stack(self.last_frames(_REMEMBERED))
            self._workspace = self._search.workspace
        self._search = None

    def _arcs(self, everywhere: bool = False, output_beam: float | None = None) -> FrameArcs | None:
        if self._search is None or not self._search.num_frames:
            return None
        arcs = self._search.lattice(everywhere, output_beam)
        return arcs if arcs.num_arcs else None

    def _started(self) -> UtteranceSearch:
        if self._search is None:
            self._search = self._decoder.start(self._workspace, self._decoder.options.limits)
        return self._search

    def _scores(self, posteriors: Posteriors) -> Acoustics:
        scaled = self._decoder.scaled(posteriors).array[0, : int(posteriors.lengths[0])]
        return np.ascontiguousarray(scaled)

    def _partial(self, arcs: FrameArcs | None, acoustics: Acoustics | None = None) -> Lattice:
        lattice = self._lattice(arcs, acoustics)
        lattice.is_partial = True
        return lattice

    def _lattice(self, arcs: FrameArcs | None, acoustics: Acoustics | None = None) -> Lattice:
        columns = self._decoder.graph.columns
        if acoustics is None and self._search is not None:
            acoustics = self._search.acoustics
        if acoustics is None or not len(acoustics):
            acoustics = np.zeros((0, len(columns)), np.float32)
        scores = Posteriors(acoustics[None], [len(acoustics)], self._frame_shift, columns)
        return Lattice.from_arcs([arcs], scores, self._decoder.graph)
