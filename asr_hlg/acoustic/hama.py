"""Pretrained acoustic model, from the speech weights in the package ``hama``.

A Conformer CTC model of two million parameters, trained on IPA transcriptions; 191 units, 20 ms
frames, 16 kHz.  Only the package's weight file is used: the network runs as this project's
:class:`~asr_hlg.acoustic.conformer.Conformer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.config import ConformerConfig
from asr_hlg.fst.symbols import BLANK
from asr_hlg.lexicon.hama_weights import asset, read_tensors, vocabulary
from asr_hlg.lexicon.phones import ARPABET, IPA_TO_ARPABET, SILENCE

if TYPE_CHECKING:
    from asr_hlg.acoustic.conformer import Conformer

TOKENS = (BLANK, SILENCE, *ARPABET)
"""Columns of the pretrained model's posteriors."""

_TOKEN_OF_UNIT = {"<blank>": BLANK, "<pad>": BLANK, "<wb>": SILENCE, **IPA_TO_ARPABET}


def units() -> tuple[str, ...]:
    """IPA units that the pretrained network returns, in the order of its columns."""
    return (*vocabulary()[1], "<wb>", "<blank>")


def config(arpabet: bool = True) -> ConformerConfig:
    """Configuration of the pretrained network.

    Parameters
    ----------
    arpabet : bool
        Sum the probabilities of IPA units into ``<blk>``, ``SIL`` and the 39 ARPAbet phones. Other
        units (marks of tone and length, phones of other languages) are dropped and the
        probabilities renormalised, which adds the same constant to all scores of a frame, so that
        the best path stays the same. False: return the 191 units themselves, for lexicons in IPA.
    """
    names = units()
    column = {unit: TOKENS.index(token) for unit, token in _TOKEN_OF_UNIT.items()}
    merge = tuple(column.get(name, -1) for name in names)
    return ConformerConfig(TOKENS, merge=merge) if arpabet else ConformerConfig(names)


def weights() -> dict[str, npt.NDArray[np.float32]]:
    """Weights of the pretrained network, by the names of ``Conformer.state_dict()``."""
    return _state(read_tensors(weight_file()), ConformerConfig.num_blocks)


def weight_file() -> bytes:
    """Content of the package's weight file."""
    return asset("asr_waveform.hama")


def conformer(
    arpabet: bool = True, state: Mapping[str, npt.NDArray[np.float32]] | None = None
) -> Conformer:
    """Load the network in torch, in evaluation mode.

    Parameters
    ----------
    arpabet : bool
        See :func:`config`.
    state : mapping, optional
        Weights as of :func:`weights`; by default the pretrained ones.
    """
    import torch

    from asr_hlg.acoustic.conformer import Conformer

    network = Conformer(config(arpabet))
    state = weights() if state is None else state
    network.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return network.eval()


# Names of layers within a block: this project's, and those in the weight file.
_NORMS = {
    "ffn1.norm": "ffn1.norm",
    "attention.norm": "attn_norm",
    "convolution.norm": "conv.norm",
    "ffn2.norm": "ffn2.norm",
    "norm": "norm",
}
_LINEAR = {  # names of biases; the weights are numbered, in this order
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


def _state(
    tensors: dict[str, npt.NDArray[np.float32]], num_blocks: int
) -> dict[str, npt.NDArray[np.float32]]:
    """State dictionary of a :class:`Conformer` from the tensors of the weight file."""

    def numbered(prefix: str) -> Iterator[npt.NDArray[np.float32]]:
        # The exporter numbered the tensors that it transposed or folded, in their order.
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
        source, target = f"{network}blocks.{k}.", f"blocks.{k}."
        for name, bias in _LINEAR.items():
            state[f"{target}{name}.weight"] = next(matrices).T
            state[f"{target}{name}.bias"] = tensors[source + bias]
        for name, stored in (_POINTWISE | _NORMS).items():
            weight = tensors[f"{source}{stored}.weight"]
            state[f"{target}{name}.weight"] = weight[..., 0] if name in _POINTWISE else weight
            state[f"{target}{name}.bias"] = tensors[f"{source}{stored}.bias"]
        state[target + "convolution.depthwise.weight"] = next(convolutions)
        state[target + "convolution.depthwise.bias"] = next(convolutions)
    return state
