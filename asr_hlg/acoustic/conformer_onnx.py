"""ONNX form of a Conformer, made from its weights alone, without torch.

    content = onnx_bytes(config, weights)      # weights by the names of Conformer.state_dict()

The operations are those of :class:`asr_hlg.acoustic.conformer.Conformer`, and inputs and outputs
those of :mod:`asr_hlg.acoustic.external`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.config import ConformerConfig

if TYPE_CHECKING:
    import onnx

_OPSET = 17
_IR_VERSION = 8  # of onnx 1.12, which every onnxruntime that is supported reads

Weights = Mapping[str, npt.NDArray[Any]]


def onnx_bytes(config: ConformerConfig, weights: Weights) -> bytes:
    """Content of the ONNX file of a Conformer.

    Parameters
    ----------
    config : ConformerConfig
    weights : mapping
        float32 arrays, by the names of ``Conformer(config).state_dict()``.
    """
    graph = _Graph(config, weights)
    features, lengths = graph.log_mel("inputs", "lengths")
    log_probs, frames = graph.network(features, lengths)
    content: bytes = graph.model(log_probs, frames).SerializeToString()
    return content


class _Graph:
    """Graph under construction: methods append operations and return the names of results."""

    def __init__(self, config: ConformerConfig, weights: Weights):
        from onnx import helper, numpy_helper

        self._config, self._weights = config, weights
        self._helper, self._to_tensor = helper, numpy_helper.from_array
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def model(self, log_probs: str, frames: str) -> onnx.ModelProto:
        """The complete model, with two inputs and two outputs."""
        helper = self._helper
        self._nodes.append(helper.make_node("Identity", [log_probs], ["log_probs"]))
        self._nodes.append(helper.make_node("Identity", [frames], ["frames"]))
        floats, integers = 1, 7  # onnx.TensorProto.FLOAT, INT64
        inputs = [
            helper.make_tensor_value_info("inputs", floats, ["batch", "time"]),
            helper.make_tensor_value_info("lengths", integers, ["batch"]),
        ]
        shape = ["batch", "output_time", len(self._config.tokens)]
        outputs = [
            helper.make_tensor_value_info("log_probs", floats, shape),
            helper.make_tensor_value_info("frames", integers, ["batch"]),
        ]
        initializers = list(self._constants.values())
        graph = helper.make_graph(self._nodes, "conformer", inputs, outputs, initializers)
        opsets = [helper.make_opsetid("", _OPSET)]
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION
        )
        return model

    def log_mel(self, waveforms: str, lengths: str) -> tuple[str, str]:
        """Energies ``(B, frames, num_mels)`` and frames ``(B,)``; see ``LogMel``."""
        config, op = self._config, self._op
        half = config.window // 2
        size = op("Add", self._size(waveforms, 1), self._integer(half))
        index = op("Abs", op("Range", self._integer(-half), size, self._integer(1)))
        last = op("Sub", op("Unsqueeze", lengths, self._integers(1)), self._integer(1))
        mirrored = op("Sub", op("Mul", last, self._integer(2)), index)
        index = op("Where", op("Greater", index, last), mirrored, index)
        index = op("Clip", index, self._integer(0))
        padded = op("GatherElements", waveforms, index, axis=1)
        kernels = self._constant("fourier", _fourier_kernels(config.window))
        padded = op("Unsqueeze", padded, self._integers(1))
        spectrum = op("Conv", padded, kernels, strides=[config.hop])
        spectrum = op("Transpose", spectrum, perm=[0, 2, 1])
        parts = self._split(spectrum, 2)
        power = op("Add", *(op("Mul", part, part) for part in parts))
        energies = op("MatMul", power, self._weight("log_mel.filters"))
        energies = op("Log", op("Clip", energies, self._number(1e-10)))
        frames = op("Div", lengths, self._integer(config.hop))
        return energies, op("Add", frames, self._integer(1))

    def network(self, features: str, lengths: str) -> tuple[str, str]:
        """Log-probabilities ``(B, frames, num_tokens)`` and frames; see ``Conformer``."""
        op = self._op
        features = op("Where", self._padding(features, lengths, 2), self._number(0.0), features)
        x = op("Transpose", features, perm=[0, 2, 1])
        weights = self._weight("subsampling.weight"), self._weight("subsampling.bias")
        x = op("Transpose", op("Conv", x, *weights, pads=[1, 1], strides=[2]), perm=[0, 2, 1])
        # GELU, with its two factors in this order.
        erf = op("Erf", op("Div", x, self._number(math.sqrt(2))))
        x = op("Mul", op("Mul", x, op("Add", erf, self._number(1.0))), self._number(0.5))
        frames = op("Div", op("Add", lengths, self._integer(1)), self._integer(2))
        padding = self._padding(x, frames, 2)
        bias = op("Where", padding, self._number(-math.inf), self._number(0.0))
        bias = op("Unsqueeze", op("Transpose", bias, perm=[0, 2, 1]), self._integers(1))
        for number in range(self._config.num_blocks):
            x = self._block(f"blocks.{number}.", x, bias, padding)
        units = self._linear("projection", x)
        return op("LogSoftmax", self._merged(units), axis=-1), frames

    def _block(self, name: str, x: str, bias: str, padding: str) -> str:
        op, half = self._op, self._number(0.5)
        x = op("Add", x, op("Mul", self._feed_forward(name + "ffn1", x), half))
        x = op("Add", x, self._attention(name + "attention", x, bias))
        x = op("Add", x, self._convolution(name + "convolution", x, padding))
        x = op("Add", x, op("Mul", self._feed_forward(name + "ffn2", x), half))
        return self._norm(name + "norm", x)

    def _feed_forward(self, name: str, x: str) -> str:
        x = self._linear(name + ".fc1", self._norm(name + ".norm", x))
        return self._linear(name + ".fc2", self._silu(x))

    def _attention(self, name: str, x: str, bias: str) -> str:
        op, config = self._op, self._config
        heads = self._linear(name + ".qkv", self._norm(name + ".norm", x))
        shape = self._integers(0, 0, 3, config.num_heads, -1)  # 0 keeps a dimension
        heads = op("Transpose", op("Reshape", heads, shape), perm=[2, 0, 3, 1, 4])
        first = self._integers(0)
        query, key, value = (op("Squeeze", part, first) for part in self._split(heads, 3, axis=0))
        query = op("Div", query, self._number(math.sqrt(config.dim // config.num_heads)))
        scores = op("MatMul", query, op("Transpose", key, perm=[0, 1, 3, 2]))
        shares = op("Softmax", op("Add", scores, bias), axis=-1)
        mixed = op("Transpose", op("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self._linear(name + ".out", op("Reshape", mixed, self._integers(0, 0, -1)))

    def _convolution(self, name: str, x: str, padding: str) -> str:
        op, config = self._op, self._config
        x = self._linear(name + ".pointwise1", self._norm(name + ".norm", x))
        values, gates = self._split(x, 2)
        x = op("Mul", values, op("Sigmoid", gates))
        x = op("Where", padding, self._number(0.0), x)
        weights = (self._weight(f"{name}.depthwise.{part}") for part in ("weight", "bias"))
        x = op("Transpose", x, perm=[0, 2, 1])
        x = op("Conv", x, *weights, group=config.dim, pads=2 * [config.kernel // 2])
        return self._linear(name + ".pointwise2", self._silu(op("Transpose", x, perm=[0, 2, 1])))

    def _merged(self, units: str) -> str:
        """Sums over the units of each token, if the configuration merges units."""
        config, op = self._config, self._op
        if not config.merge:
            return units
        pads, nothing = self._integers(0, 0, 0, 0, 0, 1), self._number(-math.inf)
        units = op("Pad", units, pads, nothing)
        members = self._constant("members", np.array(config.members, dtype=np.int64))
        units = op("Gather", units, members, axis=2)
        return op("ReduceLogSumExp", units, axes=[-1], keepdims=0)

    def _padding(self, x: str, lengths: str, axis: int) -> str:
        """Whether frames of ``x (B, frames, n)`` follow an utterance's end, ``(B, frames, 1)``."""
        op = self._op
        position = op("Range", self._integer(0), self._size(x, 1), self._integer(1))
        lengths = op("Unsqueeze", lengths, self._integers(1))
        return op("Unsqueeze", op("GreaterOrEqual", position, lengths), self._integers(axis))

    def _norm(self, name: str, x: str) -> str:
        weights = self._weight(name + ".weight"), self._weight(name + ".bias")
        return self._op("LayerNormalization", x, *weights, axis=-1, epsilon=1e-5)

    def _linear(self, name: str, x: str) -> str:
        matrix = np.ascontiguousarray(self._weights[name + ".weight"].T)
        product = self._op("MatMul", x, self._constant(name + ".weight", matrix))
        return self._op("Add", self._weight(name + ".bias"), product)

    def _silu(self, x: str) -> str:
        return self._op("Mul", x, self._op("Sigmoid", x))

    def _size(self, x: str, axis: int) -> str:
        return self._op("Gather", self._op("Shape", x), self._integer(axis), axis=0)

    def _split(self, x: str, parts: int, axis: int = -1) -> list[str]:
        names = [f"{len(self._nodes)}_{part}" for part in range(parts)]
        self._nodes.append(self._helper.make_node("Split", [x], names, axis=axis))
        return names

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = str(len(self._nodes))
        self._nodes.append(self._helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _number(self, value: float) -> str:
        return self._constant(f"number {value}", np.array(value, dtype=np.float32))

    def _integer(self, value: int) -> str:
        return self._constant(f"integer {value}", np.array(value, dtype=np.int64))

    def _integers(self, *values: int) -> str:
        return self._constant(f"integers {values}", np.array(values, dtype=np.int64))

    def _constant(self, name: str, array: npt.NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants[name] = self._to_tensor(np.ascontiguousarray(array), name)
        return name


def _fourier_kernels(window: int) -> npt.NDArray[np.float32]:
    """Real and imaginary parts of a Hann-windowed Fourier transform, as a convolution's weights.

    float32 ``(2 · (window // 2 + 1), 1, window)``.
    """
    time = np.arange(window)
    # Phases are reduced modulo a whole turn while they are integers, so without rounding.
    phases = np.remainder(time[: window // 2 + 1, None] * time, window)
    angles = phases * (2 * math.pi / window)
    taper = 0.5 - 0.5 * np.cos(time * (2 * math.pi / window))
    kernels = np.concatenate([np.cos(angles), np.sin(angles)]) * taper
    return np.asarray(kernels[:, None], dtype=np.float32)
