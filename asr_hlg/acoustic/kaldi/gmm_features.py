"""Features of Gaussian mixtures: normalised cepstra with their deltas, or spliced and transformed.

The steps are those of Kaldi's ``steps/decode.sh``, by the files beside ``final.mdl``::

    final.mat is there:   apply-cmvn $cmvn_opts | splice-feats $splice_opts | transform-feats
    otherwise:            apply-cmvn $cmvn_opts | add-deltas $delta_opts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_hlg.acoustic.kaldi.conf import SpliceOptions, options_from
from asr_hlg.acoustic.kaldi.reader import Floats, KaldiReader, read_file
from asr_hlg.errors import ModelError

_MOST_FRAMES = 100
_SMALLEST_VARIANCE = 1e-20


@dataclass(frozen=True)
class CmvnOptions:
    """Normalisation of mean and variance over a recording; the file ``cmvn_opts``.

    Attributes
    ----------
    norm_means, norm_vars : bool
    skip_dims : tuple of int
        Columns that stay as they are.
    """

    norm_means: bool = True
    norm_vars: bool = False
    skip_dims: tuple[int, ...] = ()


@dataclass(frozen=True)
class DeltaOptions:
    """Derivatives by regression; the file ``delta_opts``.

    Attributes
    ----------
    delta_order : int
        1 for first derivatives, 2 for second ones too.
    delta_window : int
        Frames on each side of which each derivative is computed.
    """

    delta_order: int = 2
    delta_window: int = 2


def normalised(features: Floats, options: CmvnOptions) -> Floats:
    """Features ``(frames, width)`` of mean 0 and, if asked for, variance 1 over the recording."""
    if not options.norm_means:
        return features
    mean = features.mean(axis=0, dtype=np.float64)
    scale = np.ones_like(mean)
    if options.norm_vars:
        variance = (features.astype(np.float64) ** 2).mean(axis=0) - mean**2
        scale = 1 / np.sqrt(np.maximum(variance, _SMALLEST_VARIANCE))
    skipped = list(options.skip_dims)
    mean[skipped], scale[skipped] = 0, 1
    result: Floats = ((features - mean) * scale).astype(np.float32)
    return result


def with_deltas(features: Floats, options: DeltaOptions) -> Floats:
    """Features, then their derivatives, ``(frames, (order + 1) * width)``.

    The first derivative at frame t is Σ k·x[t + k] / Σ k² over k from -window to window; those of a
    higher order are that of the order before, as one sum over x. Frames beyond the edges are those
    at the edges.
    """
    window = np.arange(-options.delta_window, options.delta_window + 1)
    weights, parts = np.ones(1), [features]
    for _ in range(options.delta_order):
        weights = np.convolve(weights, window[::-1] / (window**2).sum())
        reach = len(weights) // 2
        padded = np.pad(features, ((reach, reach), (0, 0)), mode="edge")
        frames = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=0)
        parts.append(frames @ weights[::-1].astype(np.float32))
    return np.concatenate(parts, axis=1)


def spliced(features: Floats, options: SpliceOptions) -> Floats:
    """Each frame between its neighbours, ``(frames, (left + 1 + right) * width)``.

    Frames beyond the edges are those at the edges.
    """
    places = np.arange(len(features))[:, None] + np.arange(
        -options.left_context, options.right_context + 1
    )
    rows: Floats = features[np.clip(places, 0, len(features) - 1)]
    return rows.reshape(len(features), -1)


class GmmFeatures:
    """Features of a system with Gaussian mixtures, from cepstra.

    Parameters
    ----------
    folders : sequence of Path
        Where ``final.mat``, ``splice_opts``, ``delta_opts`` and ``cmvn_opts`` may be; all are
        optional.
    width : int
        Columns of the cepstra.

    Attributes
    ----------
    width : int
        Columns of the features.

    Raises
    ------
    ModelError
        If a file is damaged, or does not fit the others.
    """

    def __init__(self, folders: Sequence[Path], width: int):
        def find(name: str) -> Path:
            return next((f / name for f in folders if (f / name).is_file()), folders[0] / name)

        self.cmvn = options_from(CmvnOptions(), find("cmvn_opts"), ("reverse",))
        self.deltas = options_from(DeltaOptions(), find("delta_opts"), ("truncate",))
        self.splice = options_from(SpliceOptions(), find("splice_opts"))
        self.transform: Floats | None = None
        self._check(find("cmvn_opts"), find("delta_opts"), find("splice_opts"), width)
        self.width = width * (self.deltas.delta_order + 1)
        path = find("final.mat")
        if path.is_file():
            self.transform = read_file(path, KaldiReader.matrix)
            columns = width * (self.splice.left_context + 1 + self.splice.right_context)
            self.width = len(self.transform)
            if self.transform.shape[1] not in (columns, columns + 1) or not self.width:
                raise ModelError(
                    f"{self.transform.shape[0]} × {self.transform.shape[1]} values do not fit "
                    f"{columns} spliced features",
                    path=path,
                    remedy="copy splice_opts and mfcc.conf of the same model",
                )

    def compute(self, cepstra: Floats) -> Floats:
        """Features ``(frames, width)``, float32, of the cepstra of a recording."""
        if not len(cepstra):
            return np.zeros((0, self.width), np.float32)
        features = normalised(cepstra, self.cmvn)
        if self.transform is None:
            return with_deltas(features, self.deltas)
        features = spliced(features, self.splice)
        columns = features.shape[1]
        result: Floats = features @ self.transform[:, :columns].T
        if self.transform.shape[1] > columns:
            result += self.transform[:, columns]
        return result

    def _check(self, cmvn: Path, deltas: Path, splice: Path, width: int) -> None:
        contexts = self.splice.left_context, self.splice.right_context
        order, window = self.deltas.delta_order, self.deltas.delta_window
        skipped, is_skipping = self.cmvn.skip_dims, len(self.cmvn.skip_dims) > 0
        for wrong, path, message in (
            (not 0 <= min(contexts) <= max(contexts) <= _MOST_FRAMES, splice,
             "contexts are out of range"),
            (not (0 <= order <= 10 and 1 <= window <= _MOST_FRAMES), deltas,
             "--delta-order or --delta-window is out of range"),
            (is_skipping and not 0 <= min(skipped) <= max(skipped) < width, cmvn,
             f"--skip-dims names columns that the {width} features lack"),
            (self.cmvn.norm_vars and not self.cmvn.norm_means, cmvn,
             "--norm-vars=true needs --norm-means=true"),
        ):  # fmt: skip
            if wrong:
                raise ModelError(message, path=path, remedy="correct the option")
