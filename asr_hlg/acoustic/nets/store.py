"""Networks in files: our own ``.npz``, and exports that other programs run."""

from __future__ import annotations

import dataclasses
import inspect
import json
import warnings
import zipfile
from pathlib import Path

import torch

from asr_hlg.acoustic.nets.registry import KINDS
from asr_hlg.acoustic.network import Network, config_key
from asr_hlg.errors import ModelError

_OPSET = 14


def kind_of(path: str | Path) -> str | None:
    """Which kind of network an ``.npz`` file holds; None if it holds something else.

    Raises
    ------
    ModelError
        If it is no ``.npz`` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"not an .npz file: {error}", path=path) from None
    return next((kind for kind in KINDS if config_key(kind) + ".npy" in names), None)


def load(path: str | Path) -> Network:
    """Read a network of any kind that :meth:`Network.save` wrote, in training mode.

    Raises
    ------
    ModelError
        If the file holds none, or is damaged.
    """
    kind = kind_of(path)
    if kind is None:
        raise ModelError("holds no network", path=path, remedy="write one with network.save()")
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
        If it ends otherwise.
    """
    path = Path(path)
    writers = {".pt": _torch_script, ".onnx": _onnx}
    if path.suffix not in writers:
        raise ModelError(
            f"unknown kind of export {path.suffix!r}", path=path, remedy="use .pt or .onnx"
        )
    # A copy on the CPU, in evaluation mode and without what only training needs.
    twin = type(network)(network.config)
    twin.load_state_dict(network.state_dict())
    writers[path.suffix](twin.eval(), path)
    _describe(network, path.with_suffix(".json"))


def _torch_script(network: Network, path: Path) -> None:
    torch.jit.script(network).save(str(path))


def _onnx(network: Network, path: Path) -> None:
    fbank = network.config.fbank
    size, lengths = ((2, 50, fbank.num_filters), [50, 35]) if fbank else ((2, 8000), [8000, 5000])
    # The exporter that newer versions prefer needs packages that this one does without.
    options = {"dynamo": False}
    known = inspect.signature(torch.onnx.export).parameters
    with warnings.catch_warnings():
        # It warns of batches of other sizes than the example's; every size is tested.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(size), torch.tensor(lengths)),
            str(path),
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
