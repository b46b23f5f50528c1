"""An ONNX graph under construction: the operations that networks consist of, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

_OPSET = 17
_FLOAT, _INT64 = 1, 7  # of onnx.TensorProto
_IR_VERSION = 8  # of onnx 1.12, which every onnxruntime that is supported reads

Weights = Mapping[str, npt.NDArray[Any]]


class OnnxGraph:
    """Graph under construction: methods append operations and return the names of results.

    Parameters
    ----------
    weights : mapping
        float32 arrays by name; a linear layer ``x`` has ``x.weight`` and ``x.bias``.
    """

    def __init__(self, weights: Weights):
        from onnx import helper, numpy_helper

        self.weights = weights
        self._helper, self._to_tensor = helper, numpy_helper.from_array
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def content(self, name: str, log_probs: str, frames: str, width: int) -> bytes:
        """Content of the ONNX file of the complete graph, with two inputs and two outputs.

        Parameters
        ----------
        name : str
            Of the network.
        log_probs, frames : str
            Names of the results.
        width : int
            Columns of ``log_probs``.
        """
        self.named("Identity", [log_probs], "log_probs")
        self.named("Identity", [frames], "frames")
        inputs = [self.value("inputs", ["batch", "time"]), self.value("lengths", ["batch"], _INT64)]
        outputs = [
            self.value("log_probs", ["batch", "output_time", width]),
            self.value("frames", ["batch"], _INT64),
        ]
        return self.model(name, inputs, outputs)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> bytes:
        """Content of the ONNX file of the complete graph, with these inputs and outputs."""
        helper = self._helper
        initializers = list(self._constants.values())
        graph = helper.make_graph(self._nodes, name, inputs, outputs, initializers)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        content: bytes = model.SerializeToString()
        return content

    def value(
        self, name: str, shape: Sequence[int | str], kind: int = _FLOAT
    ) -> onnx.ValueInfoProto:
        """Name, type and shape of an input or output."""
        return self._helper.make_tensor_value_info(name, kind, shape)

    def named(self, kind: str, inputs: Sequence[str], name: str) -> None:
        """Append an operation whose result has the given name."""
        self._nodes.append(self._helper.make_node(kind, list(inputs), [name]))

    def power(self, waveforms: str, lengths: str, window: int, hop: int) -> str:
        """Power spectra ``(B, frames, window // 2 + 1)`` of waveforms mirrored at their ends."""
        op, half = self.op, window // 2
        size = op("Add", self.size(waveforms, 1), self.integer(half))
        index = op("Abs", op("Range", self.integer(-half), size, self.integer(1)))
        last = op("Sub", op("Unsqueeze", lengths, self.integers(1)), self.integer(1))
        mirrored = op("Sub", op("Mul", last, self.integer(2)), index)
        index = op("Where", op("Greater", index, last), mirrored, index)
        index = op("Clip", index, self.integer(0))
        padded = op("GatherElements", waveforms, index, axis=1)
        kernels = self.constant("fourier", _fourier_kernels(window))
        padded = op("Unsqueeze", padded, self.integers(1))
        spectrum = op("Conv", padded, kernels, strides=[hop])
        spectrum = op("Transpose", spectrum, perm=[0, 2, 1])
        parts = self.split(spectrum, 2)
        return op("Add", *(op("Mul", part, part) for part in parts))

    def attention(self, x: str, bias: str, dim: int, num_heads: int) -> str:
        """Multi-head attention: queries, keys and values ``(B, frames, 3 * dim)`` to means.

        ``bias`` ``(B, 1, 1, frames)`` is minus infinity at padding.
        """
        op = self.op
        shape = self.integers(0, 0, 3, num_heads, -1)  # 0 keeps a dimension
        heads = op("Transpose", op("Reshape", x, shape), perm=[2, 0, 3, 1, 4])
        first = self.integers(0)
        query, key, value = (op("Squeeze", part, first) for part in self.split(heads, 3, axis=0))
        query = op("Div", query, self.number(math.sqrt(dim // num_heads)))
        scores = op("MatMul", query, op("Transpose", key, perm=[0, 1, 3, 2]))
        shares = op("Softmax", op("Add", scores, bias), axis=-1)
        mixed = op("Transpose", op("MatMul", shares, value), perm=[0, 2, 1, 3])
        return op("Reshape", mixed, self.integers(0, 0, -1))

    def attention_bias(self, padding: str) -> str:
        """Minus infinity at padding, ``(B, 1, 1, frames)``, from padding ``(B, frames, 1)``."""
        bias = self.op("Where", padding, self.number(-math.inf), self.number(0.0))
        transposed = self.op("Transpose", bias, perm=[0, 2, 1])
        return self.op("Unsqueeze", transposed, self.integers(1))

    def padding(self, x: str, lengths: str) -> str:
        """Whether frames of ``x (B, frames, n)`` follow an utterance's end, ``(B, frames, 1)``."""
        op = self.op
        position = op("Range", self.integer(0), self.size(x, 1), self.integer(1))
        lengths = op("Unsqueeze", lengths, self.integers(1))
        return op("Unsqueeze", op("GreaterOrEqual", position, lengths), self.integers(2))

    def without_padding(self, x: str, padding: str) -> str:
        """``x`` with zeros at padding."""
        return self.op("Where", padding, self.number(0.0), x)

    def convolution(self, name: str, x: str, **attributes: Any) -> str:
        """Convolution over time: ``(B, frames, channels)`` to the same."""
        weights = self.weight(name + ".weight"), self.weight(name + ".bias")
        x = self.op("Transpose", x, perm=[0, 2, 1])
        return self.op("Transpose", self.op("Conv", x, *weights, **attributes), perm=[0, 2, 1])

    def norm(self, name: str, x: str) -> str:
        """Layer normalisation."""
        weights = self.weight(name + ".weight"), self.weight(name + ".bias")
        return self.op("LayerNormalization", x, *weights, axis=-1, epsilon=1e-5)

    def linear(self, name: str, x: str) -> str:
        """Linear layer."""
        matrix = np.ascontiguousarray(self.weights[name + ".weight"].T)
        product = self.op("MatMul", x, self.constant(name + ".weight", matrix))
        return self.op("Add", self.weight(name + ".bias"), product)

    def silu(self, x: str) -> str:
        """``x * sigmoid(x)``."""
        return self.op("Mul", x, self.op("Sigmoid", x))

    def gelu(self, x: str) -> str:
        """GELU, with its two factors in the order in which torch multiplies them."""
        op = self.op
        erf = op("Erf", op("Div", x, self.number(math.sqrt(2))))
        return op("Mul", op("Mul", x, op("Add", erf, self.number(1.0))), self.number(0.5))

    def glu(self, x: str) -> str:
        """First half of the columns times the sigmoid of the second."""
        values, gates = self.split(x, 2)
        return self.op("Mul", values, self.op("Sigmoid", gates))

    def add(self, *terms: str) -> str:
        """Sum."""
        total, *others = terms
        for term in others:
            total = self.op("Add", total, term)
        return total

    def size(self, x: str, axis: int) -> str:
        """Length of a dimension, int64 ``(1,)``."""
        return self.op("Gather", self.op("Shape", x), self.integer(axis), axis=0)

    def split(self, x: str, parts: int | Sequence[int], axis: int = -1) -> list[str]:
        """Parts of equal size, or of the sizes given."""
        sizes = [] if isinstance(parts, int) else [self.integers(*parts)]
        number = parts if isinstance(parts, int) else len(parts)
        names = [f"{len(self._nodes)}_{part}" for part in range(number)]
        self._nodes.append(self._helper.make_node("Split", [x, *sizes], names, axis=axis))
        return names

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operation with one result."""
        name = str(len(self._nodes))
        self._nodes.append(self._helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, name: str) -> str:
        """One of the weights."""
        return self.constant(name, self.weights[name])

    def number(self, value: float) -> str:
        """Constant float32 ``(1,)``."""
        return self.constant(f"number {value}", np.array([value], dtype=np.float32))

    def integer(self, value: int) -> str:
        """Constant int64 ``(1,)``."""
        return self.constant(f"integer {value}", np.array([value], dtype=np.int64))

    def integers(self, *values: int) -> str:
        """Constant int64 vector."""
        return self.constant(f"integers {values}", np.array(values, dtype=np.int64))

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """Constant array, stored once under its name."""
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
