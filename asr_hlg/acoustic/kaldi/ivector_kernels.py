"""Statistics of i-vectors and the solution of their linear system, compiled with numba."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@njit(nogil=True, cache=True)
def accumulate(
    scores: Floats,
    features: Floats,
    weights: Floats,
    limits: tuple[int, float, float],
    factors: tuple[Doubles, Doubles],
    stats: tuple[Doubles, Doubles],
) -> float:
    """Add frames to the statistics, and return their weight.

    Parameters
    ----------
    scores : np.ndarray
        float32 ``(frames, num_gauss)``: log-likelihoods, which are overwritten.
    features : np.ndarray
        float32 ``(frames, dim)``.
    weights : np.ndarray
        float32 ``(frames,)``, none of them 0.
    limits : tuple
        Gaussians of a frame, least posterior, and factor on the weights.
    factors : tuple of np.ndarray
        Precisions and projections, see :class:`asr_hlg.acoustic.kaldi.ivectors.Factors`.
    stats : tuple of np.ndarray
        Quadratic term ``(n * (n + 1) / 2,)``, a lower triangle as a precision, and linear term
        ``(n,)``, float64.
    """
    most, least, scale = limits
    precisions, projections = factors
    quadratic, linear = stats
    num_gauss, dim = len(precisions), features.shape[1]
    sums = np.zeros((num_gauss, dim))
    totals = np.zeros(num_gauss, np.float32)
    chosen, posterior = np.empty(most, np.int64), np.empty(most, np.float32)
    for frame in range(len(scores)):
        min_post = min(np.float32(least) / abs(weights[frame]), np.float32(0.99))
        count = _best_gaussians(scores[frame], most, min_post, chosen, posterior)
        for k in range(count):
            value = posterior[k] * (np.float32(scale) * weights[frame])
            totals[chosen[k]] += value
            for column in range(dim):
                sums[chosen[k], column] += np.float64(value) * features[frame, column]
    added = 0.0
    for gauss in range(num_gauss):
        if totals[gauss] == 0.0:
            continue
        added += totals[gauss]
        for i in range(len(quadratic)):
            quadratic[i] += np.float64(totals[gauss]) * precisions[gauss, i]
        for column in range(dim):
            for i in range(len(linear)):
                linear[i] += sums[gauss, column] * projections[gauss, column, i]
    return added


@njit(nogil=True, cache=True)
def _best_gaussians(
    scores: Floats, most: int, min_post: Any, chosen: npt.NDArray[np.int64], posterior: Floats
) -> int:
    """Gaussians of a frame, best first, and their posteriors, which sum to 1; their number."""
    top = scores.max()
    cutoff = top + np.log(min_post)
    count = 0
    while count < most:
        best = scores.argmax()
        if not scores[best] > cutoff:
            break
        chosen[count], posterior[count] = best, np.exp(scores[best] - top)
        scores[best] = -np.inf
        count += 1
    if count == 0:
        chosen[0], posterior[0] = scores.argmax(), 1.0
        count = 1
    total = posterior[:count].sum()
    cutoff = min_post * total
    while count > 1 and posterior[count - 1] < cutoff:
        count -= 1
        total -= posterior[count]
    posterior[:count] *= np.float32(1.0 / total)
    return count


@njit(nogil=True, cache=True)
def conjugate_gradients(matrix: Doubles, target: Doubles, x: Doubles, steps: int) -> None:
    """Steps of conjugate gradients towards ``matrix @ x = target``, from ``x``, in place.

    The residual is computed anew when its norm has changed by a factor of 100, as Kaldi's
    ``LinearCgd`` does, so that the result after few steps is the same.
    """
    direction = target - matrix @ x
    residual = -direction
    before = x.copy()
    norm = first = anchor = residual @ residual
    for _ in range(steps):
        product = matrix @ direction
        length = direction @ product
        if length == 0.0:
            break
        step = -(direction @ residual) / length
        x += step * direction
        residual += step * product
        new_norm = residual @ residual
        if new_norm < 1e-4 * anchor or new_norm > 1e4 * anchor:
            residual = matrix @ x - target
            new_norm = residual @ residual
            anchor = new_norm
        if new_norm <= 2.3e-308:
            break
        direction = (new_norm / norm) * direction - residual
        norm = new_norm
    if norm > first + 1e-10 * (target @ target):
        x[:] = before
