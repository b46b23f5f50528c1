"""Evaluation of nnet3 networks window by window, for those that cannot be computed in one pass.

Networks that read later frames of themselves (BLSTM), statistics of many frames, and frames that
Round or Switch choose, are computed as Kaldi's ``nnet3-latgen-faster`` does: a chunk of output at a
time, from a window of input that contains the chunk, the network's context and, as a beginning for
recurrences, some more frames on each side. Windows do not depend on each other, and frames are
counted from the begin of the chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr_hlg.acoustic.kaldi import operations
from asr_hlg.acoustic.kaldi.components import Component
from asr_hlg.acoustic.kaldi.descriptors import Descriptor
from asr_hlg.acoustic.kaldi.nnet3 import Nnet3
from asr_hlg.acoustic.kaldi.operations import KaldiGraph
from asr_hlg.acoustic.kaldi.plan import STATISTICS
from asr_hlg.acoustic.kaldi.reader import Floats
from asr_hlg.acoustic.kaldi.rows import Rows
from asr_hlg.acoustic.kaldi.widths import Widths
from asr_hlg.acoustic.kaldi.window_times import (
    Flags,
    Step,
    Times,
    WindowTimes,
    contexts,
    reachable,
    shifted,
    taps,
)
from asr_hlg.acoustic.runtime import make_session

_MOST_VALUES = 1 << 27
"""Values of all nodes in a window: 512 MB."""


@dataclass(frozen=True)
class WindowOptions:
    """Sizes in frames of the input.

    Attributes
    ----------
    chunk : int
        Frames whose output one window gives; a multiple of the subsampling factor.
    extra_left, extra_right : int
        Frames beyond the context that the network needs.
    """

    chunk: int = 150
    extra_left: int = 40
    extra_right: int = 40


@dataclass(frozen=True)
class _Plan:
    """Steps of a window, and the number of frames at which each node is computed."""

    times: WindowTimes
    steps: tuple[Step, ...]
    counts: dict[str, int]


class WindowEvaluator:
    """A network that is evaluated window by window; it can be shared by threads.

    Parameters
    ----------
    network : Nnet3
    subsampling : int
        Output is computed for every so many frames.
    options : WindowOptions
    output : str
        Name of the output.

    Attributes
    ----------
    width : int
        Columns of the output.
    input_width, ivector_width : int
        Columns of the inputs; 0 if there are no i-vectors.
    left_context, right_context : int
        Frames of input before and after a chunk that are in its window.

    Raises
    ------
    ValueError
        If the network cannot be evaluated.
    """

    def __init__(
        self,
        network: Nnet3,
        subsampling: int = 3,
        options: WindowOptions | None = None,
        output: str = "output",
    ):
        self.options = options or WindowOptions()
        self.subsampling = subsampling
        self._network, self._output = network, output
        self._names = reachable(network, output)
        self.widths = Widths(network)
        self.widths.check(tuple(self._names))
        self.width = self.widths.node(output)
        self.input_width = self.widths.node("input")
        self.ivector_width = self.widths.node("ivector") if "ivector" in self._names else 0
        left, right = contexts(network, output)
        self.left_context = left + self.options.extra_left
        self.right_context = right + self.options.extra_right
        self._plans = {self.options.chunk: self._plan(self.options.chunk)}
        self._sessions = dict(self._make_sessions())

    @property
    def left_frames(self) -> int:
        """Frames of input before those of an output that :meth:`WindowStream.advance` needs."""
        return self.left_context

    def stream(self) -> WindowStream:
        """Evaluation of one recording, chunk by chunk."""
        return WindowStream(self)

    def all_frames(self, inputs: Floats, ivectors: Floats | None = None) -> Floats:
        """Output of a whole recording; see :meth:`Nnet3Evaluator.all_frames`."""
        frames = -(-len(inputs) // self.subsampling)
        given = None if ivectors is None else Rows.of(ivectors)
        return self.stream().advance(Rows.of(inputs), given, 0, frames * self.subsampling)

    def chunk(self, inputs: Floats, ivector: Floats | None, size: int) -> Floats:
        """Output of a chunk.

        Parameters
        ----------
        inputs : np.ndarray
            float32 ``(left_context + size + right_context, input_width)``: the window.
        ivector : np.ndarray, optional
            float32 ``(ivector_width,)``.
        size : int

        Returns
        -------
        np.ndarray
            float32 ``(size / subsampling, width)``.
        """
        if size not in self._plans:
            self._plans[size] = self._plan(size)
        plan = self._plans[size]
        values = _Values(plan, self.widths)
        for step in plan.steps:
            values.add(step, self._computed(step, plan, values, (inputs, ivector)))
        return values.read(self._output, np.arange(0, size, self.subsampling))

    def _plan(self, size: int) -> _Plan:
        window = range(-self.left_context, size + self.right_context)
        times = WindowTimes(self._network, self._names, window)
        steps = times.steps(self._output, np.arange(0, size, self.subsampling))
        counts = dict.fromkeys(self._names, 0)
        for step in steps:
            counts[step.node] += len(step.times)
        if sum(count * self.widths.node(name) for name, count in counts.items()) > _MOST_VALUES:
            raise ValueError("the network has too many values for a window")
        return _Plan(times, tuple(steps), counts)

    def _make_sessions(self) -> Iterator[tuple[str, Any]]:
        """Sessions of the components, by the names of their nodes."""
        for name in self._names:
            node = self._network.nodes[name]
            component = self._network.components.get(node.component)
            if node.input is None or component is None or component.kind in STATISTICS:
                continue
            graph = KaldiGraph({})
            result = operations.apply(graph, component, "x", node.component)
            graph.named("Identity", [result], "y")
            width = self.widths.descriptor(node.input) * len(taps(component, np.zeros(1, int)))
            inputs = [graph.value("x", ["frames", width])]
            outputs = [graph.value("y", ["results", self.widths.node(name)])]
            yield name, make_session(graph.model("component", inputs, outputs))

    def _computed(
        self, step: Step, plan: _Plan, values: _Values, inputs: tuple[Floats, Floats | None]
    ) -> Floats:
        """Values of a node at the frames of a step."""
        node = self._network.nodes[step.node]
        if node.input is None:
            rows, ivector = inputs
            if step.node == "input":
                window: Floats = rows[step.times + self.left_context]
                return window
            assert ivector is not None
            return np.repeat(ivector[None], len(step.times), axis=0)
        component = self._network.components.get(node.component)
        frames = taps(component, step.times)
        parts = [values.of(node.input, tap, plan) for tap in frames]
        if component is not None and component.kind in STATISTICS:
            flags = [plan.times.defined(node.input, tap) for tap in frames]
            return _statistics(component, parts, flags)
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if node.kind == "dim-range":
            return rows[:, node.first : node.first + node.dim]
        if component is None:
            return rows
        result: Floats = self._sessions[step.node].run(None, {"x": rows})[0]
        # The result of a constant is one row.
        return np.broadcast_to(result, (len(rows), result.shape[1]))


class WindowStream:
    """Evaluation of one recording: computes outputs of frames in order.

    Attributes
    ----------
    warm_up : int
        0: no frames before the first are computed by themselves.
    """

    warm_up = 0

    def __init__(self, evaluator: WindowEvaluator):
        self._evaluator = evaluator

    def advance(self, inputs: Rows, ivectors: Rows | None, begin: int, end: int) -> Floats:
        """Output of the frames ``[begin, end)``; see :meth:`Nnet3Stream.advance`.

        Frames from ``begin - left_context`` on must be there. The i-vector of a chunk is that of
        its last frame.
        """
        evaluator = self._evaluator
        results = [np.zeros((0, evaluator.width), np.float32)]
        for first in range(begin, end, evaluator.options.chunk):
            size = min(evaluator.options.chunk, end - first)
            left, right = evaluator.left_context, evaluator.right_context
            window = inputs.part(first - left, first + size + right)
            ivector = None
            if ivectors is not None and evaluator.ivector_width:
                last = min(first + size, len(ivectors))
                [ivector] = ivectors.part(last - 1, last)
            results.append(evaluator.chunk(window, ivector, size))
        return np.concatenate(results)


class _Values:
    """Values of nodes at the frames at which they are computed, and zeros at others.

    Parameters
    ----------
    plan : _Plan
    widths : Widths
    """

    def __init__(self, plan: _Plan, widths: Widths):
        self._first, self._count = plan.times.first, plan.times.count
        self._arrays = {
            name: np.zeros((count + 1, widths.node(name)), np.float32)  # row 0 stays 0
            for name, count in plan.counts.items()
        }
        self._places = {name: np.zeros(self._count, np.int64) for name in plan.counts}
        self._known = dict.fromkeys(plan.counts, 1)

    def add(self, step: Step, rows: Floats) -> None:
        """Store values ``(frames, width)``."""
        begin = self._known[step.node]
        end = self._known[step.node] = begin + len(rows)
        self._arrays[step.node][begin:end] = rows
        self._places[step.node][step.times - self._first] = np.arange(begin, end)

    def read(self, name: str, times: Times) -> Floats:
        """Values at some frames."""
        place = times - self._first
        inside = (place >= 0) & (place < self._count)
        place = self._places[name][np.clip(place, 0, self._count - 1)]
        rows: Floats = self._arrays[name][np.where(inside, place, 0)]
        return rows

    def of(self, descriptor: Descriptor, times: Times, plan: _Plan) -> Floats:
        """Values of a descriptor at some frames."""
        kind, parts = descriptor.kind, descriptor.parts
        if kind == "Node":
            return self.read(descriptor.name, times)
        if kind == "Const":
            return np.full((len(times), descriptor.offset), descriptor.value, np.float32)
        moved = shifted(descriptor, times)
        values = [self.of(part, moved, plan) for part in parts]
        if kind == "Append":
            return np.concatenate(values, axis=1)
        if kind == "Sum":
            return np.asarray(np.sum(values, axis=0))
        if kind == "Scale":
            return np.asarray(values[0] * np.float32(descriptor.value))
        if kind == "Switch":
            return np.asarray(np.array(values)[times % len(parts), np.arange(len(times))])
        if kind in ("IfDefined", "Failover"):
            first = plan.times.defined(parts[0], times)[:, None]
            return np.where(first, values[0], values[1] if len(parts) > 1 else np.float32(0))
        return values[0]  # Offset, Round, ReplaceIndex


def _statistics(component: Component, rows: list[Floats], flags: list[Flags]) -> Floats:
    """Statistics of the frames of which ``flags`` ``(frames,)`` are set, one entry a tap."""
    used = [np.where(flag[:, None], values, 0) for values, flag in zip(rows, flags, strict=True)]
    total = np.sum(used, axis=0, dtype=np.float64)
    if component.kind == "StatisticsExtractionComponent":
        parts = [np.sum(flags, axis=0)[:, None], total]
        if component.fields.get("IncludeVarinance"):
            parts.append(np.sum([x.astype(np.float64) ** 2 for x in used], axis=0))
        return np.asarray(np.concatenate(parts, axis=1), np.float32)
    counts = total[:, :1]
    means = total[:, 1:] / np.maximum(counts, 1e-10)
    if component.fields.get("OutputStddevs"):
        half = means.shape[1] // 2
        variance = means[:, half:] - means[:, :half] ** 2
        means[:, half:] = np.sqrt(np.maximum(variance, component.number("VarianceFloor")))
    number = int(component.number("NumLogCountFeatures"))
    logs = np.repeat(np.log(np.maximum(counts, 1e-10)), number, axis=1)
    return np.asarray(np.concatenate([logs, means], axis=1), np.float32)
