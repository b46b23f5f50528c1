"""Cepstral mean normalisation while sound arrives, as Kaldi's ``OnlineCmvn`` in Vosk's version.

Vosk's Kaldi has the option ``--cmn-min-energy``: at a frame whose first cepstrum is not above it,
the mean is not computed. The statistics of the frame asked for before are used again and once more
completed by the global ones. So the mean depends on the order in which frames are asked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.conf import CmvnOptions
from asr_hlg.acoustic.kaldi.reader import Floats
from asr_hlg.acoustic.kaldi.rows import Rows

Doubles = npt.NDArray[np.float64]

_LEAST_VARIANCE = 1e-20


class OnlineCmvn:
    """Normalisation of one recording.

    Parameters
    ----------
    options : CmvnOptions
    global_stats : np.ndarray
        float64 ``(2, width + 1)``: sums of features and of their squares; the last column of the
        first row is the number of frames.
    """

    def __init__(self, options: CmvnOptions, global_stats: Doubles):
        self._options = options
        rows = 2 if options.normalize_variance else 1
        self._global = global_stats[:rows]
        self._last = np.zeros_like(self._global)  # statistics of the frame asked for before

    def normalised(self, features: Rows, frames: npt.NDArray[np.int64]) -> Floats:
        """Normalised features of frames, in the order in which they are asked for.

        Parameters
        ----------
        features : Rows
            Of the recording so far, with the ``cmn_window`` frames before those asked for.
        frames : np.ndarray
            int64 ``(count,)``: numbers of frames, which may repeat.

        Returns
        -------
        np.ndarray
            float32 ``(count, width)``.
        """
        if not self._options.normalize_mean or not len(frames):
            return features.take(frames)
        rows = features.take(frames)
        order = np.arange(len(frames))
        is_loud = rows[:, 0] > np.float32(self._options.cmn_min_energy)
        loud = np.maximum.accumulate(np.where(is_loud, order, -1))  # the last one so far
        stats = np.repeat(self._last[None], len(frames), axis=0)
        stats[loud >= 0] = self._sums(features, frames[loud[loud >= 0]])
        self._complete(stats, order - loud + (loud >= 0))
        self._last = stats[-1].copy()
        return self._applied(rows, stats)

    def _sums(self, features: Rows, frames: npt.NDArray[np.int64]) -> Doubles:
        """Sums over the window that ends with each frame, ``(count, 1 or 2, width + 1)``."""
        window = self._options.cmn_window
        if not len(frames):
            return np.zeros((0, *self._global.shape))
        first = max(0, int(frames.min()) - window)
        part = features.part(first, int(frames.max()) + 1).astype(np.float64)
        values = part[:, None] if len(self._global) == 1 else np.stack([part, part**2], axis=1)
        sums = np.cumsum(values, axis=0)
        begin = frames - window - first
        found = sums[frames - first]
        found[begin >= 0] -= sums[begin[begin >= 0]]
        counts = np.minimum(frames + 1, window).astype(np.float64)
        column = np.zeros((len(frames), len(self._global), 1))
        column[:, 0, 0] = counts
        return np.concatenate([found, column], axis=2)

    def _complete(self, stats: Doubles, times: npt.NDArray[np.int64]) -> None:
        """Add global statistics so many times, each at most to a full window."""
        options = self._options
        for turn in range(int(times.max())):
            missing = np.minimum(options.cmn_window - stats[:, 0, -1], options.global_frames)
            missing[(times <= turn) | (missing < 0)] = 0
            if not missing.any():
                break
            stats += (missing / self._global[0, -1])[:, None, None] * self._global

    def _applied(self, rows: Floats, stats: Doubles) -> Floats:
        """Features less the mean, and divided by the deviation if that is asked for."""
        count = stats[:, 0, -1:]
        if len(self._global) == 1:
            offset = (-1.0 / count).astype(np.float32) * stats[:, 0, :-1]
            result: Floats = rows + offset.astype(np.float32)
            return result
        mean = stats[:, 0, :-1] / count
        scale = 1 / np.sqrt(np.maximum(stats[:, 1, :-1] / count - mean**2, _LEAST_VARIANCE))
        scaled: Floats = rows * scale.astype(np.float32) - (mean * scale).astype(np.float32)
        return scaled
