"""Mixtures of diagonal Gaussians: one as the UBM of i-vectors, one a pdf as the acoustic model.

The log-likelihood of a frame x in a Gaussian of weight w, mean μ and variances σ² is stored as
``c + (μ / σ²)·x - (1 / 2σ²)·x²``, where c = log w - ½ Σ (log 2πσ² + μ² / σ²); that of a mixture is
the logarithm of the sum over its Gaussians. Format: ``gmm/diag-gmm.h`` and ``gmm/am-diag-gmm.h`` in
Kaldi.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr_hlg.acoustic.kaldi.reader import Floats, KaldiReader, read_file
from asr_hlg.acoustic.kaldi.transition_model import TransitionModel, transition_model

_LOG_2PI = float(np.log(2 * np.pi))
_SCORES_AT_ONCE = 1 << 21
"""Scores of Gaussians that are in memory at a time: 8 MB."""


class DiagGmm(NamedTuple):
    """Mixture of diagonal Gaussians, in the form of its log-likelihoods.

    ``constants`` float32 ``(num_gauss,)``; ``means_invvars`` and ``inv_vars`` float32
    ``(num_gauss, dim)``.
    """

    constants: Floats
    means_invvars: Floats
    inv_vars: Floats

    def log_likelihoods(self, features: Floats) -> Floats:
        """Log-likelihood of each frame for each Gaussian, float32 ``(frames, num_gauss)``."""
        linear = features @ self.means_invvars.T
        result: Floats = self.constants + linear - 0.5 * ((features**2) @ self.inv_vars.T)
        return result


class AmDiagGmm:
    """Mixtures of an acoustic model, one a pdf.

    Parameters
    ----------
    mixtures : list of DiagGmm
        By pdf; all of the same ``dim``.

    Attributes
    ----------
    dim : int
        Columns of the features.
    num_pdfs, num_gauss : int
    """

    def __init__(self, mixtures: list[DiagGmm]):
        self._gaussians = DiagGmm(*(np.concatenate(parts) for parts in zip(*mixtures, strict=True)))
        self._sizes = np.array([len(mixture.constants) for mixture in mixtures])
        self._starts = np.cumsum(self._sizes) - self._sizes
        self.num_gauss, self.dim = self._gaussians.inv_vars.shape
        self.num_pdfs = len(mixtures)

    def log_likelihoods(self, features: Floats) -> Floats:
        """Log-likelihood of each frame for each pdf.

        Parameters
        ----------
        features : np.ndarray
            float32 ``(frames, dim)``.

        Returns
        -------
        np.ndarray
            float32 ``(frames, num_pdfs)``; they are densities, hence may be positive.
        """
        result = np.empty((len(features), self.num_pdfs), np.float32)
        block = max(1, _SCORES_AT_ONCE // self.num_gauss)
        for begin in range(0, len(features), block):
            scores = self._gaussians.log_likelihoods(features[begin : begin + block])
            result[begin : begin + block] = self._sums(scores)
        return result

    def _sums(self, scores: Floats) -> Floats:
        """Logarithms of the sums over the Gaussians of each pdf, which overwrite ``scores``."""
        top = np.maximum.reduceat(scores, self._starts, axis=1)
        scores -= np.repeat(top, self._sizes, axis=1)
        np.exp(scores, out=scores)
        result: Floats = top + np.log(np.add.reduceat(scores, self._starts, axis=1))
        return result


@dataclass(frozen=True)
class GmmSystem:
    """Content of ``final.mdl`` of a monophone or triphone system."""

    transitions: TransitionModel
    mixtures: AmDiagGmm


def holds_mixtures(path: Path) -> bool:
    """Whether a ``final.mdl`` has Gaussian mixtures after its transition model."""
    return read_file(path, _is_followed_by_mixtures)


def read_gmm_system(path: str | Path) -> GmmSystem:
    """Read ``final.mdl`` of a monophone or triphone system, binary or text.

    Raises
    ------
    ModelError
        If the file is damaged, holds another kind of model, or has fewer mixtures than pdfs.
    """
    return read_file(Path(path), _system)


def diag_gmm(reader: KaldiReader) -> DiagGmm:
    """Read a mixture; its constants are computed from the rest."""
    reader.expect("<DiagGMM>", "<DiagGMMBegin>")
    if reader.expect("<GCONSTS>", "<WEIGHTS>") == "<GCONSTS>":
        reader.vector()
        reader.expect("<WEIGHTS>")
    weights = reader.vector()
    reader.expect("<MEANS_INVVARS>")
    means_invvars = reader.matrix()
    reader.expect("<INV_VARS>")
    inv_vars = reader.matrix()
    reader.expect("</DiagGMM>", "<DiagGMMEnd>")
    if means_invvars.shape != inv_vars.shape or len(weights) != len(inv_vars) or not len(weights):
        raise reader.error("the mixture has weights, means and variances of different sizes")
    if not (inv_vars > 0).all() or not (weights > 0).all():
        raise reader.error("the mixture has weights or variances that are not positive")
    with np.errstate(over="ignore", invalid="ignore"):
        squares = means_invvars.astype(np.float64) ** 2 / inv_vars - np.log(inv_vars)
        dim = inv_vars.shape[1]
        constants = (np.log(weights) - 0.5 * (dim * _LOG_2PI + squares.sum(1))).astype(np.float32)
    if not (np.isfinite(constants).all() and np.isfinite(inv_vars).all()):
        raise reader.error("the mixture has means or variances that are out of range")
    return DiagGmm(constants, means_invvars, inv_vars)


def _system(reader: KaldiReader) -> GmmSystem:
    transitions = transition_model(reader)
    mixtures = _mixtures(reader)
    if transitions.num_pdfs > mixtures.num_pdfs:
        raise reader.error(
            f"the model has {mixtures.num_pdfs:,} mixtures for {transitions.num_pdfs:,} pdfs"
        )
    return GmmSystem(transitions, mixtures)


def _mixtures(reader: KaldiReader) -> AmDiagGmm:
    reader.expect("<DIMENSION>")
    dim = reader.integer()
    reader.expect("<NUMPDFS>")
    number = reader.count(20, "pdfs")
    mixtures = []
    for _ in range(number):
        mixtures.append(diag_gmm(reader))
        if mixtures[-1].inv_vars.shape[1] != dim:
            raise reader.error(f"the mixture does not have the dimension {dim:,}")
    if not mixtures or not dim:
        raise reader.error("the model has no mixtures")
    return AmDiagGmm(mixtures)


def _is_followed_by_mixtures(reader: KaldiReader) -> bool:
    return reader.find("</TransitionModel>") and reader.peek() == "<DIMENSION>"
