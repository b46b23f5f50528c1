"""Opens a folder or ONNX file that another toolkit exported.

>>> find(Path("sherpa-onnx-zipformer-ctc"))
PosixPath('sherpa-onnx-zipformer-ctc/model.onnx')
"""

from __future__ import annotations

from pathlib import Path

from asr_hlg.acoustic.exported import hugging_face
from asr_hlg.acoustic.exported.kinds import kind_of
from asr_hlg.acoustic.exported.model import ExportedModel
from asr_hlg.acoustic.exported.network import OnnxNetwork
from asr_hlg.errors import ModelError
from asr_hlg.lexicon.token_files import FILES, ModelTokens, tokens_file


def find(path: Path) -> Path | None:
    """The network's file of an exported model; None if the path is none.

    An ONNX file with a description of this project beside it is no exported model.
    """
    if path.is_file():
        is_own = path.with_suffix(".json").is_file() and path.with_suffix(".json").name not in FILES
        return path if path.suffix == ".onnx" and not is_own else None
    if not path.is_dir():
        return None
    if tokens_file(path) is None:
        files = list(path.glob("*.onnx"))
        return find(files[0]) if len(files) == 1 else None
    for folder in (path, path / "onnx"):
        if file := _network_in(folder):
            return file if find(file) else None
    return hugging_face.weights_file(path) if hugging_face.is_folder(path) else None


def load(path: Path, device: str = "cpu") -> ExportedModel:
    """Open an exported model: a folder, or the network's file in one.

    Raises
    ------
    ModelError
        If it is of no known kind, a file is missing, or tokens and network do not fit.
    """
    file = find(path)
    if file is None:
        raise ModelError("no exported model", path=path)
    folder = _folder(file)
    if file.suffix != ".onnx":
        return ExportedModel(hugging_face.open_safetensors(file, device), device)
    if hugging_face.is_folder(folder):
        return ExportedModel(hugging_face.open_onnx(folder, file, device), device)
    network = OnnxNetwork(file, device)
    kind = kind_of(network)
    tokens = tokens_file(file.parent)
    if tokens is None:
        raise ModelError(
            "its tokens are missing", path=file, remedy=f"put tokens.txt beside {file.name}"
        )
    return ExportedModel(kind(network, tokens), device)


def tokens_of(path: Path, device: str = "cpu") -> ModelTokens:
    """Tokens of an exported model, blank first, and the token between words."""
    model = load(path, device)
    return ModelTokens(model.tokens, tuple(range(len(model.tokens))), model.boundary)


def _folder(file: Path) -> Path:
    """The folder of a model, in whose folder ``onnx`` the network may be."""
    parent = file.parent
    return parent.parent if parent.name == "onnx" and not hugging_face.is_folder(parent) else parent


def _network_in(folder: Path) -> Path | None:
    """The ONNX file of a folder: the only one, or the one of full precision."""
    files = sorted(folder.glob("*.onnx"))
    if any(file.name.startswith("encoder") for file in files):
        names = ", ".join(file.name for file in files)
        raise ModelError(
            f"is a transducer or an encoder with a decoder ({names})",
            path=folder,
            remedy="only CTC models, of one network, give frame posteriors",
        )
    full = [file for file in files if not _is_quantized(file)] or files
    named = [file for file in full if file.name in ("model.onnx", "model.int8.onnx")]
    if len(named or full) > 1:
        names = ", ".join(file.name for file in full)
        raise ModelError(
            f"the folder has several networks: {names}", path=folder, remedy="name one of them"
        )
    found = named or full
    return found[0] if found else None


def _is_quantized(file: Path) -> bool:
    """Whether the name of a file marks a network with quantized weights."""
    return any(mark in file.stem for mark in ("int8", "fp16", "quantized", "q4", "uint8", "bnb4"))
