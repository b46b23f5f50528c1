"""Small networks of ONNX whose tokens are tones: sound, features, classifier, nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from asr_hlg.acoustic import filter_banks
from tests.support.native_features import native_features

RATE = 16000
PIECES = ("▁c", "▁h", "a", "t", "▁a", "n", "d")
WORDS = {"cat": ("▁c", "a", "t"), "hat": ("▁h", "a", "t"), "and": ("▁a", "n", "d")}
CHARACTERS = ("|", "a", "c", "d", "h", "n", "t")
FREQUENCIES = dict(zip(PIECES, np.geomspace(350, 3600, len(PIECES)), strict=True))

Features = Callable[[np.ndarray], np.ndarray]


def sound(tokens: list[str], frequencies: dict[str, float], seed: int = 0) -> np.ndarray:
    """Waveform of tones with pauses between them, and a little noise."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(4000)]
    for token in tokens:
        time = np.arange(round(0.28 * RATE)) / RATE
        tone = 0.3 * np.sin(2 * np.pi * frequencies[token] * time)
        parts += [tone * np.minimum(1, 50 * np.minimum(time, time[::-1])), np.zeros(2880)]
    waveform = np.concatenate([*parts, np.zeros(4000)])
    return (waveform + rng.normal(0, 1e-3, len(waveform))).astype(np.float32)


def say(sentence: str, seed: int = 0) -> np.ndarray:
    """Waveform of words in the pieces of `PIECES`."""
    return sound([p for word in sentence.split() for p in WORDS[word]], FREQUENCIES, seed)


def spell_aloud(sentence: str, seed: int = 0) -> np.ndarray:
    """Waveform of words in the characters of `CHARACTERS`, with ``|`` between words."""
    return sound(list("|".join(sentence.split())), CHARACTER_FREQUENCIES, seed)


CHARACTER_FREQUENCIES = dict(zip(CHARACTERS, FREQUENCIES.values(), strict=True))


# ---------------------------------------------------------------- features by other code


def native(options: filter_banks.FilterOptions) -> Features:
    return lambda samples: native_features(samples, RATE, options)


def native_normalised(options: filter_banks.FilterOptions) -> Features:
    def features(samples: np.ndarray) -> np.ndarray:
        rows = native_features(samples, RATE, options).astype(np.float64)
        return ((rows - rows.mean(0)) / (rows.std(0) + 1e-5)).astype(np.float32)

    return features


def normalised_waveform(samples: np.ndarray) -> np.ndarray:
    samples = samples.astype(np.float64)
    return ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)


# ---------------------------------------------------------------- classifiers


Layers = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def fit(
    inputs: Features,
    outputs: list[str],
    blank: int,
    shift: float,
    offset: float,
    speak=say,
    count=40,
):
    """Classifier of rows: random features, and weights by ridge regression.

    Row ``t`` of the inputs is taken to be the sound at ``offset + t · shift`` seconds. Returns the
    weights and biases of both layers; ReLU is between them.
    """
    rows, labels = [], []
    frequencies = FREQUENCIES if speak is say else CHARACTER_FREQUENCIES
    names = [name for name in outputs if name in frequencies]
    for seed in range(count):
        some = np.random.default_rng(seed).permutation(names)[: 3 + seed % 5]
        order = list(np.random.default_rng(seed).choice(some, 3 + seed % 8))
        features = inputs(sound(order, frequencies, seed))
        label = np.full(len(features), blank)
        for k, name in enumerate(order):
            begin = 0.25 + k * 0.46
            times = offset + np.arange(len(features)) * shift
            label[(times > begin + 0.02) & (times < begin + 0.26)] = outputs.index(name)
        rows.append(features)
        labels.append(label)
    x = np.concatenate(rows).astype(np.float64)
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    rng = np.random.default_rng(1)
    first = rng.normal(0, 1 / np.sqrt(x.shape[1]), (x.shape[1], 400)) / deviation[:, None]
    first_bias = rng.normal(0, 1, 400) - mean @ first
    hidden = np.maximum(0, x @ first + first_bias)
    hidden = np.concatenate([hidden, np.ones((len(x), 1))], axis=1)
    y = np.eye(len(outputs))[np.concatenate(labels)]
    ridge = 2e-5 * len(x) * np.eye(hidden.shape[1])
    weights = 12 * np.linalg.solve(hidden.T @ hidden + ridge, hidden.T @ y)
    layers = first, first_bias, weights[:-1], weights[-1]
    return tuple(layer.astype(np.float32) for layer in layers)


# ---------------------------------------------------------------- ONNX


class Graph:
    """Collects the nodes of a network."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, value, dtype=np.int64) -> str:
        self.count += 1
        name = f"constant_{self.count}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        self.count += 1
        output = output or f"value_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def every(self, value: str, axis: int, step: int, start: int = 0, end: int = 2**31) -> str:
        places = (self.constant([place]) for place in (start, end, axis, step))
        return self.node("Slice", value, *places)

    def classified(self, rows: str, layers: Layers) -> str:
        constants = [self.constant(layer, np.float32) for layer in layers]
        hidden = self.node("Add", self.node("MatMul", rows, constants[0]), constants[1])
        product = self.node("MatMul", self.node("Relu", hidden), constants[2])
        return self.node("Add", product, constants[3])

    def save(self, path: Path, inputs: dict, outputs: dict, metadata: dict) -> None:
        """Write the network; inputs and outputs map names to ``(type, shape)``."""
        infos = [
            [
                helper.make_tensor_value_info(name, kind, shape)
                for name, (kind, shape) in side.items()
            ]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "network", *infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        for key, value in metadata.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, str(value)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.checker.check_model(model)
        onnx.save(model, path)


FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
