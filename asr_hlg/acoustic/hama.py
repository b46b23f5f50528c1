"""The pretrained acoustic model: the speech weights that package ``hama`` carries.

A Conformer CTC model of two million parameters, trained on IPA transcriptions; 191 units, 20 ms
frames, 16 kHz.  Only its weight file is used: the network runs as our
:class:`~asr_hlg.acoustic.conformer.Conformer`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from importlib import resources

import numpy as np
import torch

from asr_hlg.acoustic.conformer import Conformer, ConformerConfig
from asr_hlg.errors import ModelError
from asr_hlg.fst.symbols import BLANK
from asr_hlg.lexicon.phones import ARPABET, IPA_TO_ARPABET, SILENCE

TOKENS = (BLANK, SILENCE, *ARPABET)
"""The columns of the pretrained model's posteriors."""

_TOKEN_OF_UNIT = {"<blank>": BLANK, "<pad>": BLANK, "<wb>": SILENCE, **IPA_TO_ARPABET}

_MAGIC = b"HAMAPK"
_DTYPES = (np.dtype("<f4"), np.dtype("<f2"))


def units() -> tuple[str, ...]:
    """The pretrained model's own output units, in the order of its columns."""
    vocabulary = json.loads(_asset("g2p_vocab.json").decode("utf-8"))
    return (*vocabulary["decoder"], "<wb>", "<blank>")


def conformer(arpabet: bool = True) -> Conformer:
    """The pretrained network, in evaluation mode.

    Parameters
    ----------
    arpabet : bool
        Sum the probabilities of IPA units into ``<blk>``, ``SIL`` and the 39 ARPAbet phones.
        Units that are none of those (marks of tone and length, sounds of other languages) are
        dropped and the rest is renormalised, which changes a frame's scores by a constant and
        so no decision.  False: the 191 units themselves, for lexicons in IPA.
    """
    names = units()
    column = {unit: TOKENS.index(token) for unit, token in _TOKEN_OF_UNIT.items()}
    merge = tuple(column.get(name, -1) for name in names)
    config = ConformerConfig(TOKENS, merge) if arpabet else ConformerConfig(names)
    model = Conformer(config)
    model.load_state_dict(_state(read_tensors(_asset("asr_waveform.hama")), config.num_blocks))
    return model.eval()


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Read a ``.hama`` weight file.

    Magic ``HAMAPK`` and two version bytes; the number of tensors (uint32); for each, the length
    of its name (uint16), the name, a byte for the type (0 float32, 1 float16), a byte for the
    rank, its dimensions (uint32 each), offset and size in bytes (uint64 each); then, from the
    next multiple of 16, the data.  Little-endian.

    Raises
    ------
    ModelError
        If the bytes are not such a file, or end too early.
    """
    if not data.startswith(_MAGIC):
        raise ModelError("not a hama weight file", remedy="reinstall hama 1.7")
    entries = []
    try:
        (count,) = struct.unpack_from("<I", data, 8)
        place = 12
        for _ in range(count):
            (length,) = struct.unpack_from("<H", data, place)
            name = data[place + 2 : place + 2 + length].decode("utf-8")
            place += 2 + length
            kind, rank = struct.unpack_from("<BB", data, place)
            *shape, offset, _ = struct.unpack_from(f"<BB{rank}IQQ", data, place)[2:]
            place += 2 + 4 * rank + 16
            entries.append((name, _DTYPES[kind], shape, offset))
        start = -(-place // 16) * 16
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


def _asset(name: str) -> bytes:
    try:
        return resources.files("hama").joinpath("assets", name).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ModelError(
            f"the pretrained model is missing: {error}", remedy="install it with: pip install hama"
        ) from None


# Ours and theirs, within a block.
_NORMS = {
    "ffn1.norm": "ffn1.norm",
    "attention.norm": "attn_norm",
    "convolution.norm": "conv.norm",
    "ffn2.norm": "ffn2.norm",
    "norm": "norm",
}
_MATRICES = {  # in the order in which the exporter numbered their weights
    "ffn1.fc1": "ffn1.fc1.bias",
    "ffn1.fc2": "ffn1.fc2.bias",
    "attention.qkv": "attn.in_proj_bias",
    "attention.out": "attn.out_proj.bias",
    "ffn2.fc1": "ffn2.fc1.bias",
    "ffn2.fc2": "ffn2.fc2.bias",
}
_POINTWISE = {
    "convolution.pointwise1": "conv.pointwise1",
    "convolution.pointwise2": "conv.pointwise2",
}


def _state(tensors: dict[str, np.ndarray], num_blocks: int) -> dict[str, torch.Tensor]:
    """Tensors under the names that :class:`Conformer` gives them."""

    def numbered(prefix: str) -> Iterator[np.ndarray]:
        # The exporter lost the names of what it transposed or folded; the order remains.
        names = [name for name in tensors if name.startswith(prefix)]
        return (tensors[n] for n in sorted(names, key=lambda n: int(n[len(prefix) :])))

    matrices, convolutions = numbered("onnx::MatMul_"), numbered("onnx::Conv_")
    network = "acoustic_model.model."
    state = {
        "log_mel.filters": tensors["mel_fb"],
        "subsampling.weight": next(convolutions),
        "subsampling.bias": next(convolutions),
        "projection.weight": tensors[network + "proj.weight"][..., 0],
        "projection.bias": tensors[network + "proj.bias"],
    }
    for k in range(num_blocks):
        theirs, ours = f"{network}blocks.{k}.", f"blocks.{k}."
        for name, bias in _MATRICES.items():
            state[f"{ours}{name}.weight"] = next(matrices).T
            state[f"{ours}{name}.bias"] = tensors[theirs + bias]
        for name, source in _POINTWISE.items():
            state[f"{ours}{name}.weight"] = tensors[f"{theirs}{source}.weight"][..., 0]
            state[f"{ours}{name}.bias"] = tensors[f"{theirs}{source}.bias"]
        for name, source in _NORMS.items():
            state[f"{ours}{name}.weight"] = tensors[f"{theirs}{source}.weight"]
            state[f"{ours}{name}.bias"] = tensors[f"{theirs}{source}.bias"]
        state[ours + "convolution.depthwise.weight"] = next(convolutions)
        state[ours + "convolution.depthwise.bias"] = next(convolutions)
    return {name: torch.tensor(array) for name, array in state.items()}
