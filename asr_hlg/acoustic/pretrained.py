"""The pretrained Conformer: with its own weights, or adapted to noise and accents by distillation.

>>> model = PretrainedModel("hama")              # acoustic.load("hama"): weights of the package
>>> model = PretrainedModel("hama-distilled")    # weights in lang/en

For ``hama-distilled`` the network was trained on distorted recordings to give the posteriors that
:mod:`asr_hlg.acoustic.whisper_conformer` gives on the undistorted ones (Hinton, Vinyals & Dean,
"Distilling the Knowledge in a Neural Network", 2015), and its weights were averaged with the
original ones (``scripts/whisper_head/distil.py``). Tokens, frames and cost are the same.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic import hama, onnx_network
from asr_hlg.acoustic.model import NetworkModel
from asr_hlg.files import shipped_folder

SCALES: Mapping[str, Mapping[str, float]] = {
    "hama": {"acoustic_scale": 1.0, "blank_penalty": 1.0},
    "hama-distilled": {"acoustic_scale": 1.15, "blank_penalty": 1.2},
}
"""Names of the models, and the scales that were tuned for each with the graph ``en``."""

_DISTILLED = "lang/en/conformer.npz"
"""File of this package that holds the distilled weights, in half precision."""


class PretrainedModel(NetworkModel):
    """Acoustic model with a name and scales of its own, that onnxruntime or torch computes."""

    def __init__(self, name: str, device: str = "cpu"):
        is_original = name == "hama"
        content = hama.weight_file() if is_original else _weight_file()
        weights = hama.weights if is_original else distilled_weights
        network = onnx_network.pretrained(content, weights) if device == "cpu" else None
        super().__init__(network or hama.conformer(state=weights()), device, frozen=True)
        self.name, self.scales = name, SCALES[name]


def distilled_weights() -> dict[str, npt.NDArray[np.float32]]:
    """Weights of ``hama-distilled``, by the names of ``Conformer.state_dict()``."""
    with np.load(io.BytesIO(_weight_file()), allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}


def _weight_file() -> bytes:
    return (shipped_folder() / _DISTILLED).read_bytes()
