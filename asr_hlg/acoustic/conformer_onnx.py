"""ONNX form of a Conformer, made from its weights alone, without torch.

    content = onnx_bytes(config, weights)      # weights by the names of Conformer.state_dict()

The operations are those of :class:`asr_hlg.acoustic.conformer.Conformer`, and inputs and outputs
those of :mod:`asr_hlg.acoustic.external`.
"""

from __future__ import annotations

import math

import numpy as np

from asr_hlg.acoustic.config import ConformerConfig
from asr_hlg.acoustic.onnx_graph import OnnxGraph, Weights

__all__ = ["ConformerGraph", "Weights", "onnx_bytes"]


def onnx_bytes(config: ConformerConfig, weights: Weights) -> bytes:
    """Content of the ONNX file of a Conformer.

    Parameters
    ----------
    config : ConformerConfig
    weights : mapping
        float32 arrays, by the names of ``Conformer(config).state_dict()``.
    """
    graph = ConformerGraph(config, weights)
    power = graph.power("inputs", "lengths", config.window, config.hop)
    features, frames = graph.encode(power, "lengths")
    return graph.content("conformer", graph.log_probs(features), frames, len(config.tokens))


class ConformerGraph(OnnxGraph):
    """Graph under construction, with the parts of a Conformer; see :class:`Conformer`."""

    def __init__(self, config: ConformerConfig, weights: Weights):
        super().__init__(weights)
        self.config = config

    def encode(self, power: str, lengths: str) -> tuple[str, str]:
        """Hidden features ``(B, frames, dim)`` and frames ``(B,)`` of power spectra.

        ``lengths`` are in samples.
        """
        op = self.op
        energies = op("MatMul", power, self.weight("log_mel.filters"))
        energies = op("Log", op("Clip", energies, self.number(1e-10)))
        lengths = op("Add", op("Div", lengths, self.integer(self.config.hop)), self.integer(1))
        energies = self.without_padding(energies, self.padding(energies, lengths))
        x = self.gelu(self.convolution("subsampling", energies, pads=[1, 1], strides=[2]))
        frames = op("Div", op("Add", lengths, self.integer(1)), self.integer(2))
        padding = self.padding(x, frames)
        bias = self.attention_bias(padding)
        for number in range(self.config.num_blocks):
            x = self._block(f"blocks.{number}.", x, bias, padding)
        return x, frames

    def log_probs(self, features: str) -> str:
        """Log-probabilities ``(B, frames, num_tokens)`` of the encoder's output."""
        return self.op("LogSoftmax", self._merged(self.linear("projection", features)), axis=-1)

    def _block(self, name: str, x: str, bias: str, padding: str) -> str:
        op, half = self.op, self.number(0.5)
        x = op("Add", x, op("Mul", self._feed_forward(name + "ffn1", x), half))
        x = op("Add", x, self._attention(name + "attention", x, bias))
        x = op("Add", x, self._convolution(name + "convolution", x, padding))
        x = op("Add", x, op("Mul", self._feed_forward(name + "ffn2", x), half))
        return self.norm(name + "norm", x)

    def _feed_forward(self, name: str, x: str) -> str:
        x = self.linear(name + ".fc1", self.norm(name + ".norm", x))
        return self.linear(name + ".fc2", self.silu(x))

    def _attention(self, name: str, x: str, bias: str) -> str:
        x = self.linear(name + ".qkv", self.norm(name + ".norm", x))
        x = self.attention(x, bias, self.config.dim, self.config.num_heads)
        return self.linear(name + ".out", x)

    def _convolution(self, name: str, x: str, padding: str) -> str:
        config = self.config
        x = self.glu(self.linear(name + ".pointwise1", self.norm(name + ".norm", x)))
        x = self.without_padding(x, padding)
        pads = 2 * [config.kernel // 2]
        x = self.convolution(name + ".depthwise", x, group=config.dim, pads=pads)
        return self.linear(name + ".pointwise2", self.silu(x))

    def _merged(self, units: str) -> str:
        """Sums over the units of each token, if the configuration merges units."""
        config, op = self.config, self.op
        if not config.merge:
            return units
        pads, nothing = self.integers(0, 0, 0, 0, 0, 1), self.number(-math.inf)
        units = op("Pad", units, pads, nothing)
        members = self.constant("members", np.array(config.members, dtype=np.int64))
        units = op("Gather", units, members, axis=2)
        return op("ReduceLogSumExp", units, axes=[-1], keepdims=0)
