"""Weights of Whisper's encoder, read from a model in CTranslate2's format.

    weights = read_encoder(folder)      # of tiny.en: 4 layers, width 384
    weights["layers.0.qkv.weight"].shape

CTranslate2 itself runs a whole encoder only; here its weights become part of our own network.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import ModelError

Weights = dict[str, npt.NDArray[np.float32]]

_DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
_LAYER = {  # names of a layer's parts: ours, and those in the file
    "attention_norm": "self_attention/layer_norm",
    "qkv": "self_attention/linear_0",
    "out": "self_attention/linear_1",
    "ffn_norm": "ffn/layer_norm",
    "fc1": "ffn/linear_0",
    "fc2": "ffn/linear_1",
}


def read_encoder(folder: str | Path) -> Weights:
    """Weights of the encoder of a Whisper model.

    Parameters
    ----------
    folder : str or Path
        Contains ``model.bin``.

    Returns
    -------
    dict
        float32 arrays: ``conv1``, ``conv2``, ``norm`` and, for each layer, ``attention_norm``,
        ``qkv``, ``out``, ``ffn_norm``, ``fc1`` and ``fc2``, each with ``.weight`` and ``.bias``;
        ``positions`` ``(1500, width)``.

    Raises
    ------
    ModelError
        If the file is missing, damaged or not a Whisper model.
    """
    path = Path(folder) / "model.bin"
    try:
        variables = read_variables(path.read_bytes())
        weights = {"positions": variables["encoder/position_encodings/encodings"]}
        parts = {"conv1": "encoder/conv1", "conv2": "encoder/conv2", "norm": "encoder/layer_norm"}
        number = 0
        while f"encoder/layer_{number}/ffn/linear_0/weight" in variables:
            for ours, theirs in _LAYER.items():
                parts[f"layers.{number}.{ours}"] = f"encoder/layer_{number}/{theirs}"
            number += 1
        for ours, theirs in parts.items():
            is_norm = theirs.endswith("norm")
            weight, bias = ("gamma", "beta") if is_norm else ("weight", "bias")
            scale = variables.get(f"{theirs}/weight_scale")
            matrix = variables[f"{theirs}/{weight}"].astype(np.float32)
            if scale is not None:  # of int8 weights, one for each row
                matrix /= scale.reshape(-1, *(1,) * (matrix.ndim - 1))
            weights[ours + ".weight"] = matrix
            weights[ours + ".bias"] = variables[f"{theirs}/{bias}"]
    except OSError as error:
        raise ModelError(f"cannot read the Whisper model: {error}", path=path) from None
    except (struct.error, IndexError, KeyError, ValueError, UnicodeError) as error:
        raise ModelError(
            f"not a Whisper model in CTranslate2's format, or damaged: {error!r}", path=path
        ) from None
    return {name: array.astype(np.float32) for name, array in weights.items()}


def read_variables(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Read the variables of a ``model.bin`` of version 6.

    Little-endian: version (uint32), name of the specification, its revision and the number of
    variables (uint32 each); for each variable its name, rank (uint8), dimensions (uint32 each),
    type (uint8: 0 float32, 1 int8, 2 int16, 3 int32, 4 float16), size in bytes (uint32) and data;
    the number of aliases (uint32), and for each its name and the variable's. A name is its length
    (uint16) and UTF-8, which ends with a zero byte.
    """
    position = 0

    def number(kind: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from("<" + kind, data, position)
        position += struct.calcsize(kind)
        return int(value)

    def name() -> str:
        nonlocal position
        length = number("H")
        position += length
        return data[position - length : position].rstrip(b"\0").decode("utf-8")

    version = number("I")
    if version != 6:
        raise ValueError(f"version {version} of the format, expected 6")
    name()
    number("I")
    variables = {}
    for _ in range(number("I")):
        key = name()
        shape = [number("I") for _ in range(number("B"))]
        dtype = np.dtype(_DTYPES[number("B")])
        size = number("I")
        values = np.frombuffer(data, dtype, size // dtype.itemsize, position)
        variables[key] = values.reshape(shape)
        position += size
    for _ in range(number("I")):
        alias = name()
        variables[alias] = variables[name()]
    return variables
