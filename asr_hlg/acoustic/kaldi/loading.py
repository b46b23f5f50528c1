"""Loading of Kaldi's models, of either kind."""

from __future__ import annotations

from pathlib import Path

from asr_hlg.acoustic.kaldi.folder import model_file
from asr_hlg.acoustic.kaldi.gmm import holds_mixtures
from asr_hlg.acoustic.kaldi.gmm_model import KaldiGmmModel
from asr_hlg.acoustic.kaldi.model import KaldiModel


def load(folder: Path) -> KaldiModel | KaldiGmmModel:
    """Model in a folder: an nnet3 network or Gaussian mixtures, as its ``final.mdl`` says.

    Raises
    ------
    ModelError
        If a file is absent or damaged, or the files do not fit together.
    """
    path = model_file(folder)
    if path is not None and holds_mixtures(path):
        return KaldiGmmModel(folder)
    return KaldiModel(folder)
