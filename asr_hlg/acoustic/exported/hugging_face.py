"""CTC models in folders of Hugging Face: wav2vec 2.0, HuBERT, WavLM and others of their kind.

Such a folder has ``vocab.json``, ``preprocessor_config.json`` and ``tokenizer_config.json``, and
the network as ``model.onnx`` (optimum) or as ``model.safetensors``, in one file or several, which
needs torch and the package transformers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asr_hlg.acoustic.config import SAMPLE_RATES
from asr_hlg.acoustic.exported.model import Exported, FrontEnd
from asr_hlg.acoustic.exported.network import OnnxNetwork
from asr_hlg.acoustic.filter_banks import Floats, normalised_waveform
from asr_hlg.errors import ModelError
from asr_hlg.files import parse_json
from asr_hlg.lexicon.token_files import ModelTokens, read_tokens

VOCABULARY = "vocab.json"


def is_folder(folder: Path) -> bool:
    """Whether a folder is one of Hugging Face's with a CTC model."""
    return (folder / VOCABULARY).is_file() and (folder / "preprocessor_config.json").is_file()


def weights_file(folder: Path) -> Path | None:
    """The file with the weights of torch, or with the list of several; None without.

    Raises
    ------
    ModelError
        If there is only a pickle.
    """
    for name in ("model.safetensors", "model.safetensors.index.json"):
        if (folder / name).is_file():
            return folder / name
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if pickled:
        raise ModelError(
            "has weights as a pickle, which could run code, and is not read",
            path=pickled[0],
            remedy="write them as model.safetensors with save_pretrained() of transformers, or "
            "export the model with optimum to ONNX",
        )
    return None


def tokens_of(folder: Path, num_outputs: int | None = None) -> ModelTokens:
    """Tokens of a folder, blank first; ``|`` is the word boundary by default."""
    settings = _read(folder / "tokenizer_config.json")
    config = _read(folder / "config.json")
    blank: Any = _text(settings.get("pad_token")) or config.get("pad_token_id")
    boundary = _text(settings.get("word_delimiter_token", "|"))
    tokens = read_tokens(folder / VOCABULARY, num_outputs, blank)
    return ModelTokens(
        tokens.names, tokens.columns, boundary if boundary in tokens.names else tokens.boundary
    )


def open_onnx(folder: Path, path: Path, device: str) -> Exported:
    """Model of a folder with an ONNX file: ``input_values`` ``(1, n)`` to ``logits``."""
    network = OnnxNetwork(path, device)
    first = network.inputs[0]

    def run(samples: Floats) -> Any:
        arrays: dict[str, Any] = {first: samples[None]}
        if "attention_mask" in network.inputs:
            arrays["attention_mask"] = [[1] * len(samples)]
        return network.run(arrays)[0][0]

    return _exported(folder, path, network.num_outputs, run)


def open_safetensors(path: Path, device: str) -> Exported:
    """Model with weights of torch, computed by transformers; ``path`` is :func:`weights_file`."""
    folder = path.parent
    try:
        import torch
        from transformers import AutoModelForCTC
    except ImportError as error:
        raise ModelError(
            f"needs torch and transformers ({error})",
            path=path,
            remedy="pip install 'asr-hlg[transformers]', or export the model with optimum to ONNX",
        ) from None
    try:
        model, found = AutoModelForCTC.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # of many kinds, since the files are another program's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"transformers cannot open it: {reason}", path=path) from None
    # transformers fills in what is missing at random; this one is for training only
    missing = [name for name in found["missing_keys"] if not name.endswith("masked_spec_embed")]
    if missing:
        raise ModelError(
            f"lacks weights of a CTC network: {', '.join(sorted(missing)[:3])}",
            path=path,
            remedy="name a model that was fine-tuned with CTC",
        )
    model = model.to(device).eval()

    def run(samples: Floats) -> Any:
        with torch.no_grad():
            return model(torch.from_numpy(samples)[None].to(device)).logits[0].cpu().numpy()

    return _exported(folder, path, int(model.config.vocab_size), run)


def _exported(
    folder: Path, path: Path, num_outputs: int | None, run: Callable[[Floats], Any]
) -> Exported:
    config = _read(folder / "config.json")
    features = _read(folder / "preprocessor_config.json")
    extractor = features.get("feature_extractor_type", "Wav2Vec2FeatureExtractor")
    if extractor != "Wav2Vec2FeatureExtractor":
        raise ModelError(
            f"its features are made by {extractor}, which is not known here",
            path=folder / "preprocessor_config.json",
            remedy="models that take waveforms are opened: wav2vec 2.0, HuBERT, WavLM",
        )
    rate = features.get("sampling_rate", 16000)
    if not isinstance(rate, int) or rate not in SAMPLE_RATES:
        raise ModelError(
            f"the sampling_rate {rate} is out of range", path=folder / "preprocessor_config.json"
        )
    normalise = (normalised_waveform(1e-7),) if features.get("do_normalize", True) else ()
    strides = config.get("conv_stride") or [320]
    if not isinstance(strides, list) or not all(
        isinstance(k, int) and 0 < k < 1000 for k in strides
    ):
        raise ModelError("conv_stride must be a list of numbers", path=folder / "config.json")
    size = config.get("vocab_size")
    if not isinstance(size, int | None):
        raise ModelError("vocab_size must be a number", path=folder / "config.json")
    stride = math.prod(strides)
    tokens = tokens_of(folder, num_outputs or size)
    front_end = FrontEnd(None, normalise, rate)
    return Exported("hugging face", path, tokens, front_end, run, stride / rate)


def _read(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty without the file."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"not JSON: {error}", path=path) from None
    if not isinstance(content, dict):
        raise ModelError("not a JSON object", path=path)
    return content


def _text(token: Any) -> Any:
    """Text of a token, which may be a table with its ``content``."""
    return token.get("content") if isinstance(token, dict) else token
