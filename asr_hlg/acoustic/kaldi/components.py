"""Components of an nnet3 network as they are stored: a type, and fields with tags.

Which value follows a tag is known for every tag, so that one reader serves all components. What the
components compute is in :mod:`asr_hlg.acoustic.kaldi.operations`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr_hlg.acoustic.kaldi.reader import Floats, KaldiReader

_INTEGERS = [
    "Dim",
    "InputDim",
    "OutputDim",
    "BlockDim",
    "RankIn",
    "RankOut",
    "Rank",
    "UpdatePeriod",
    "NumRepeats",
    "NumBlocks",
    "MaxRowsProcess",
    "TimePeriod",
    "TimeMaskMaxFrames",
    "SpecAugmentMaxRegions",
    "RecurrenceInterval",
    "NumElementsClipped",
    "NumSelfRepaired",
    "NumBackpropped",
    "NumElementsZeroed",
    "NumZeroingBoundaries",
    *("CellDim", "RecurrentDim"),
    *("NumFiltersIn", "NumFiltersOut", "HeightIn", "HeightOut", "HeightSubsampleOut"),
    *("InputXDim", "InputYDim", "InputZDim", "InputVectorization"),
    *("FiltXDim", "FiltYDim", "FiltXStep", "FiltYStep"),
    *("PoolXSize", "PoolYSize", "PoolZSize", "PoolXStep", "PoolYStep", "PoolZStep"),
    *("InputPeriod", "OutputPeriod", "LeftContext", "RightContext", "NumLogCountFeatures"),
]
_NUMBERS = [
    "LearningRateFactor",
    "MaxChange",
    "L2Regularize",
    "LearningRate",
    "OrthonormalConstraint",
    "NumSamplesHistory",
    "Alpha",
    "Epsilon",
    "TargetRms",
    "Count",
    "OderivCount",
    "NumDimsSelfRepaired",
    "NumDimsProcessed",
    "SelfRepairLowerThreshold",
    "SelfRepairUpperThreshold",
    "SelfRepairScale",
    "SelfRepairTarget",
    "SelfRepairClippedProportionThreshold",
    "DropoutProportion",
    "BackpropScale",
    "ClippingThreshold",
    "ZeroingThreshold",
    "ZeroingInterval",
    "NumElementsProcessed",
    "Scale",
    "ZeroedProportion",
    "SpecAugmentMaxProportion",
    "MaxChangePerSample",
    "MaxChangePerMinibatch",
    "UpdateCount",
    "ActiveScalingCount",
    "MaxChangeScaleStats",
    "SelfRepairTotal",
    "SelfRepairThreshold",
    "MaxMemoryMb",
    "NumMinibatchesHistory",
    "VarianceFloor",
]
_FLAGS = (
    "IsGradient UseNaturalGradient DropoutPerFrame AddLogStddev UseDropout IsUpdatable "
    "IncludeVarinance OutputStddevs"  # so Kaldi writes it
)
_ARRAYS = [
    "LinearParams",
    "BiasParams",
    "Params",
    "ValueAvg",
    "DerivAvg",
    "OderivRms",
    "StatsMean",
    "StatsVar",
    "Scales",
    "Offsets",
    "Bias",
    "Output",
    "SelfRepairConfig",
    "SelfRepairProb",
    "w_h",
    "FilterParams",
]
_VECTORS_OF_INTEGERS = ["TimeOffsets", "ColumnMap", "Sizes", "RequiredTimeOffsets"]
_WITHOUT_VALUE = ["Continuous", "Model", "ConvolutionModel", "/ConvolutionModel"]

_READERS: dict[str, Callable[[KaldiReader], Any]] = {
    **dict.fromkeys(_INTEGERS, KaldiReader.integer),
    **dict.fromkeys(_NUMBERS, KaldiReader.number),
    **dict.fromkeys(_FLAGS.split(), KaldiReader.boolean),
    **dict.fromkeys(_ARRAYS, KaldiReader.array),
    **dict.fromkeys(_VECTORS_OF_INTEGERS, KaldiReader.integers),
    "RankInOut": lambda reader: (reader.integer(), reader.integer()),
    "AlphaInOut": lambda reader: (reader.number(), reader.number()),
    "NormBasedClipping": KaldiReader.boolean,
    **dict.fromkeys(_WITHOUT_VALUE, lambda reader: True),
}
_BARE_TEST_MODE = ("GeneralDropoutComponent", "SpecAugmentTimeMaskComponent")
_MOST_FIELDS = 64
_FARTHEST = 10_000  # frames of a time offset

# fmt: off
_NAMES = [
    "Affine", "NaturalGradientAffine", "FixedAffine", "Linear", "Tdnn", "BatchNorm",
    "RectifiedLinear", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "NoOp", "Dropout",
    "GeneralDropout", "SpecAugmentTimeMask", "DropoutMask", "ClipGradient",
    "BackpropTruncation", "Normalize", "Pnorm", "PerElementScale",
    "NaturalGradientPerElementScale", "PerElementOffset", "ScaleAndOffset", "FixedScale",
    "FixedBias", "Permute", "ElementwiseProduct", "SumGroup", "SumBlock", "LstmNonlinearity",
    "Constant", "ConstantFunction", "GruNonlinearity", "OutputGruNonlinearity",
    "RepeatedAffine", "NaturalGradientRepeatedAffine", "BlockAffine",
    "NaturalGradientBlockAffine", "TimeHeightConvolution", "Convolution", "Maxpooling",
    "StatisticsExtraction", "StatisticsPooling", "Composite",
]
# fmt: on

KINDS = frozenset(f"{name}Component" for name in _NAMES)
"""Types of components that can be evaluated."""

_PARTS = KINDS - {
    f"{name}Component"
    for name in ("Composite", "Tdnn", "TimeHeightConvolution", "StatisticsExtraction",
                 "StatisticsPooling", "Constant", "ConstantFunction", "DropoutMask")
}  # fmt: skip
"""Types of which a CompositeComponent may consist: they compute a frame from the same frame."""


@dataclass(frozen=True)
class Component:
    """A layer of a network.

    Attributes
    ----------
    kind : str
        Type, such as ``TdnnComponent``.
    fields : dict
        Value of each tag: float, bool, np.ndarray, a pair of numbers, or the components of which a
        CompositeComponent consists.
    """

    kind: str
    fields: dict[str, Any]

    def array(self, tag: str, dims: int) -> Floats:
        """Field that is a vector (``dims`` 1) or a matrix (2).

        Raises
        ------
        ValueError
            If there is no such field.
        """
        value: Floats | None = self.fields.get(tag)
        if value is None or getattr(value, "ndim", 0) != dims:
            raise ValueError(f"the {self.kind} has no {'vector' if dims == 1 else 'matrix'} {tag}")
        return value

    def number(self, tag: str, default: float | None = None) -> float:
        """Field that is a number."""
        value = self.fields.get(tag, default)
        if not isinstance(value, int | float):
            raise ValueError(f"the {self.kind} has no number {tag}")
        return float(value)


def time_offsets(component: Component | None) -> list[int]:
    """Frames, from that of the result, that a component puts side by side as its input.

    Raises
    ------
    ValueError
        If there are none, or one is out of range.
    """
    found = [0]
    if component is not None:
        found = [int(offset) for offset in component.fields.get("TimeOffsets", (0,))]
    if not found or max(map(abs, found)) > _FARTHEST:
        raise ValueError("a component has no time offsets, or they are out of range")
    return found


def read_component(reader: KaldiReader) -> Component:
    """Read a component, from its opening to its closing tag.

    Raises
    ------
    ModelError
        If its type is not one of `KINDS`, or it has an unknown tag.
    """
    return _component(reader, KINDS)


def _component(reader: KaldiReader, kinds: frozenset[str]) -> Component:
    opening = reader.token()
    kind = opening.strip("<>")
    if opening != f"<{kind}>":
        raise reader.error(f"expected a component, found {opening!r}")
    if kind not in kinds:
        raise reader.error(f"the network has a component of the unknown type {kind}")
    fields: dict[str, Any] = {}
    for _ in range(_MOST_FIELDS):
        tag = reader.token()
        # An old version wrote the opening tag of this type at its end.
        if tag in (f"</{kind}>", opening):
            return Component(kind, fields)
        name = tag[1:-1]
        if name == "TestMode":
            fields[name] = kind in _BARE_TEST_MODE or reader.boolean()
        elif tag == "<NumComponents>" and kind == "CompositeComponent":
            number = reader.count(10, "components")
            fields[name] = [_component(reader, _PARTS) for _ in range(number)]
        elif tag == "<Offsets>" and kind == "TimeHeightConvolutionComponent":
            fields[name] = reader.integer_pairs()
            fields["TimeOffsets"] = np.unique(fields[name][:, 0])
        elif tag != f"<{name}>" or name not in _READERS:
            raise reader.error(f"the {kind} has the unknown tag {tag!r}")
        else:
            fields[name] = _READERS[name](reader)
    raise reader.error(f"the {kind} has no end")
