"""Evaluation of nnet3 networks by onnxruntime, chunk by chunk or all frames at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asr_hlg.acoustic.kaldi import operations
from asr_hlg.acoustic.kaldi.components import time_offsets
from asr_hlg.acoustic.kaldi.descriptors import Descriptor
from asr_hlg.acoustic.kaldi.nnet3 import Nnet3, Node
from asr_hlg.acoustic.kaldi.operations import KaldiGraph
from asr_hlg.acoustic.kaldi.plan import Plan, is_constant_in_time, make_plan
from asr_hlg.acoustic.kaldi.reader import Floats
from asr_hlg.acoustic.kaldi.rows import Rows
from asr_hlg.acoustic.kaldi.widths import Widths
from asr_hlg.acoustic.runtime import make_session

if TYPE_CHECKING:
    import onnx

_END = (1 << 63) - 1


class Nnet3Evaluator:
    """A network that onnxruntime evaluates; it holds no state and can be shared by threads.

    Parameters
    ----------
    network : Nnet3
    subsampling : int
        Output is computed for every so many frames.
    output : str
        Name of the output.

    Attributes
    ----------
    plan : Plan
    width : int
        Columns of the output.
    input_width, ivector_width : int
        Columns of the inputs; 0 if there are no i-vectors.

    Raises
    ------
    ValueError
        If the network cannot be evaluated; `NeedsWindows` if it can be in windows.
    """

    def __init__(self, network: Nnet3, subsampling: int = 3, output: str = "output"):
        self.plan = make_plan(network, subsampling, output)
        self.subsampling = subsampling
        widths = Widths(network)
        widths.check(self.plan.order)
        self.width = widths.node(output)
        self.input_width = widths.node("input")
        self.ivector_width = widths.node("ivector") if "ivector" in self.plan.stride else 0
        builder = _Builder(network, self.plan, subsampling, widths)
        self.session = make_session(builder.content(output))
        self._shapes = builder.shapes

    left_frames = 0
    """Frames of input before those of an output that `Nnet3Stream.advance` needs."""

    @property
    def right_context(self) -> int:
        """Frames of input after a frame that its output depends on."""
        return self.plan.right_context

    def stream(self) -> Nnet3Stream:
        """Evaluation of one recording, chunk by chunk."""
        return Nnet3Stream(self, {name: np.zeros(s, np.float32) for name, s in self._shapes})

    def all_frames(self, inputs: Floats, ivectors: Floats | None = None) -> Floats:
        """Output of a whole recording.

        Parameters
        ----------
        inputs : np.ndarray
            float32 ``(num_frames, input_width)``.
        ivectors : np.ndarray, optional
            float32 ``(num_frames, ivector_width)``.

        Returns
        -------
        np.ndarray
            float32 ``(ceil(num_frames / subsampling), width)``.
        """
        sub = self.subsampling
        frames = -(-len(inputs) // sub)
        stream = self.stream()
        given = None if ivectors is None else Rows.of(ivectors)
        return stream.advance(Rows.of(inputs), given, -stream.warm_up, frames * sub)[:frames]


class Nnet3Stream:
    """Evaluation of one recording: computes outputs of frames in order.

    Attributes
    ----------
    warm_up : int
        Frames before the first that must be computed, with the first one repeated.
    """

    def __init__(self, evaluator: Nnet3Evaluator, kept: dict[str, Floats]):
        self._evaluator, self._kept = evaluator, kept
        plan, sub = evaluator.plan, evaluator.subsampling
        context = plan.left_context + plan.right_context + max(plan.ahead.values())
        step = plan.longest or sub
        self.warm_up = -(-context // step) * step

    def advance(self, inputs: Rows, ivectors: Rows | None, begin: int, end: int) -> Floats:
        """Output of the frames ``[begin, end)`` that are not negative.

        Frames before the first and after the last of the recording are copies of it.

        Parameters
        ----------
        inputs : Rows
            Features of the recording so far, without those before ``begin`` if it is positive.
        ivectors : Rows, optional
            i-vectors for each of them.
        begin, end : int
            Multiples of the subsampling factor; ``begin`` is the last call's ``end``, and
            ``-warm_up`` in the first call.

        Returns
        -------
        np.ndarray
            float32 ``(num_outputs, width)``.
        """
        plan, sub = self._evaluator.plan, self._evaluator.subsampling
        if begin == end:
            return np.zeros((0, self._evaluator.width), np.float32)
        step = plan.longest or end - begin
        rows = [
            self._chunk(inputs, ivectors, place, place + step) for place in range(begin, end, step)
        ]
        result: Floats = np.concatenate(rows)[max(0, -begin // sub) :]
        return result

    def _chunk(self, inputs: Rows, ivectors: Rows | None, begin: int, end: int) -> Floats:
        ahead = self._evaluator.plan.ahead
        fed = {"input": inputs.part(begin + ahead["input"], end + ahead["input"])}
        if ivectors is not None and "ivector" in ahead:
            place = ahead["ivector"]
            fed["ivector"] = ivectors.part(begin + place, end + place)
        session = self._evaluator.session
        names = [output.name for output in session.get_outputs()]
        results = dict(zip(names, session.run(None, fed | self._kept), strict=True))
        self._kept = {name: results[f"next {name}"] for name in self._kept}
        output: Floats = results["log_probs"]
        return output


class _Builder:
    """Builds the ONNX graph of a plan.

    Attributes
    ----------
    shapes : list of (str, (int, int))
        Name and shape of what is kept from one chunk to the next.
    """

    def __init__(self, network: Nnet3, plan: Plan, subsampling: int, widths: Widths):
        self._network, self._plan, self._sub = network, plan, subsampling
        self._widths = widths
        self._graph = KaldiGraph({})
        self._computed: dict[str, str] = {}  # new values of each node
        self._buffers: dict[str, str] = {}  # kept values followed by new ones
        self._slices: dict[tuple[str, int, int], str] = {}
        self.shapes = [
            (f"kept {name}", (count, widths.node(name)))
            for name, count in plan.kept.items()
            if count
        ]

    def content(self, output: str) -> bytes:
        """Content of the ONNX file."""
        for name in self._plan.order:
            self._computed[name] = self._node(name, self._network.nodes[name])
        for name, _ in self.shapes:
            node = name.removeprefix("kept ")
            self._rename(self._tail(node), f"next {name}")
        self._rename(self._computed[output], "log_probs")
        return self._graph.model("nnet3", self._inputs(), self._outputs(output))

    def _tail(self, name: str) -> str:
        """Last values of a node, which the next chunk needs."""
        count, graph = self._plan.kept[name], self._graph
        return graph.op(
            "Slice", self._buffer(name), graph.integers(-count), graph.integers(_END),
            graph.integers(0),
        )  # fmt: skip

    def _rename(self, value: str, name: str) -> None:
        self._graph.named("Identity", [value], name)

    def _inputs(self) -> list[onnx.ValueInfoProto]:
        graph = self._graph
        sources = [name for name in self._plan.order if self._network.nodes[name].kind == "input"]
        values = [graph.value(name, ["frames", self._widths.node(name)]) for name in sources]
        return values + [graph.value(name, list(shape)) for name, shape in self.shapes]

    def _outputs(self, output: str) -> list[onnx.ValueInfoProto]:
        graph = self._graph
        values = [graph.value("log_probs", ["output frames", self._widths.node(output)])]
        return values + [graph.value(f"next {name}", list(shape)) for name, shape in self.shapes]

    def _node(self, name: str, node: Node) -> str:
        if node.input is None:
            return name
        graph = self._graph
        if node.kind == "dim-range":
            x = self._descriptor(node.input, name, 0)
            first, last = graph.integers(node.first), graph.integers(node.first + node.dim)
            return graph.op("Slice", x, first, last, graph.integers(1))
        if not node.component:
            return self._descriptor(node.input, name, 0)
        component = self._network.components[node.component]
        offsets = time_offsets(component)
        parts = [self._descriptor(node.input, name, offset) for offset in offsets]
        x = parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)
        result = operations.apply(graph, component, x, node.component)
        if component.kind in (
            "ConstantComponent",
            "ConstantFunctionComponent",
            "DropoutMaskComponent",
        ):
            result = self._repeated(result, name)
        return result

    def _descriptor(self, descriptor: Descriptor, reader: str, offset: int) -> str:
        """Value of a descriptor at the times of the node ``reader``, ``offset`` frames later."""
        kind, parts, graph = descriptor.kind, descriptor.parts, self._graph
        if kind == "Node":
            return self._slice(descriptor.name, reader, offset)
        if is_constant_in_time(descriptor):
            return self._slice(parts[0].name, reader, offset)
        if kind == "Const":
            row = np.full((1, descriptor.offset), descriptor.value, np.float32)
            name = f"const {descriptor.value} {descriptor.offset}"
            return self._repeated(graph.constant(name, row), reader)
        if kind == "Offset":
            offset += descriptor.offset
        values = [self._descriptor(part, reader, offset) for part in parts]
        if kind == "Append":
            return values[0] if len(values) == 1 else graph.op("Concat", *values, axis=1)
        if kind == "Sum":
            return graph.add(*values)
        if kind == "Scale":
            return graph.op("Mul", values[0], graph.number(descriptor.value))
        return values[0]  # Offset, IfDefined, Failover

    def _repeated(self, row: str, reader: str) -> str:
        """A row for every frame of a node."""
        graph, stride = self._graph, self._plan.stride[reader]
        count = graph.op("Div", graph.size("input", 0), graph.integer(stride))
        return graph.op("Expand", row, graph.op("Concat", count, graph.integer(1), axis=0))

    def _buffer(self, name: str) -> str:
        """Values of a node: those kept from the chunk before, then the new ones."""
        if name not in self._buffers:
            new, kept = self._computed[name], self._plan.kept[name]
            self._buffers[name] = (
                self._graph.op("Concat", f"kept {name}", new, axis=0) if kept else new
            )
        return self._buffers[name]

    def _slice(self, source: str, reader: str, offset: int) -> str:
        """Values of ``source`` that ``reader`` reads at an offset."""
        plan, graph = self._plan, self._graph
        kept, stride = plan.kept[source], plan.stride[source]
        step = plan.stride[reader] // stride
        first = (plan.ahead[reader] + offset - plan.ahead[source]) // stride + kept
        key = source, first, step
        if key in self._slices:
            return self._slices[key]
        if source not in self._computed:  # a recurrence: values of the chunk before
            last = first + (plan.longest // plan.stride[reader] - 1) * step + 1
            buffer = f"kept {source}"
        else:
            last = first - step + 1 - kept  # from the end of the buffer
            last = _END if last == 0 else last
            buffer = self._buffer(source)
        if first == 0 and step == 1 and last == _END:
            return buffer
        bounds = (graph.integers(value) for value in (first, last, 0, step))
        self._slices[key] = graph.op("Slice", buffer, *bounds)
        return self._slices[key]
