"""Components of nnet3 networks as operations of an ONNX graph.

Values are ``(frames, columns)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi import convolutions
from asr_hlg.acoustic.kaldi.components import Component
from asr_hlg.acoustic.onnx_graph import OnnxGraph


class KaldiGraph(OnnxGraph):
    """ONNX graph under construction whose constants belong to a component.

    Attributes
    ----------
    component : str
        Name of the component that is being added.
    """

    component = ""

    def parameter(self, tag: str, array: npt.ArrayLike) -> str:
        """Constant of the component, float32."""
        return self.constant(f"{self.component}/{tag}", np.asarray(array, np.float32))


Operation = Callable[[KaldiGraph, Component, str], str]

_SMALLEST = 2.0**-66
"""Floor of the mean square in a NormalizeComponent."""


def apply(graph: KaldiGraph, component: Component, x: str, name: str) -> str:
    """Result of a component for the input ``x``; ``name`` is that of the component."""
    graph.component = name
    return _OPERATIONS[component.kind](graph, component, x)


def _affine(graph: KaldiGraph, component: Component, x: str) -> str:
    tag = "Params" if component.kind == "LinearComponent" else "LinearParams"
    matrix = component.array(tag, 2)
    y = graph.op("MatMul", x, graph.parameter(tag, matrix.T))
    bias = component.fields.get("BiasParams")
    if bias is None or not len(bias):
        return y
    return graph.op("Add", y, graph.parameter("bias", component.array("BiasParams", 1)))


def _batch_norm(graph: KaldiGraph, component: Component, x: str) -> str:
    mean, variance = component.array("StatsMean", 1), component.array("StatsVar", 1)
    spread = np.maximum(variance.astype(np.float64), 0) + component.number("Epsilon")
    scale = component.number("TargetRms") / np.sqrt(spread)
    return _in_blocks(graph, component, x, scale, -mean * scale)


def _in_blocks(
    graph: KaldiGraph,
    component: Component,
    x: str,
    scale: npt.NDArray[Any],
    offset: npt.NDArray[Any],
) -> str:
    """``x * scale + offset``, repeated where the columns are several blocks of that length."""
    dim = int(component.number("Dim", len(scale)))
    if not len(scale) or dim % len(scale) or dim > 1 << 20:
        raise ValueError(f"the {component.kind} has blocks that do not divide its columns")
    times = dim // len(scale)
    y = graph.op("Mul", x, graph.parameter("scale", np.tile(scale, times)))
    return graph.op("Add", y, graph.parameter("offset", np.tile(offset, times)))


def _scale(tag: str) -> Operation:
    return lambda graph, component, x: graph.op(
        "Mul", x, graph.parameter(tag, component.array(tag, 1))
    )


def _offset(tag: str) -> Operation:
    return lambda graph, component, x: graph.op(
        "Add", x, graph.parameter(tag, component.array(tag, 1))
    )


def _scale_and_offset(graph: KaldiGraph, component: Component, x: str) -> str:
    return _in_blocks(
        graph, component, x, component.array("Scales", 1), component.array("Offsets", 1)
    )


def _dropout(graph: KaldiGraph, component: Component, x: str) -> str:
    return graph.op("Mul", x, graph.number(1 - component.number("DropoutProportion", 0)))


def _backprop_truncation(graph: KaldiGraph, component: Component, x: str) -> str:
    return graph.op("Mul", x, graph.number(component.number("Scale", 1)))


def _dropout_mask(graph: KaldiGraph, component: Component, x: str) -> str:
    proportion = component.number("DropoutProportion")
    value = 1.0 if component.fields.get("Continuous") else 1 - proportion
    mask = np.full((1, int(component.number("OutputDim"))), value)
    return graph.parameter("mask", mask)


def _normalize(graph: KaldiGraph, component: Component, x: str) -> str:
    dim = component.fields.get("InputDim", component.fields.get("Dim"))
    block = int(component.number("BlockDim", dim))
    rms, op = component.number("TargetRms", 1.0), graph.op
    blocks = op("Reshape", x, graph.integers(0, -1, block))
    square = op("ReduceMean", op("Mul", blocks, blocks), axes=[-1], keepdims=1)
    factor = graph.number(rms)
    root = op("Sqrt", op("Max", square, graph.number(_SMALLEST * rms**2)))
    result = op("Mul", blocks, op("Div", factor, root))
    if component.fields.get("AddLogStddev"):
        deviation = op("Max", square, graph.number(_SMALLEST))
        log = op("Mul", op("Log", deviation), graph.number(0.5))
        result = op("Concat", result, log, axis=-1)
    return op("Flatten", result, axis=1)


def _pnorm(graph: KaldiGraph, component: Component, x: str) -> str:
    groups = int(component.number("OutputDim"))
    blocks = graph.op("Reshape", x, graph.integers(0, groups, -1))
    return graph.op("ReduceL2", blocks, axes=[-1], keepdims=0)


def _permute(graph: KaldiGraph, component: Component, x: str) -> str:
    columns = np.asarray(component.fields["ColumnMap"], np.int64)
    return graph.op("Gather", x, graph.constant(f"{graph.component}/columns", columns), axis=1)


def _elementwise_product(graph: KaldiGraph, component: Component, x: str) -> str:
    width = int(component.number("OutputDim"))
    blocks = graph.op("Reshape", x, graph.integers(0, -1, width))
    return graph.op("ReduceProd", blocks, axes=[1], keepdims=0)


def _sum_block(graph: KaldiGraph, component: Component, x: str) -> str:
    width = int(component.number("OutputDim"))
    blocks = graph.op("Reshape", x, graph.integers(0, -1, width))
    total = graph.op("ReduceSum", blocks, graph.integers(1), keepdims=0)
    return graph.op("Mul", total, graph.number(component.number("Scale", 1)))


def _sum_group(graph: KaldiGraph, component: Component, x: str) -> str:
    sizes = np.asarray(component.fields["Sizes"])
    if not len(sizes) or sizes.min() < 1 or sizes.sum() > 1 << 16:
        raise ValueError("the SumGroupComponent has impossible sizes")
    matrix = np.zeros((sizes.sum(), len(sizes)), np.float32)
    matrix[np.arange(sizes.sum()), np.repeat(np.arange(len(sizes)), sizes)] = 1
    return graph.op("MatMul", x, graph.parameter("groups", matrix))


def _lstm(graph: KaldiGraph, component: Component, x: str) -> str:
    """Cells and output of an LSTM from its gates and the cells before; Kaldi's cu-math.h."""
    weights = component.array("Params", 2)
    cells, op = weights.shape[1], graph.op
    sizes = [cells] * 5 + ([1] * 3 if component.fields.get("UseDropout") else [])
    parts = graph.split(x, sizes)
    input_part, forget_part, cell_part, output_part, before = parts[:5]
    peephole = [graph.parameter(f"peephole {row}", weights[row]) for row in range(3)]
    keep = op("Sigmoid", op("Add", forget_part, op("Mul", peephole[1], before)))
    take = op("Sigmoid", op("Add", input_part, op("Mul", peephole[0], before)))
    if len(parts) == 8:
        take, keep = op("Mul", take, parts[5]), op("Mul", keep, parts[6])
    cell = op("Add", op("Mul", keep, before), op("Mul", take, op("Tanh", cell_part)))
    show = op("Sigmoid", op("Add", output_part, op("Mul", peephole[2], cell)))
    if len(parts) == 8:
        show = op("Mul", show, parts[7])
    return op("Concat", cell, op("Mul", show, op("Tanh", cell)), axis=-1)


def _gru(graph: KaldiGraph, component: Component, x: str) -> str:
    """Candidate and cells of a (projected) GRU from its gates, the cells and the output before.

    An OPGRU, whose weights are a vector, has no reset gate.
    """
    weights, op = component.fields["w_h"], graph.op
    cells = int(component.number("CellDim"))
    if weights.ndim == 1:
        keep, candidate, before = graph.split(x, [cells] * 3)
        returned = op("Mul", before, graph.parameter("w_h", weights))
    else:
        width = weights.shape[1]
        sizes = [cells, width, cells, cells, *([width] if width != cells else [])]
        keep, reset, candidate, before, *shown = graph.split(x, sizes)
        returned = op("Mul", reset, shown[0] if shown else before)
        returned = op("MatMul", returned, graph.parameter("w_h", weights.T))
    new = op("Tanh", op("Add", candidate, returned))
    cell = op("Add", new, op("Mul", keep, op("Sub", before, new)))
    return op("Concat", new, cell, axis=-1)


def _repeated_affine(graph: KaldiGraph, component: Component, x: str) -> str:
    """The same affine transform of each of several blocks."""
    blocks = graph.op("Reshape", x, graph.integers(0, int(component.number("NumRepeats")), -1))
    return graph.op("Flatten", _affine(graph, component, blocks), axis=1)


def _block_affine(graph: KaldiGraph, component: Component, x: str) -> str:
    """An affine transform for each of several blocks, whose results are side by side."""
    op, matrix = graph.op, component.array("LinearParams", 2)
    count = int(component.number("NumBlocks"))
    matrices = matrix.reshape(count, -1, matrix.shape[1]).transpose(0, 2, 1)
    blocks = op("Reshape", x, graph.integers(0, count, -1))
    y = op("MatMul", op("Transpose", blocks, perm=[1, 0, 2]), graph.parameter("blocks", matrices))
    y = op("Flatten", op("Transpose", y, perm=[1, 0, 2]), axis=1)
    return op("Add", y, graph.parameter("bias", component.array("BiasParams", 1)))


def _composite(graph: KaldiGraph, component: Component, x: str) -> str:
    """Components one after the other."""
    name = graph.component
    for number, part in enumerate(component.fields["NumComponents"]):
        x = apply(graph, part, x, f"{name}/{number}")
    return x


def _convolution(
    operation: Callable[[OnnxGraph, Component, str, str], str],
) -> Operation:
    return lambda graph, component, x: operation(graph, component, x, graph.component)


def _output(graph: KaldiGraph, component: Component, x: str) -> str:
    return graph.parameter("output", component.array("Output", 1)[None])


def _simple(kind: str, **attributes: int) -> Operation:
    return lambda graph, component, x: graph.op(kind, x, **attributes)


def _identity(graph: KaldiGraph, component: Component, x: str) -> str:
    return x


_OPERATIONS: dict[str, Operation] = {
    "AffineComponent": _affine,
    "NaturalGradientAffineComponent": _affine,
    "FixedAffineComponent": _affine,
    "LinearComponent": _affine,
    "TdnnComponent": _affine,
    "BatchNormComponent": _batch_norm,
    "RectifiedLinearComponent": _simple("Relu"),
    "SigmoidComponent": _simple("Sigmoid"),
    "TanhComponent": _simple("Tanh"),
    "SoftmaxComponent": _simple("Softmax", axis=-1),
    "LogSoftmaxComponent": _simple("LogSoftmax", axis=-1),
    "NoOpComponent": _identity,
    "GeneralDropoutComponent": _identity,
    "SpecAugmentTimeMaskComponent": _identity,
    "ClipGradientComponent": _identity,
    "DropoutComponent": _dropout,
    "DropoutMaskComponent": _dropout_mask,
    "BackpropTruncationComponent": _backprop_truncation,
    "NormalizeComponent": _normalize,
    "PnormComponent": _pnorm,
    "PerElementScaleComponent": _scale("Params"),
    "NaturalGradientPerElementScaleComponent": _scale("Params"),
    "PerElementOffsetComponent": _offset("Offsets"),
    "ScaleAndOffsetComponent": _scale_and_offset,
    "FixedScaleComponent": _scale("Scales"),
    "FixedBiasComponent": _offset("Bias"),
    "PermuteComponent": _permute,
    "ElementwiseProductComponent": _elementwise_product,
    "SumGroupComponent": _sum_group,
    "SumBlockComponent": _sum_block,
    "LstmNonlinearityComponent": _lstm,
    "GruNonlinearityComponent": _gru,
    "OutputGruNonlinearityComponent": _gru,
    "RepeatedAffineComponent": _repeated_affine,
    "NaturalGradientRepeatedAffineComponent": _repeated_affine,
    "BlockAffineComponent": _block_affine,
    "NaturalGradientBlockAffineComponent": _block_affine,
    "CompositeComponent": _composite,
    "TimeHeightConvolutionComponent": _convolution(convolutions.time_height),
    "ConvolutionComponent": _convolution(convolutions.convolution),
    "MaxpoolingComponent": _convolution(convolutions.max_pooling),
    "ConstantComponent": _output,
    "ConstantFunctionComponent": _output,
}
