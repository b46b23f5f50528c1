"""Network files: this project's ``.npz``, and TorchScript and ONNX exports for other programs."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import warnings
from pathlib import Path

import torch

from asr_hlg.acoustic.nets.kinds import network_kind
from asr_hlg.acoustic.nets.registry import KINDS
from asr_hlg.acoustic.network import Network
from asr_hlg.errors import ModelError

_OPSET = 14


def load(path: str | Path) -> Network:
    """Read a network of any kind that :meth:`Network.save` wrote, in training mode.

    Raises
    ------
    ModelError
        If the file contains no network or a transducer, or is damaged.
    """
    kind = network_kind(path)
    if kind not in KINDS:
        raise ModelError(
            "holds no network for CTC or hybrid decoding",
            path=path,
            remedy="write one with network.save()",
        )
    return KINDS[kind].load(path)


def export(network: Network, path: str | Path) -> None:
    """Write a network as TorchScript or ONNX, with its description in a JSON file beside it.

    :func:`asr_hlg.acoustic.load` reads both; :mod:`asr_hlg.acoustic.external` describes how other
    programs call them.

    Parameters
    ----------
    network : Network
        Is not changed.
    path : str or Path
        Ends in ``.pt`` (TorchScript) or ``.onnx``.

    Raises
    ------
    ModelError
        If the path ends otherwise, this version of torch cannot export the network, or it is a
        transducer, which consists of several networks.
    """
    path = Path(path)
    if network.kind not in KINDS:
        raise ModelError(
            f"a {network.kind} cannot be exported", path=path, remedy="use network.save()"
        )
    if path.suffix == ".pt":
        torch.jit.script(_for_inference(network)).save(str(path))
    elif path.suffix == ".onnx":
        path.write_bytes(onnx_bytes(network))
    else:
        raise ModelError(
            f"unknown kind of export {path.suffix!r}", path=path, remedy="use .pt or .onnx"
        )
    _describe(network, path.with_suffix(".json"))


def onnx_bytes(network: Network) -> bytes:
    """Content of the ONNX file of a network.

    Raises
    ------
    ModelError
        If this version of torch cannot export it.
    """
    fbank = network.config.fbank
    size, lengths = ((2, 50, fbank.num_filters), [50, 35]) if fbank else ((2, 8000), [8000, 5000])
    # The default exporter of newer versions needs further packages.
    parameters = inspect.signature(torch.onnx.export).parameters
    options = {"dynamo": False} if "dynamo" in parameters else {}
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter warns that batch sizes other than the example's may fail; tests cover them.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                _for_inference(network),
                (torch.zeros(size), torch.tensor(lengths)),
                stream,
                input_names=["inputs", "lengths"],
                output_names=["log_probs", "frames"],
                dynamic_axes={
                    "inputs": {0: "batch", 1: "time"},
                    "lengths": {0: "batch"},
                    "log_probs": {0: "batch", 1: "output_time"},
                    "frames": {0: "batch"},
                },
                opset_version=_OPSET,
                **options,
            )
        except (ImportError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(
                f"torch {torch.__version__} cannot export this network: {reason}",
                remedy="pip install onnx, which newer versions of torch need for it",
            ) from None
    return stream.getvalue()


def _for_inference(network: Network) -> Network:
    """Copy of a network on the CPU, in evaluation mode and without augmentation."""
    copy = type(network)(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.eval()


def _describe(network: Network, path: Path) -> None:
    """Write the JSON file that :class:`asr_hlg.acoustic.external.Description` reads."""
    config = network.config
    description = {
        "tokens": config.tokens,
        "frame_shift": config.frame_shift,
        "sample_rate": config.sample_rate,
    }
    if config.fbank is not None:
        description["fbank"] = dataclasses.asdict(config.fbank)
    if network.priors is not None:
        description["priors"] = network.priors.tolist()
    path.write_text(json.dumps(description, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
