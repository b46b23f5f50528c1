"""Number of columns of every node of a network, with the check that components fit together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asr_hlg.acoustic.kaldi import convolutions
from asr_hlg.acoustic.kaldi.components import Component
from asr_hlg.acoustic.kaldi.descriptors import Descriptor
from asr_hlg.acoustic.kaldi.nnet3 import Nnet3

_AFFINE = (
    "AffineComponent",
    "NaturalGradientAffineComponent",
    "FixedAffineComponent",
    "LinearComponent",
    "TdnnComponent",
)
_BY_OUTPUT_DIM = (
    "PnormComponent",
    "ElementwiseProductComponent",
    "SumBlockComponent",
    "DropoutMaskComponent",
)
_PARAMETERS = {
    "PerElementScaleComponent": "Params",
    "NaturalGradientPerElementScaleComponent": "Params",
    "PerElementOffsetComponent": "Offsets",
    "FixedScaleComponent": "Scales",
    "FixedBiasComponent": "Bias",
}


def _gru_input(component: Component) -> int:
    cells, weights = _positive(component, "CellDim"), np.asarray(component.fields["w_h"])
    if weights.ndim not in (1, 2) or len(weights) != cells or not weights.size:
        raise ValueError(f"the {component.kind} has weights of another size")
    if weights.ndim == 1:
        return 3 * cells
    width = int(weights.shape[1])
    return 3 * cells + width + (width if width != cells else 0)


def _blocks(component: Component) -> tuple[int, int]:
    """Columns that an affine transform of blocks takes and gives."""
    repeats = "NumRepeats" in component.fields
    count = _positive(component, "NumRepeats" if repeats else "NumBlocks")
    rows, columns = component.array("LinearParams", 2).shape
    if (not repeats and rows % count) or len(component.array("BiasParams", 1)) != rows:
        raise ValueError(f"the {component.kind} has parameters of another size")
    return columns * count, rows * (count if repeats else 1)


def _extraction_output(component: Component) -> int:
    width = _positive(component, "InputDim")
    return 1 + width * (2 if component.fields.get("IncludeVarinance") else 1)


def _pooling_output(component: Component) -> int:
    width, counts = _positive(component, "InputDim"), component.number("NumLogCountFeatures")
    has_deviations = component.fields.get("OutputStddevs", False)
    if width < 2 or not 0 <= counts < 1 << 16 or (has_deviations and width % 2 == 0):
        raise ValueError(f"the {component.kind} has impossible sizes")
    return width - 1 + int(counts)


def _positive(component: Component, tag: str) -> int:
    return _checked(int(component.number(tag)))


def _time_height_input(component: Component) -> int:
    return _positive(component, "HeightIn") * _positive(component, "NumFiltersIn")


_SPECIAL: dict[str, tuple[Callable[[Component], int], Callable[[Component], int]]] = {
    "TimeHeightConvolutionComponent": (_time_height_input, convolutions.time_height_output),
    "ConvolutionComponent": (convolutions.image_size, convolutions.convolution_output),
    "MaxpoolingComponent": (convolutions.image_size, convolutions.max_pooling_output),
    "StatisticsExtractionComponent": (lambda c: _positive(c, "InputDim"), _extraction_output),
    "StatisticsPoolingComponent": (lambda c: _positive(c, "InputDim"), _pooling_output),
    **dict.fromkeys(
        ("GruNonlinearityComponent", "OutputGruNonlinearityComponent"),
        (_gru_input, lambda c: 2 * _positive(c, "CellDim")),
    ),
    **dict.fromkeys(
        ("RepeatedAffineComponent", "NaturalGradientRepeatedAffineComponent",
         "BlockAffineComponent", "NaturalGradientBlockAffineComponent"),
        (lambda c: _blocks(c)[0], lambda c: _blocks(c)[1]),
    ),
}  # fmt: skip
"""Columns that components take and give."""


class Widths:
    """Columns of nodes and descriptors, found on demand.

    Methods raise ValueError where two sizes contradict each other.
    """

    def __init__(self, network: Nnet3):
        self._network = network
        self._of: dict[str, int] = {}
        self._open: set[str] = set()

    def node(self, name: str) -> int:
        """Columns of a node."""
        if name not in self._of:
            if name in self._open:
                raise ValueError(f"the width of node {name!r} depends on itself")
            self._open.add(name)
            self._of[name] = self._find(name)
        return self._of[name]

    def descriptor(self, descriptor: Descriptor) -> int:
        """Columns of a descriptor."""
        kind, parts = descriptor.kind, descriptor.parts
        if kind == "Node":
            return self.node(descriptor.name)
        if kind == "Const":
            return _checked(descriptor.offset)
        if kind == "Append":
            return sum(self.descriptor(part) for part in parts)
        if kind == "Sum":
            widths = {self.descriptor(part) for part in parts}
            if len(widths) > 1:
                raise ValueError(f"a Sum adds terms of {sorted(widths)} columns")
        return self.descriptor(parts[0])

    def check(self, names: tuple[str, ...]) -> None:
        """Check that every component fits its input."""
        for name in names:
            node = self._network.nodes[name]
            if node.kind == "dim-range" and node.input is not None:
                if not 0 <= node.first < node.first + node.dim <= self.descriptor(node.input):
                    raise ValueError(f"node {name!r} takes columns that its input lacks")
            elif node.component and node.input is not None:
                component = self._network.components[node.component]
                try:
                    width = self.descriptor(node.input)
                    for part in component.fields.get("NumComponents", (component,)):
                        _check_input(part, width)
                        width = _output_width(part) or width
                except ValueError as error:
                    raise ValueError(f"node {name!r}: {error}") from None

    def _find(self, name: str) -> int:
        node = self._network.nodes[name]
        if node.input is None or node.kind == "dim-range":
            return _checked(node.dim)
        if not node.component:
            return self.descriptor(node.input)
        component = self._network.components[node.component]
        known = _output_width(component)
        return self.descriptor(node.input) if known is None else known


def _checked(width: int) -> int:
    if not 0 < width < 1 << 20:
        raise ValueError(f"{width} columns are out of range")
    return width


def _output_width(component: Component) -> int | None:
    """Columns that a component gives; None for as many as it takes."""
    kind = component.kind
    if kind in _SPECIAL:
        return _checked(_SPECIAL[kind][1](component))
    if kind == "CompositeComponent":
        known = [_output_width(part) for part in component.fields.get("NumComponents", ())]
        return next((width for width in reversed(known) if width is not None), None)
    if kind in _AFFINE:
        tag = "Params" if kind == "LinearComponent" else "LinearParams"
        return _checked(len(component.array(tag, 2)))
    if kind in _BY_OUTPUT_DIM:
        return _checked(int(component.number("OutputDim")))
    if kind in ("ConstantComponent", "ConstantFunctionComponent"):
        return _checked(len(component.array("Output", 1)))
    if kind == "LstmNonlinearityComponent":
        return _checked(2 * component.array("Params", 2).shape[1])
    if kind == "SumGroupComponent":
        return _checked(len(component.fields.get("Sizes", ())))
    if kind == "NormalizeComponent" and component.fields.get("AddLogStddev"):
        dim = int(component.number("InputDim", component.fields.get("Dim")))
        return _checked(dim + dim // _checked(int(component.number("BlockDim", dim))))
    return None


def _check_input(component: Component, width: int) -> None:
    """Check the width of a component's input."""
    kind, fields = component.kind, component.fields
    expected = _input_width(component)
    if expected is not None and expected != width:
        raise ValueError(f"the {kind} takes {expected} columns, but its input has {width}")
    if kind in _AFFINE:
        bias = fields.get("BiasParams")
        if bias is not None and len(bias) not in (0, _output_width(component)):
            raise ValueError(f"the {kind} has a bias of {len(bias)} values")
    if kind in ("ElementwiseProductComponent", "SumBlockComponent", "PnormComponent"):
        groups = _output_width(component)
        if groups is None or width % groups:
            raise ValueError(f"the {kind} cannot divide {width} columns into {groups}")
    if kind == "NormalizeComponent" and width % int(component.number("BlockDim", width)):
        raise ValueError(f"the {kind} has blocks that do not divide {width} columns")
    if kind == "PermuteComponent":
        columns = fields.get("ColumnMap", ())
        if not len(columns) or min(columns) < 0 or max(columns) >= width:
            raise ValueError("the PermuteComponent has impossible columns")


def _input_width(component: Component) -> int | None:
    """Columns that a component takes; None for any number."""
    kind, fields = component.kind, component.fields
    if kind in _SPECIAL:
        return _SPECIAL[kind][0](component)
    if kind in _AFFINE:
        tag = "Params" if kind == "LinearComponent" else "LinearParams"
        width: int = component.array(tag, 2).shape[1]
        offsets = len(fields.get("TimeOffsets", (0,)))
        if not offsets or width % offsets:
            raise ValueError(f"the {kind} has a matrix that its time offsets do not divide")
        return width // offsets
    if kind in _PARAMETERS:
        return len(component.array(_PARAMETERS[kind], 1))
    if kind == "BatchNormComponent":
        blocks = {len(component.array(tag, 1)) for tag in ("StatsMean", "StatsVar")}
        if len(blocks) > 1 or int(component.number("BlockDim")) not in blocks:
            raise ValueError(f"the {kind} has statistics of another size")
        return int(component.number("Dim"))
    if kind == "LstmNonlinearityComponent":
        rows, cells = component.array("Params", 2).shape
        if rows != 3:
            raise ValueError(f"the {kind} has {rows} rows of parameters, expected 3")
        return int(5 * cells + (3 if fields.get("UseDropout") else 0))
    return None
