"""Networks in files: our own ``.npz``, and exports that other programs run."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import warnings
import zipfile
from pathlib import Path

import torch

from asr_hlg.acoustic.nets.registry import KINDS
from asr_hlg.acoustic.network import Network, config_key
from asr_hlg.errors import ModelError

_OPSET = 14


TRANSDUCER = "transducer"
"""The kind of :class:`asr_hlg.transducer.Transducer`, which hears no frame by itself."""


def kind_of(path: str | Path) -> str | None:
    """Which kind of network an ``.npz`` file holds, a key of ``KINDS`` or ``TRANSDUCER``.

    None if it holds something else.

    Raises
    ------
    ModelError
        If it is no ``.npz`` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # zipfile has an error of its own for each version it cannot read
        raise ModelError(f"not an .npz file: {error}", path=path) from None
    return next((kind for kind in (*KINDS, TRANSDUCER) if config_key(kind) + ".npy" in names), None)


def load(path: str | Path) -> Network:
    """Read a network of any kind that :meth:`Network.save` wrote, in training mode.

    Raises
    ------
    ModelError
        If the file holds none, or is damaged.
    """
    kind = kind_of(path)
    if kind not in KINDS:
        raise ModelError(
            "holds no network that hears frames by themselves",
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
        Stays as it is.
    path : str or Path
        Ends in ``.pt`` (TorchScript) or ``.onnx``.

    Raises
    ------
    ModelError
        If it ends otherwise, this version of torch cannot write it, or it is a transducer, which is
        more than one network.
    """
    path = Path(path)
    if network.kind not in KINDS:
        raise ModelError(f"a {network.kind} cannot be exported", path=path, remedy="save() it")
    if path.suffix == ".pt":
        torch.jit.script(_for_use(network)).save(str(path))
    elif path.suffix == ".onnx":
        path.write_bytes(onnx_bytes(network))
    else:
        raise ModelError(
            f"unknown kind of export {path.suffix!r}", path=path, remedy="use .pt or .onnx"
        )
    _describe(network, path.with_suffix(".json"))


def onnx_bytes(network: Network) -> bytes:
    """What :func:`export` writes to an ``.onnx`` file.

    Raises
    ------
    ModelError
        If this version of torch cannot write it.
    """
    fbank = network.config.fbank
    size, lengths = ((2, 50, fbank.num_filters), [50, 35]) if fbank else ((2, 8000), [8000, 5000])
    # The exporter that newer versions prefer needs packages that this one does without.
    options = {"dynamo": False}
    known = inspect.signature(torch.onnx.export).parameters
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # It warns of batches of other sizes than the example's; every size is tested.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                _for_use(network),
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
                **{name: value for name, value in options.items() if name in known},
            )
        except (ImportError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(
                f"torch {torch.__version__} cannot export this network: {reason}",
                remedy="pip install onnx, which newer versions of torch need for it",
            ) from None
    return stream.getvalue()


def _for_use(network: Network) -> Network:
    """A copy on the CPU, in evaluation mode and without what only training needs."""
    twin = type(network)(network.config)
    twin.load_state_dict(network.state_dict())
    return twin.eval()


def _describe(network: Network, path: Path) -> None:
    """Write what the exported file does not say."""
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
