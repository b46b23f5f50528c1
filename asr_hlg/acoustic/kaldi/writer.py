"""Writing of Kaldi's binary files: transition models and nnet3 networks.

The counterpart of :mod:`asr_hlg.acoustic.kaldi.reader`. Formats: ``hmm/transition-model.h``,
``hmm/hmm-topology.h`` and ``nnet3/nnet-nnet.h`` in Kaldi.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.graph.kaldi_export import KaldiGraph

Value = bool | int | float | npt.NDArray[Any]
"""Value of a field of a component; an array of two dimensions is a matrix."""


class KaldiWriter:
    """Content of a binary file."""

    def __init__(self) -> None:
        self.content = bytearray(b"\0B")

    def token(self, *tokens: str) -> None:
        """Tokens, each with a space after it."""
        for token in tokens:
            self.content += token.encode() + b" "

    def lines(self, *lines: str) -> None:
        """Lines of text."""
        for line in lines:
            self.content += line.encode() + b"\n"

    def value(self, value: Value) -> None:
        """A number, with its size before it, a vector or a matrix."""
        if isinstance(value, bool):
            self.content += b"T" if value else b"F"
        elif isinstance(value, int):
            self.content += b"\4" + struct.pack("<i", value)
        elif isinstance(value, float):
            self.content += b"\4" + struct.pack("<f", value)
        else:
            self.token("FV" if value.ndim == 1 else "FM")
            for size in value.shape:
                self.value(size)
            self.content += np.ascontiguousarray(value, "<f4").tobytes()

    def integers(self, values: Iterable[int]) -> None:
        """A vector of integers."""
        array = np.array(list(values), "<i4")
        self.value(len(array))
        self.content += array.tobytes()


def write_transition_model(writer: KaldiWriter, graph: KaldiGraph) -> None:
    """Write topology, tuples and log-probabilities; all phones have the same HMM."""
    own_loops = any(first != loop for first, loop in graph.classes)
    writer.token("<TransitionModel>", "<Topology>")
    writer.integers(range(1, len(graph.phones)))
    writer.integers([-1, *(0 for _ in graph.phones[1:])])
    for number in [-1, 1] if own_loops else [1]:
        writer.value(number)
    writer.value(len(graph.classes) + 1)
    for state, (first, loop) in enumerate(graph.classes):
        for pdf_class in [first, loop] if own_loops else [first]:
            writer.value(pdf_class)
        writer.value(2)
        for target, probability in zip([state, state + 1], graph.transitions[state], strict=True):
            writer.value(target)
            writer.value(float(probability))
    for number in [-1, -1, 0] if own_loops else [-1, 0]:  # the final state
        writer.value(number)
    kind = "Tuples" if own_loops else "Triples"
    writer.token("</Topology>", f"<{kind}>")
    writer.value(len(graph.tuples))
    for row in graph.tuples.tolist():
        for number in row if own_loops else row[:3]:
            writer.value(number)
    writer.token(f"</{kind}>", "<LogProbs>")
    writer.value(graph.log_probs)
    writer.token("</LogProbs>", "</TransitionModel>")


def write_network(
    writer: KaldiWriter,
    nodes: Sequence[str],
    components: Mapping[str, tuple[str, Mapping[str, Value]]],
) -> None:
    """Write a network.

    Parameters
    ----------
    writer : KaldiWriter
    nodes : sequence of str
        Lines such as ``output-node name=output input=softmax``.
    components : mapping
        Type, such as ``LogSoftmaxComponent``, and fields of each component by its name.
    """
    writer.token("<Nnet3>")
    writer.lines("", *nodes, "")
    writer.token("<NumComponents>")
    writer.value(len(components))
    for name, (kind, fields) in components.items():
        writer.token("<ComponentName>", name, f"<{kind}>")
        for tag, value in fields.items():
            writer.token(f"<{tag}>")
            writer.value(value)
        writer.token(f"</{kind}>")
    writer.token("</Nnet3>")
