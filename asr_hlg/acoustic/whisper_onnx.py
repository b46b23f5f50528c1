"""ONNX form of the Conformer that is corrected by the features of Whisper's encoder.

Both encoders get the same power spectra. A small network of convolutions, the head, turns their
features into corrections of the Conformer's log-probabilities::

    waveforms ── power ─┬─ Conformer ─┬─ features ─────────────┐
                        │             └─ log-probabilities ──┬─┤
                        └─ Whisper's encoder, two layers ────┼─┴─ head ── corrections
                                                             └──── + ──────────┘

The head works on pairs of frames, which halves its cost.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.config import ConformerConfig
from asr_hlg.acoustic.conformer_onnx import ConformerGraph
from asr_hlg.acoustic.onnx_graph import Weights

_LOWEST = -12.0
"""Log-probabilities of the Conformer below this are raised to it."""

_SCALE = 5.0
"""Divisor of the Conformer's log-probabilities where the head reads them."""

_NUM_HEADS = 64
"""Width of one attention head of Whisper."""


def onnx_bytes(config: ConformerConfig, weights: Weights) -> bytes:
    """Content of the ONNX file of the whole network.

    Parameters
    ----------
    config : ConformerConfig
        Of the Conformer.
    weights : mapping
        The Conformer's by their names; those of :func:`ctranslate2_file.read_encoder` with the
        prefix ``whisper.``; the head's with ``head.``.
    """
    graph = _Graph(config, weights)
    features, log_probs, frames = graph.features("inputs", "lengths")
    log_probs = graph.head(features, log_probs, frames)
    return graph.content("whisper_conformer", log_probs, frames, len(config.tokens))


def feature_bytes(config: ConformerConfig, weights: Weights) -> bytes:
    """Content of an ONNX file that returns what the head is trained on.

    In place of log-probabilities, ``(B, frames, n)``: the third and the last layer of Whisper's
    encoder, the Conformer's features and its log-probabilities, side by side.
    """
    graph = _Graph(config, weights)
    features, log_probs, frames = graph.features("inputs", "lengths")
    joined = graph.op("Concat", *features, log_probs, axis=-1)
    width = 2 * graph.width + config.dim + len(config.tokens)
    return graph.content("whisper_features", joined, frames, width)


class _Graph(ConformerGraph):
    def __init__(self, config: ConformerConfig, weights: Weights):
        super().__init__(config, weights)
        self.width = len(weights["whisper.norm.weight"])

    def features(self, waveforms: str, lengths: str) -> tuple[list[str], str, str]:
        """Features of both encoders, the Conformer's log-probabilities, and frames.

        All ``(B, frames, n)``, with zeros at padding.
        """
        power = self.power(waveforms, lengths, self.config.window, self.config.hop)
        hidden, frames = self.encode(power, lengths)
        padding = self.padding(hidden, frames)
        log_probs = self.op("Max", self.log_probs(hidden), self.number(_LOWEST))
        middle, last = self.whisper(power, lengths, padding)
        features = [self.without_padding(x, padding) for x in (middle, last, hidden)]
        return features, self.without_padding(log_probs, padding), frames

    def whisper(self, power: str, lengths: str, padding: str) -> tuple[str, str]:
        """Outputs ``(B, frames, width)`` of the last layer but one, and of the last, normalised."""
        op = self.op
        x = self._whisper_energies(power, lengths)
        steps = op("Add", op("Div", lengths, self.integer(self.config.hop)), self.integer(1))
        beyond = self.padding(x, steps)
        x = self.without_padding(x, beyond)
        x = self.gelu(self.convolution("whisper.conv1", x, pads=[1, 1]))
        x = self.without_padding(x, beyond)
        x = self.gelu(self.convolution("whisper.conv2", x, pads=[1, 1], strides=[2]))
        positions = self.weight("whisper.positions")
        x = op("Add", x, op("Slice", positions, self.integer(0), self.size(x, 1), self.integer(0)))
        bias = self.attention_bias(padding)
        middle, number = x, 0
        while f"whisper.layers.{number}.qkv.weight" in self.weights:
            middle, x = x, self._whisper_layer(f"whisper.layers.{number}.", x, bias)
            number += 1
        return middle, self.norm("whisper.norm", x)

    def _whisper_energies(self, power: str, lengths: str) -> str:
        """Log-mel energies as Whisper takes them: at most 8 decades below the utterance's peak."""
        op = self.op
        filters = slaney_filters(self.config.sample_rate, self.config.window)
        x = op("MatMul", power, self.constant("whisper.filters", filters))
        x = op("Log", op("Max", x, self.number(1e-10)))
        x = op("Mul", x, self.number(1 / math.log(10)))
        steps = op("Add", op("Div", lengths, self.integer(self.config.hop)), self.integer(1))
        heard = op("Where", self.padding(x, steps), self.number(-math.inf), x)
        peak = op("ReduceMax", heard, axes=[1, 2], keepdims=1)
        x = op("Max", x, op("Sub", peak, self.number(8.0)))
        return op("Mul", op("Add", x, self.number(4.0)), self.number(0.25))

    def _whisper_layer(self, name: str, x: str, bias: str) -> str:
        op = self.op
        mixed = self.linear(name + "qkv", self.norm(name + "attention_norm", x))
        mixed = self.attention(mixed, bias, self.width, self.width // _NUM_HEADS)
        x = op("Add", x, self.linear(name + "out", mixed))
        hidden = self.linear(name + "fc1", self.norm(name + "ffn_norm", x))
        return op("Add", x, self.linear(name + "fc2", self.gelu(hidden)))

    def head(self, features: list[str], log_probs: str, frames: str) -> str:
        """Corrected log-probabilities ``(B, frames, num_tokens)``."""
        op = self.op
        num_pairs = op("Div", op("Add", self.size(log_probs, 1), self.integer(1)), self.integer(2))
        scaled = op("Mul", log_probs, self.number(1 / _SCALE))
        middle, last, hidden, scores = (self._even(x, num_pairs) for x in (*features, scaled))
        middle, last = self.norm("head.middle", middle), self.norm("head.last", last)
        hidden = self.norm("head.conformer", hidden)
        x = self._paired(op("Concat", middle, last, axis=-1), num_pairs)
        pairs = op("Div", op("Add", frames, self.integer(1)), self.integer(2))
        padding = self.padding(x, pairs)
        x = self._blocks("head.whisper", self.linear("head.whisper_in", x), padding)
        conformer = self._paired(op("Concat", hidden, scores, axis=-1), num_pairs)
        x = op("Add", self.linear("head.join", x), self.linear("head.conformer_in", conformer))
        x = self._blocks("head.joint", x, padding)
        x = self.linear("head.out", self.norm("head.norm", x))
        x = op("Reshape", x, self.integers(0, -1, len(self.config.tokens)))
        x = op("Slice", x, self.integer(0), self.size(log_probs, 1), self.integer(1))
        return op("LogSoftmax", op("Add", log_probs, x), axis=-1)

    def _even(self, x: str, num_pairs: str) -> str:
        """``x`` with a frame of zeros at its end if the number of frames is odd."""
        op = self.op
        one_more = op("Pad", x, self.integers(0, 0, 0, 0, 1, 0), self.number(0.0))
        end = op("Mul", num_pairs, self.integer(2))
        return op("Slice", one_more, self.integer(0), end, self.integer(1))

    def _paired(self, x: str, num_pairs: str) -> str:
        """Frames side by side in pairs, ``(B, num_pairs, 2 n)``."""
        op = self.op
        width = op("Mul", self.size(x, 2), self.integer(2))
        return op("Reshape", x, op("Concat", self.integer(0), num_pairs, width, axis=0))

    def _blocks(self, name: str, x: str, padding: str) -> str:
        """Blocks of a gated depthwise convolution and a feed-forward layer, with residuals."""
        op, number = self.op, 0
        while f"{name}.{number}.fc1.weight" in self.weights:
            block = f"{name}.{number}."
            y = self.glu(self.linear(block + "pointwise1", self.norm(block + "norm1", x)))
            y = self.without_padding(y, padding)
            channels, _, kernel = self.weights[block + "depthwise.weight"].shape
            pads = 2 * [kernel // 2]
            y = self.convolution(block + "depthwise", y, group=channels, pads=pads)
            x = op("Add", x, self.linear(block + "pointwise2", self.silu(y)))
            y = self.linear(block + "fc1", self.norm(block + "norm2", x))
            x = op("Add", x, self.linear(block + "fc2", self.silu(y)))
            number += 1
        return x


def slaney_filters(sample_rate: int, window: int, num_mels: int = 80) -> npt.NDArray[np.float32]:
    """Whisper's mel filters, float32 ``(window // 2 + 1, num_mels)``.

    Triangles of equal area on the scale of Slaney's Auditory Toolbox: linear below 1 kHz,
    logarithmic above.
    """
    step = math.log(6.4) / 27
    highest = 15 + math.log(sample_rate / 2 / 1000) / step
    mels = np.linspace(0, highest, num_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * step))
    frequencies = np.linspace(0, sample_rate / 2, window // 2 + 1)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2])), dtype=np.float32)
