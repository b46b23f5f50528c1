"""i-vectors of the speaker, as Kaldi's online decoding estimates them.

An i-vector is the mean of a Gaussian posterior over the factors by which a speaker's features
differ from a mixture of Gaussians (the UBM). With the statistics of the frames so far it solves a
linear system; the formulas are those of Kaldi's ``ivector-extractor.h`` (Dehak et al. 2011), the
configuration that of its ``online-ivector-feature.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi import ivector_kernels as kernels
from asr_hlg.acoustic.kaldi.conf import CmvnOptions, SpliceOptions, options_from
from asr_hlg.acoustic.kaldi.gmm import diag_gmm
from asr_hlg.acoustic.kaldi.online_cmvn import OnlineCmvn
from asr_hlg.acoustic.kaldi.reader import Floats, KaldiReader, read_file
from asr_hlg.errors import ModelError

Doubles = npt.NDArray[np.float64]

_MOST_GAUSSIANS = 1 << 16


@dataclass(frozen=True)
class IvectorOptions:
    """Options of the estimation of i-vectors: accumulation of statistics, conjugate gradients.

    Attributes
    ----------
    num_gselect : int
        Gaussians of a frame.
    min_post : float
        Least posterior of a Gaussian that counts.
    posterior_scale : float
        Weight of a frame, since neighbouring ones depend on each other.
    max_count : float
        Weight of all frames above which the prior is scaled up; 0 for none.
    num_cg_iters : int
        Steps of conjugate gradients.
    """

    num_gselect: int = 5
    min_post: float = 0.025
    posterior_scale: float = 0.1
    max_count: float = 100.0
    num_cg_iters: int = 15


class Factors(NamedTuple):
    """Total-variability matrices M and covariances Σ of the Gaussians, as products.

    Attributes
    ----------
    precisions : np.ndarray
        float64 ``(num_gauss, n * (n + 1) / 2)``: Mᵀ Σ⁻¹ M of each Gaussian, for n factors; the
        lower triangles of these symmetric matrices, row by row.
    projections : np.ndarray
        float64 ``(num_gauss, dim, n)``: Σ⁻¹ M.
    offset : float
        Prior mean of the first factor.
    """

    precisions: Doubles
    projections: Doubles
    offset: float

    @property
    def width(self) -> int:
        """Number of factors."""
        return self.projections.shape[2]


class IvectorExtractor:
    """Extractor of i-vectors, from the files of a model's folder ``ivector``.

    Parameters
    ----------
    folder : Path
        With ``final.ie``, ``final.dubm``, ``final.mat``, ``global_cmvn.stats``, ``splice.conf``
        and ``online_cmvn.conf``.
    width : int
        Columns of the features.

    Raises
    ------
    ModelError
        If a file is absent or damaged, or their sizes contradict each other.
    """

    def __init__(self, folder: Path, width: int):
        self.options = IvectorOptions()
        self.splice = options_from(SpliceOptions(), folder / "splice.conf")
        self.cmvn = options_from(CmvnOptions(), folder / "online_cmvn.conf", ("skip-dims",))
        self._lda = read_file(folder / "final.mat", KaldiReader.matrix)
        stats_path = folder / "global_cmvn.stats"
        self._global = read_file(stats_path, KaldiReader.double_matrix)
        self.ubm = read_file(folder / "final.dubm", diag_gmm)
        self.factors = read_file(folder / "final.ie", _factors)
        self._check(folder, width)

    @property
    def width(self) -> int:
        """Columns of an i-vector."""
        return self.factors.width

    def normalisation(self) -> OnlineCmvn:
        """Normalisation of a recording's features, before its first frame."""
        return OnlineCmvn(self.cmvn, self._global)

    def neighbours(self, begin: int, end: int, count: int) -> npt.NDArray[np.int64]:
        """Frames that are put beside each of ``[begin, end)``, int64 ``(frames, contexts)``.

        Beyond the edges of the ``count`` frames stand the first and the last one.
        """
        left, right = self.splice.left_context, self.splice.right_context
        places = np.arange(begin, end)[:, None] + np.arange(-left, right + 1)
        return np.clip(places, 0, count - 1)

    def transformed(self, features: Floats) -> Floats:
        """LDA features ``(frames, dim)`` of frames side by side, ``(frames * contexts, width)``."""
        contexts = self.splice.left_context + 1 + self.splice.right_context
        width = contexts * features.shape[1]
        result: Floats = features.reshape(-1, width) @ self._lda[:, :width].T
        if self._lda.shape[1] > width:
            result = result + self._lda[:, width]
        return result

    def _check(self, folder: Path, width: int) -> None:
        left, right = self.splice.left_context, self.splice.right_context
        if not 0 <= left <= 100 or not 0 <= right <= 100:
            raise ModelError("contexts are out of range", path=folder / "splice.conf")
        columns = width * (left + right + 1)
        dim = self.ubm.means_invvars.shape[1]
        rows, had = self._lda.shape
        stats = self._global
        for wrong, name, message in (
            (had not in (columns, columns + 1) or rows != dim, "final.mat",
             f"{rows} × {had} do not fit {columns} spliced features and {dim} of final.dubm"),
            (stats.shape != (2, width + 1) or not (stats[:, -1:][0] > 0).all(),
             "global_cmvn.stats", f"is not 2 × {width + 1} statistics"),
            (self.factors.projections.shape[:2] != self.ubm.means_invvars.shape, "final.ie",
             "has other Gaussians than final.dubm"),
            (self.cmvn.cmn_window < 1, "online_cmvn.conf", "--cmn-window must be above 0"),
        ):  # fmt: skip
            if wrong:
                raise ModelError(message, path=folder / name, remedy="copy the folder again")


class IvectorEstimate:
    """Statistics of one recording, and the i-vector that they give.

    Parameters
    ----------
    extractor : IvectorExtractor

    Attributes
    ----------
    ivector : np.ndarray
        float64 ``(width,)``: the last estimate.
    """

    def __init__(self, extractor: IvectorExtractor):
        self._extractor = extractor
        width = extractor.width
        self._offset = float(np.float32(extractor.factors.offset))  # as Kaldi's statistics have it
        self._quadratic = np.eye(width)[np.tril_indices(width)]
        self._diagonal = np.cumsum(np.arange(1, width + 1)) - 1
        self._linear = np.zeros(width)
        self._linear[0] = self._offset
        self._count = 0.0
        self.ivector = np.zeros(width)
        self.ivector[0] = extractor.factors.offset

    def add(self, features: Floats, normalised: Floats, weights: Floats) -> None:
        """Add frames with weights, which are negative where old frames are removed.

        Parameters
        ----------
        features, normalised : np.ndarray
            float32 ``(frames, dim)``: LDA features without and with normalised mean.
        weights : np.ndarray
            float32 ``(frames,)``.
        """
        used = np.flatnonzero(weights)
        if not len(used):
            return
        extractor, options = self._extractor, self._extractor.options
        scores = extractor.ubm.log_likelihoods(normalised[used])
        added = kernels.accumulate(
            scores,
            features[used],
            weights[used].astype(np.float32),
            (options.num_gselect, options.min_post, options.posterior_scale),
            (extractor.factors.precisions, extractor.factors.projections),
            (self._quadratic, self._linear),
        )
        if options.max_count > 0:
            most = options.max_count
            change = max(self._count + added, most) / most - max(self._count, most) / most
            self._linear[0] += self._offset * change
            self._quadratic[self._diagonal] += change
        self._count += added

    def solve(self) -> Floats:
        """Estimate anew, float32 ``(width,)``, with the first factor's mean subtracted."""
        extractor = self._extractor
        width = extractor.width
        if self._count > 0:
            if self.ivector[0] == 0:
                self.ivector[0] = self._offset
            rows, columns = np.tril_indices(width)
            matrix = np.empty((width, width))
            matrix[rows, columns] = matrix[columns, rows] = self._quadratic
            steps = extractor.options.num_cg_iters
            kernels.conjugate_gradients(matrix, self._linear, self.ivector, steps)
        else:
            self.ivector[:] = 0
            self.ivector[0] = self._offset
        return self.current

    @property
    def current(self) -> Floats:
        """The last estimate as input of the network, float32 ``(width,)``."""
        result = self.ivector.astype(np.float32)
        result[0] = float(result[0]) - self._extractor.factors.offset
        return result


def _factors(reader: KaldiReader) -> Factors:
    """``final.ie``."""
    reader.expect("<IvectorExtractor>")
    reader.expect("<w>")
    if reader.double_matrix().size:
        raise reader.error("weights that depend on the i-vector are not supported")
    reader.expect("<w_vec>")
    reader.double_vector()
    reader.expect("<M>")
    number = reader.count(4, "matrices")
    if not 0 < number <= _MOST_GAUSSIANS:
        raise reader.error(f"{number:,} Gaussians are out of range")
    means = [reader.double_matrix() for _ in range(number)]
    reader.expect("<SigmaInv>")
    inverses = [reader.symmetric() for _ in range(number)]
    reader.expect("<IvectorOffset>")
    offset = reader.number()
    reader.expect("</IvectorExtractor>")
    dim, width = means[0].shape
    fits = all(mean.shape == (dim, width) for mean in means)
    if not (fits and dim and width and all(len(matrix) == dim for matrix in inverses)):
        raise reader.error("the matrices differ in size")
    projections = np.empty((number, dim, width))
    precisions = np.empty((number, width * (width + 1) // 2))
    lower = np.tril_indices(width)
    for row, (mean, inverse) in enumerate(zip(means, inverses, strict=True)):
        projections[row] = inverse @ mean
        precisions[row] = (mean.T @ projections[row])[lower]
    return Factors(precisions, projections, offset)
