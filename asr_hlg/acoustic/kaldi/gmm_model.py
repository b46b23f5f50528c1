"""Kaldi's models of Gaussian mixtures as folders: ``final.mdl`` of a monophone or triphone system.

Beside it are ``final.mat``, ``splice_opts``, ``delta_opts`` and ``cmvn_opts``, where the system has
them, and ``mfcc.conf`` in a folder ``conf`` or at the top.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi import features
from asr_hlg.acoustic.kaldi.conf import read_conf
from asr_hlg.acoustic.kaldi.features import read_feature_options
from asr_hlg.acoustic.kaldi.folder import conf_folder, model_file
from asr_hlg.acoustic.kaldi.gmm import read_gmm_system
from asr_hlg.acoustic.kaldi.gmm_features import GmmFeatures
from asr_hlg.acoustic.kaldi.reader import Floats
from asr_hlg.acoustic.model import AcousticModel, Samples
from asr_hlg.errors import ModelError
from asr_hlg.files import text_lines


class KaldiGmmModel(AcousticModel):
    """Model of Gaussian mixtures, one a pdf.

    Mean and, if the model says so, variance of the features are normalised over each recording. A
    system for adapted features (SAT) has ``final.alimdl`` beside ``final.mdl``, with mixtures for
    features that are not adapted; those are used.

    Parameters
    ----------
    folder : Path
        With the files above.

    Attributes
    ----------
    tokens : tuple of str
        ``pdf_0``, ``pdf_1``, …: columns of the log-likelihoods.
    transitions : TransitionModel
    mixtures : AmDiagGmm
    features : GmmFeatures

    Raises
    ------
    ModelError
        If a file is absent or damaged, or the files do not fit together.
    """

    def __init__(self, folder: Path):
        path = model_file(folder)
        if path is None:
            raise ModelError(
                "has no final.mdl", path=folder, remedy="name the folder of a Kaldi model"
            )
        unadapted = path.with_name("final.alimdl")
        path = unadapted if unadapted.is_file() else path
        conf = conf_folder(folder)
        system = read_gmm_system(path)
        self.transitions, self.mixtures = system.transitions, system.mixtures
        self._cepstra = read_feature_options(conf)
        self.features = GmmFeatures((path.parent, folder, conf), self._cepstra.width)
        if self.features.width != self.mixtures.dim:
            raise ModelError(
                f"the mixtures take {self.mixtures.dim} columns of features, but the files give "
                f"{self.features.width}",
                path=path,
                remedy="copy mfcc.conf, and final.mat or delta_opts, of the same model",
            )
        self.silence_phones = _silence_phones(folder)
        names = [f"pdf_{number}" for number in range(self.mixtures.num_pdfs)]
        rate = self._cepstra.sample_frequency
        super().__init__(names, self._cepstra.shift / rate, round(rate), "cpu")

    def log_probs(self, waveforms: list[Samples]) -> list[Floats]:
        """Log-likelihoods ``(frames, num_pdfs)`` of each waveform, float32 at its rate."""
        return [self._of_one(waveform) for waveform in waveforms]

    def _of_one(self, waveform: Samples) -> Floats:
        cepstra = features.compute(waveform * np.float32(32768), self._cepstra)
        return self.mixtures.log_likelihoods(self.features.compute(cepstra))


def _silence_phones(folder: Path) -> npt.NDArray[np.int32] | None:
    """Phones that ``model.conf`` or ``phones/silence.csl`` names; None without these files."""
    texts = []
    conf = conf_folder(folder) / "model.conf"
    if conf.is_file():
        texts = [read_conf(conf).get("endpoint.silence-phones", ("", 0))[0]]
    for path in (folder / "graph/phones/silence.csl", folder / "phones/silence.csl"):
        if not any(texts) and path.is_file():
            texts = [line for _, line in text_lines(path, ModelError)]
            conf = path
    if not any(texts):
        return None
    try:
        return np.array([int(part) for part in ":".join(texts).split(":")], np.int32)
    except (ValueError, OverflowError):
        raise ModelError(
            "expected numbers of phones with : between them",
            path=conf,
            remedy="copy the file again",
        ) from None
