"""Weights of frames in the i-vector: frames that the search takes for silence count little.

The rules are those of Kaldi's ``OnlineSilenceWeighting``. They follow the best path of the search
so far, hence weights of earlier frames change when the best path does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.reader import Floats

_REVISED = 100
"""Output frames before the last ones whose weights may still change."""

_UNKNOWN = -1


class SilenceWeights:
    """Weights of the frames of one recording.

    Parameters
    ----------
    subsampling : int
        Frames of features for each frame of output.
    silence_weight : float
        Weight of a frame of silence; that of others is 1.
    """

    def __init__(self, subsampling: int, silence_weight: float = 1e-3):
        self._subsampling = subsampling
        self._silence_weight = np.float32(silence_weight)
        self._first = 0  # output frame with which the arrays begin
        self._weights = np.zeros(0, np.float32)
        self._silent = np.zeros(0, np.int8)
        self._states = np.zeros(0, np.int64)  # before each frame of the path

    def needed(self, decoded: int) -> int:
        """Number of the last of ``decoded`` output frames that :meth:`update` has to know."""
        return min(decoded, decoded - max(0, max(self._end, decoded) - _REVISED))

    @property
    def begin(self) -> int:
        """The first frame of features whose weight may still change."""
        return max(0, self._end - _REVISED) * self._subsampling

    @property
    def _end(self) -> int:
        """Output frames so far."""
        return self._first + len(self._weights)

    def update(
        self,
        frames_ready: int,
        decoded: int,
        silent: npt.NDArray[np.bool_],
        states: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """Changes of weights after more frames.

        Parameters
        ----------
        frames_ready : int
            Frames of features that i-vectors may use.
        decoded : int
            Output frames that the search has passed.
        silent : np.ndarray
            bool: whether the best path takes the last ones of them for silence; at least
            :meth:`needed` of them.
        states : np.ndarray
            int64: the state before each of them. From the last frame back, frames are updated up
            to the first whose state is that of the path before. Its own phone may have changed,
            which Kaldi does not notice.

        Returns
        -------
        frames : np.ndarray
            int64: frames of features, in order; some may not be ready yet.
        changes : np.ndarray
            float32: what is added to their weights.
        """
        self._forget()
        self._grow(decoded)
        end = decoded - self._first
        first = max(0, end - len(silent))
        silent, states = silent[len(silent) - end + first :], states[len(silent) - end + first :]
        same = np.flatnonzero(self._states[first:end] == states)
        changed = int(same[-1]) + 1 if len(same) else 0
        self._silent[first + changed : end] = silent[changed:]
        self._states[first + changed : end] = states[changed:]
        begin = max(0, len(self._weights) - _REVISED)
        self._grow(-(-frames_ready // self._subsampling))
        known = self._silent[begin:]
        if not len(known):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if known[0] == _UNKNOWN:
            value = self._weights[begin - 1] if begin else self._silence_weight
            new = np.full(len(known), value, np.float32)
        else:  # frames without a path have the weight of the last one with a path
            last = np.maximum.accumulate(np.where(known == _UNKNOWN, 0, np.arange(len(known))))
            new = np.where(known[last] == 1, self._silence_weight, np.float32(1))
        changes = new - self._weights[begin:]
        self._weights[begin:] = new
        moved = np.flatnonzero(changes)
        frames = (self._first + begin + moved)[:, None] * self._subsampling
        frames = frames + np.arange(self._subsampling)
        return frames.reshape(-1), np.repeat(changes[moved], self._subsampling)

    def _forget(self) -> None:
        """Drop frames whose weights are settled, but the last of them."""
        settled = len(self._weights) - _REVISED - 1
        if settled > 0:
            self._first += settled
            self._weights = self._weights[settled:]
            self._silent, self._states = self._silent[settled:], self._states[settled:]

    def _grow(self, size: int) -> None:
        missing = size - self._end
        if missing > 0:
            self._weights = np.append(self._weights, np.zeros(missing, np.float32))
            self._silent = np.append(self._silent, np.full(missing, _UNKNOWN, np.int8))
            self._states = np.append(self._states, np.full(missing, _UNKNOWN, np.int64))
