"""Search of one utterance, on whose best path so far the i-vectors of Kaldi's models depend.

>>> search = OnlineSearch(decoder)
>>> search.accept(log_likelihoods)
>>> search.last_frames(100)            # which of the last frames are silence, for instance
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.search.fst_decoder import FstTokenPassing

_CAPACITY = 1 << 16


class OnlineSearch:
    """Search of one utterance, part by part, with the phones of its best path so far.

    Parameters
    ----------
    decoder : FstTokenPassing
    tokens : tuple of str
        Columns of the log-likelihoods.
    frame_shift : float
        Seconds.
    """

    def __init__(self, decoder: FstTokenPassing, tokens: tuple[str, ...], frame_shift: float):
        self._decoder, self._tokens, self._frame_shift = decoder, tokens, frame_shift
        self._search = decoder.start(decoder.allocate(_CAPACITY), decoder.options.limits)
        self._search.steps = None  # nobody asks for the lattice

    def accept(self, scores: npt.NDArray[np.float32]) -> None:
        """Search more frames; ``scores`` are log-likelihoods float32 ``(frames, num_columns)``."""
        posteriors = Posteriors(scores[None], [len(scores)], self._frame_shift, self._tokens)
        scaled = self._decoder.scaled(posteriors).array[0]
        self._search.accept(np.ascontiguousarray(scaled))

    def last_frames(self, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The last ``count`` frames of the best path so far: phones, and the states before them.

        int32 and int64 ``(count,)``.
        """
        return self._search.last_frames(count)
