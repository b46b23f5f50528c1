"""Weight files of the package ``hama``: the tensors of its networks, and their vocabularies.

Only the files of the package are read; none of its code is imported.
"""

from __future__ import annotations

import json
import math
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import ModelError

G2P_FILES = ("encoder.hama", "decoder_step.hama", "g2p_vocab.json")
"""Files of the grapheme-to-phoneme network: two of weights, and its vocabularies."""

_MAGIC = b"HAMAPK"
_DTYPES = (np.dtype("<f4"), np.dtype("<f2"))


def asset(name: str) -> bytes:
    """Content of a file of the package; a `ModelError` if it is not installed."""
    spec = find_spec("hama")
    try:
        if spec is None or spec.origin is None:
            raise FileNotFoundError("no package hama")
        return Path(spec.origin).parent.joinpath("assets", name).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"the pretrained model is missing: {error}", remedy="install it with: pip install hama"
        ) from None


def vocabulary() -> tuple[list[str], list[str]]:
    """Characters and IPA symbols of the grapheme-to-phoneme network, by id."""
    content = json.loads(asset(G2P_FILES[2]).decode("utf-8"))
    return content["encoder"], content["decoder"]


def read_tensors(data: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """Read the tensors of a ``.hama`` weight file.

    Magic ``HAMAPK`` and two version bytes; the number of tensors (uint32); for each, the length
    of its name (uint16), the name, a byte for the type (0 float32, 1 float16), a byte for the
    rank, its dimensions (uint32 each), offset and size in bytes (uint64 each); then, from the
    next multiple of 16, the data.  Little-endian.

    Raises
    ------
    ModelError
        If the data are incomplete or in another format.
    """
    if not data.startswith(_MAGIC):
        raise ModelError("not a hama weight file", remedy="reinstall hama 1.7")
    entries = []
    try:
        (count,) = struct.unpack_from("<I", data, 8)
        position = 12
        for _ in range(count):
            (length,) = struct.unpack_from("<H", data, position)
            name = data[position + 2 : position + 2 + length].decode("utf-8")
            position += 2 + length
            dtype, rank = struct.unpack_from("<BB", data, position)
            *shape, offset, _ = struct.unpack_from(f"<BB{rank}IQQ", data, position)[2:]
            position += 2 + 4 * rank + 16
            entries.append((name, _DTYPES[dtype], shape, offset))
        start = -(-position // 16) * 16
        return {
            name: np.frombuffer(data, dtype, math.prod(shape), start + offset)
            .reshape(shape)
            .astype(np.float32)
            for name, dtype, shape, offset in entries
        }
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ModelError(
            f"the hama weight file is damaged: {error}", remedy="reinstall hama 1.7"
        ) from None
