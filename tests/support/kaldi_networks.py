"""Small random nnet3 networks, and what they compute, frame by frame from the definition."""

from __future__ import annotations

import functools
import itertools
import re

import numpy as np

random = np.random.default_rng(7)


def normal(*shape):
    scale = 1 / np.sqrt(shape[-1]) if len(shape) == 2 else 1
    return (scale * random.normal(size=shape)).astype(np.float32)


def affine(rows, columns, kind="NaturalGradientAffineComponent"):
    fields = {"MaxChange": 0.75, "LearningRate": 0.001, "LinearParams": normal(rows, columns)}
    fields |= {"BiasParams": normal(rows)}
    if kind == "NaturalGradientAffineComponent":
        fields |= {"RankIn": 20, "RankOut": 80, "UpdatePeriod": 4, "NumSamplesHistory": 2000.0}
        fields |= {"Alpha": 4.0}
    return kind, fields


def tdnn(rows, columns, offsets, bias=True):
    matrix = normal(rows, columns * len(offsets))
    fields = {"MaxChange": 0.75, "L2Regularize": 0.01, "LearningRate": 0.001}
    fields |= {"TimeOffsets": np.array(offsets), "LinearParams": matrix}
    fields |= {"BiasParams": normal(rows) if bias else normal(0), "OrthonormalConstraint": -1.0}
    fields |= {"UseNaturalGradient": True, "NumSamplesHistory": 2000.0, "AlphaInOut": (4.0, 4.0)}
    return "TdnnComponent", fields | {"RankInOut": (20, 80)}


def batch_norm(dim, block):
    fields = {"Dim": dim, "BlockDim": block, "Epsilon": 0.001, "TargetRms": 0.5, "TestMode": False}
    fields |= {"Count": 100.0, "StatsMean": normal(block), "StatsVar": abs(normal(block))}
    return "BatchNormComponent", fields


def simple(kind, dim):
    fields = {"Dim": dim, "ValueAvg": normal(dim), "DerivAvg": normal(dim), "Count": 5.0}
    return f"{kind}Component", fields | {"NumDimsSelfRepaired": 0.0, "NumDimsProcessed": 0.0}


def factored():
    """TDNN-F with an i-vector, batch normalisation and skips, as chain models have."""
    components = {
        "lda": ("FixedAffineComponent", {"LinearParams": normal(13, 13), "BiasParams": normal(13)}),
        "affine1": affine(8, 13),
        "relu1": simple("RectifiedLinear", 8),
        "norm1": batch_norm(8, 4),
        "drop": ("GeneralDropoutComponent", {"Dim": 8, "BlockDim": 8, "TimePeriod": 0,
                                             "DropoutProportion": 0.5, "Continuous": None}),
        "linear2": tdnn(3, 8, [-1, 0], bias=False),
        "affine2": tdnn(8, 3, [0, 2]),
        "linear3": tdnn(3, 8, [-3, 0]),
        "affine3": tdnn(8, 3, [0, 3]),
        "noop": ("NoOpComponent", {"Dim": 8, "BackpropScale": 1.0}),
        "last": affine(5, 8, "AffineComponent"),
        "softmax": simple("LogSoftmax", 5),
    }  # fmt: skip
    lines = [
        "# comment",
        "input-node name=ivector dim=4",
        "input-node name=input dim=3",
        "component-node name=lda component=lda input=Append(Offset(input, -1), input, "
        "Offset(input, 1), ReplaceIndex(ivector, t, 0))",
        "component-node name=affine1 component=affine1 input=lda",
        "component-node name=relu1 component=relu1 input=affine1",
        "component-node name=norm1 component=norm1 input=relu1",
        "component-node name=drop component=drop input=norm1",
        "component-node name=linear2 component=linear2 input=drop",
        "component-node name=affine2 component=affine2 input=linear2",
        "component-node name=noop component=noop input=Sum(Scale(0.66, drop), affine2)",
        "component-node name=linear3 component=linear3 input=noop",
        "component-node name=affine3 component=affine3 input=linear3",
        "component-node name=last component=last input=Sum(affine3, Scale(-0.5, noop))",
        "component-node name=softmax component=softmax input=last",
        "output-node name=output input=softmax objective=linear",
    ]
    return lines, components


def assorted():
    """Most other components and descriptors."""
    components = {
        "affine": affine(12, 9),
        "sigmoid": simple("Sigmoid", 12),
        "tanh": simple("Tanh", 12),
        "normalize": ("NormalizeComponent", {"InputDim": 12, "BlockDim": 6, "TargetRms": 0.5,
                                             "AddLogStddev": True}),
        "permute": ("PermuteComponent", {"ColumnMap": random.permutation(14)}),
        "product": ("ElementwiseProductComponent", {"InputDim": 14, "OutputDim": 7}),
        "pnorm": ("PnormComponent", {"InputDim": 12, "OutputDim": 6}),
        "scale": ("PerElementScaleComponent", {"LearningRate": 0.1, "Params": normal(6)}),
        "bias": ("FixedBiasComponent", {"Bias": normal(6)}),
        "both": ("ScaleAndOffsetComponent", {"LearningRate": 0.1, "Dim": 6, "Scales": normal(3),
                                             "Offsets": normal(3), "UseNaturalGradient": True,
                                             "Rank": 20}),
        "groups": ("SumGroupComponent", {"Sizes": np.array([1, 2, 4])}),
        "blocks": ("SumBlockComponent", {"InputDim": 6, "OutputDim": 3, "Scale": 0.5}),
        "constant": ("ConstantComponent", {"LearningRate": 0.1, "Output": normal(2),
                                           "IsUpdatable": True, "UseNaturalGradient": True}),
        "drop": ("DropoutComponent", {"Dim": 3, "DropoutProportion": 0.25}),
        "linear": ("LinearComponent", {"LearningRate": 0.1, "Params": normal(5, 12),
                                       "UseNaturalGradient": True, "RankInOut": (20, 80),
                                       "Alpha": 4.0, "NumSamplesHistory": 2000.0,
                                       "UpdatePeriod": 4}),
        "softmax": simple("Softmax", 5),
    }  # fmt: skip
    lines = [
        "input-node name=input dim=3",
        "component-node name=affine component=affine input=Append(Offset(input,-2), "
        "IfDefined(Offset(input, 4)), Failover(input, Const(1.0, 3)))",
        "component-node name=sigmoid component=sigmoid input=affine",
        "component-node name=tanh component=tanh input=Offset(affine, -1)",
        "component-node name=normalize component=normalize input=Sum(sigmoid, tanh)",
        "component-node name=permute component=permute input=normalize",
        "component-node name=product component=product input=permute",
        "component-node name=groups component=groups input=product",
        "component-node name=pnorm component=pnorm input=affine",
        "component-node name=scale component=scale input=pnorm",
        "component-node name=bias component=bias input=scale",
        "component-node name=both component=both input=bias",
        "component-node name=blocks component=blocks input=Offset(both, 3)",
        "component-node name=constant component=constant input=input",
        "component-node name=drop component=drop input=blocks",
        "dim-range-node name=range input-node=both dim-offset=2 dim=2",
        "component-node name=linear component=linear input=Append(groups, drop, range, "
        "constant, Const(0.5, 2))",
        "component-node name=softmax component=softmax input=linear",
        "output-node name=output input=softmax",
    ]
    return lines, components


def recurrent():
    """An LSTM whose cells and output return after three frames."""
    components = {
        "gates": affine(8, 5),
        "lstm": ("LstmNonlinearityComponent", {
            "LearningRate": 0.1, "Params": normal(3, 2), "ValueAvg": normal(5, 2),
            "DerivAvg": normal(5, 2), "SelfRepairConfig": normal(10), "SelfRepairProb": normal(5),
            "UseDropout": False, "Count": 3.0}),
        "trunc": ("BackpropTruncationComponent", {
            "Dim": 2, "Scale": 0.9, "ClippingThreshold": 30.0, "ZeroingThreshold": 15.0,
            "ZeroingInterval": 20, "RecurrenceInterval": 3, "NumElementsClipped": 0.0,
            "NumElementsZeroed": 0.0, "NumElementsProcessed": 0.0, "NumZeroingBoundaries": 0.0}),
        "last": affine(4, 2),
    }  # fmt: skip
    lines = [
        "input-node name=input dim=3",
        "component-node name=gates component=gates input=Append(Offset(input, 1), "
        "IfDefined(Offset(trunc, -3)))",
        "component-node name=lstm component=lstm input=Append(gates, IfDefined(Offset(cell, -3)))",
        "dim-range-node name=cell input-node=lstm dim-offset=0 dim=2",
        "dim-range-node name=shown input-node=lstm dim-offset=2 dim=2",
        "component-node name=trunc component=trunc input=shown",
        "component-node name=last component=last input=trunc",
        "output-node name=output input=last",
    ]
    return lines, components


def convolved():
    """Convolutions over time and height and within a frame, pooling, and affine blocks."""
    offsets = np.array([(t, h) for t in (-1, 0, 2) for h in (-1, 0, 1)])
    time_height = {
        "LearningRate": 0.1, "Model": None, "ConvolutionModel": None, "NumFiltersIn": 2,
        "NumFiltersOut": 3, "HeightIn": 4, "HeightOut": 2, "HeightSubsampleOut": 2,
        "Offsets": offsets, "RequiredTimeOffsets": np.array([0]), "/ConvolutionModel": None,
        "LinearParams": normal(3, 18), "BiasParams": normal(3), "MaxMemoryMb": 200.0,
        "UseNaturalGradient": True, "NumMinibatchesHistory": 4.0, "AlphaInOut": (4.0, 4.0),
        "RankInOut": (20, 80)}  # fmt: skip
    frame = {"LearningRate": 0.1, "InputXDim": 3, "InputYDim": 4, "InputZDim": 2, "FiltXDim": 2,
             "FiltYDim": 2, "FiltXStep": 1, "FiltYStep": 2}  # fmt: skip
    components = {
        "affine": affine(8, 6),
        "conv": ("TimeHeightConvolutionComponent", time_height),
        "wide": affine(24, 6),
        "zyx": ("ConvolutionComponent", {**frame, "InputVectorization": 1,
                                         "FilterParams": normal(3, 8), "BiasParams": normal(3)}),
        "yzx": ("ConvolutionComponent", {**frame, "InputVectorization": 0,
                                         "FilterParams": normal(3, 8), "BiasParams": normal(3)}),
        "pool": ("MaxpoolingComponent", {"InputXDim": 2, "InputYDim": 2, "InputZDim": 3,
                                         "PoolXSize": 2, "PoolYSize": 1, "PoolZSize": 2,
                                         "PoolXStep": 1, "PoolYStep": 1, "PoolZStep": 1}),
        "repeated": ("RepeatedAffineComponent", {"LearningRate": 0.1, "NumRepeats": 3,
                                                 "LinearParams": normal(2, 4),
                                                 "BiasParams": normal(2)}),
        "blocks": ("BlockAffineComponent", {"LearningRate": 0.1, "NumBlocks": 2,
                                            "LinearParams": normal(4, 3),
                                            "BiasParams": normal(4)}),
        "composite": ("CompositeComponent", {"MaxRowsProcess": 2048, "NumComponents": [
            affine(5, 8), simple("Tanh", 5), affine(5, 5)]}),
    }  # fmt: skip
    lines = [
        "input-node name=input dim=3",
        "component-node name=affine component=affine input=Append(input, Offset(input, 1))",
        "component-node name=conv component=conv input=affine",
        "component-node name=wide component=wide input=conv",
        "component-node name=zyx component=zyx input=wide",
        "component-node name=yzx component=yzx input=Offset(wide, -3)",
        "component-node name=pool component=pool input=zyx",
        "component-node name=repeated component=repeated input=yzx",
        "component-node name=blocks component=blocks input=repeated",
        "component-node name=composite component=composite input=Append(pool, blocks)",
        "output-node name=output input=composite",
    ]
    return lines, components


def gated():
    """A projected GRU and an OPGRU, which return after three frames."""
    averages = {"ValueAvg": normal(3), "DerivAvg": normal(3), "SelfRepairTotal": 0.0, "Count": 1.0,
                "SelfRepairThreshold": 0.2, "SelfRepairScale": 1e-5, "Alpha": 4.0}  # fmt: skip
    components = {
        "gates": affine(5, 5),
        "sigmoid": simple("Sigmoid", 5),
        "part": affine(3, 3),
        "gru": ("GruNonlinearityComponent", {
            "MaxChange": 0.75, "LearningRate": 0.1, "CellDim": 3, "RecurrentDim": 2,
            "w_h": normal(3, 2), **averages, "RankInOut": (20, 80), "UpdatePeriod": 4}),
        "project": affine(2, 3),
        "gate": affine(3, 2),
        "sigmoid2": simple("Sigmoid", 3),
        "part2": affine(3, 2),
        "opgru": ("OutputGruNonlinearityComponent", {
            "LearningRate": 0.1, "CellDim": 3, "w_h": normal(3), **averages, "Rank": 8,
            "UpdatePeriod": 4}),
        "last": affine(4, 6),
    }  # fmt: skip
    lines = [
        "input-node name=input dim=3",
        "component-node name=gates component=gates input=Append(Offset(input, 1), "
        "IfDefined(Offset(shown, -3)))",
        "component-node name=sigmoid component=sigmoid input=gates",
        "component-node name=part component=part input=input",
        "component-node name=gru component=gru input=Append(sigmoid, part, "
        "IfDefined(Offset(cell, -3)), IfDefined(Offset(shown, -3)))",
        "dim-range-node name=cell input-node=gru dim-offset=3 dim=3",
        "component-node name=project component=project input=cell",
        "dim-range-node name=shown input-node=project dim-offset=0 dim=2",
        "component-node name=gate component=gate input=project",
        "component-node name=sigmoid2 component=sigmoid2 input=gate",
        "component-node name=part2 component=part2 input=project",
        "component-node name=opgru component=opgru input=Append(sigmoid2, part2, "
        "IfDefined(Offset(cell2, -3)))",
        "dim-range-node name=cell2 input-node=opgru dim-offset=3 dim=3",
        "component-node name=last component=last input=opgru",
        "output-node name=output input=last",
    ]
    return lines, components


class Reference:
    """Values of nodes by recursion over the description, one frame at a time.

    Inputs beyond the edges are those at the edges; other nodes are 0 before ``start``.
    """

    def __init__(self, lines, components, inputs, start=None):
        self.components, self.inputs, self.start = components, inputs, start
        self.nodes = {}
        for line in lines:
            if not line.startswith("#"):
                self.nodes[re.search(r"name=(\S+)", line)[1]] = line
        self.node = functools.cache(self._node)

    def _node(self, name, t):
        line = self.nodes[name]
        if line.startswith("input-node"):
            rows = self.inputs[name]
            return rows[min(max(t, 0), len(rows) - 1)].astype(np.float64)
        if line.startswith("dim-range-node"):
            first, dim = (int(re.search(rf"{key}=(\d+)", line)[1]) for key in ("offset", " dim"))
            if self.start is not None and t < self.start:
                return np.zeros(dim)
            return self.node(re.search(r"input-node=(\S+)", line)[1], t)[first : first + dim]
        text = re.search(r"input=(.*?)(?: objective=\S+)?$", line)[1]
        if line.startswith("output-node"):
            return self.descriptor(text, t)
        kind, fields = self.components[re.search(r"component=(\S+)", line)[1]]
        if self.start is not None and t < self.start:
            return np.zeros(fields["Dim"])
        offsets = fields.get("TimeOffsets", [0])
        if kind == "TimeHeightConvolutionComponent":
            offsets = sorted({time for time, _ in fields["Offsets"]})
        x = np.concatenate([self.descriptor(text, t + int(offset)) for offset in offsets])
        return component(kind, fields, x)

    def descriptor(self, text, t):
        found = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", text)
        if not found:
            return self.node(text.strip(), t)
        function, parts = found[1], split(found[2])
        if function == "Append":
            return np.concatenate([self.descriptor(part, t) for part in parts])
        if function == "Sum":
            return sum(self.descriptor(part, t) for part in parts)
        if function == "Scale":
            return float(parts[0]) * self.descriptor(parts[1], t)
        if function == "Const":
            return np.full(int(parts[1]), float(parts[0]))
        if function == "Offset":
            return self.descriptor(parts[0], t + int(parts[1]))
        return self.descriptor(parts[0], t)


def split(text):
    """Arguments between the commas that are not in brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def component(kind, fields, x):  # noqa: C901 - a case for each component
    if kind in IMAGES:
        return IMAGES[kind](fields, x)
    if "LinearParams" in fields:
        y = fields["LinearParams"].astype(np.float64) @ x
        return y + fields["BiasParams"] if len(fields["BiasParams"]) else y
    match kind.removesuffix("Component"):
        case "Linear":
            return fields["Params"].astype(np.float64) @ x
        case "BatchNorm":
            deviation = np.sqrt(fields["StatsVar"] + fields["Epsilon"])
            blocks = x.reshape(-1, fields["BlockDim"]) - fields["StatsMean"]
            return (blocks / deviation * fields["TargetRms"]).reshape(-1)
        case "RectifiedLinear":
            return np.where(x > 0, x, 0)
        case "Sigmoid":
            return sigmoid(x)
        case "Tanh":
            return np.tanh(x)
        case "Softmax":
            return np.exp(x) / np.exp(x).sum()
        case "LogSoftmax":
            return x - x.max() - np.log(np.exp(x - x.max()).sum())
        case "NoOp" | "GeneralDropout":
            return x
        case "Dropout":
            return x * (1 - fields["DropoutProportion"])
        case "BackpropTruncation":
            return x * fields["Scale"]
        case "Normalize":
            rows = []
            for block in x.reshape(-1, fields["BlockDim"]):
                rms = np.sqrt((block**2).mean())
                rows += [*(block / rms * fields["TargetRms"]), np.log(rms)]
            return np.array(rows)
        case "Permute":
            return np.array([x[column] for column in fields["ColumnMap"]])
        case "ElementwiseProduct":
            return x[: fields["OutputDim"]] * x[fields["OutputDim"] :]
        case "Pnorm":
            return np.array([np.hypot(*pair) for pair in x.reshape(-1, 2)])
        case "PerElementScale":
            return x * fields["Params"]
        case "FixedBias":
            return x + fields["Bias"]
        case "ScaleAndOffset":
            return (x.reshape(2, 3) * fields["Scales"] + fields["Offsets"]).reshape(-1)
        case "SumGroup":
            return np.array([x[0], x[1:3].sum(), x[3:].sum()])
        case "SumBlock":
            return fields["Scale"] * (x[:3] + x[3:])
        case "Constant":
            return fields["Output"].astype(np.float64)
        case "LstmNonlinearity":
            i, f, c, o, before = x.reshape(5, -1)
            peephole = fields["Params"].astype(np.float64)
            take, keep = sigmoid(i + peephole[0] * before), sigmoid(f + peephole[1] * before)
            cell = keep * before + take * np.tanh(c)
            return np.concatenate([cell, sigmoid(o + peephole[2] * cell) * np.tanh(cell)])
        case "GruNonlinearity":
            z, r, part, cell, shown = np.split(x, np.cumsum([3, 2, 3, 3]))
            new = np.tanh(part + fields["w_h"].astype(np.float64) @ (shown * r))
            return np.concatenate([new, (1 - z) * new + z * cell])
        case "OutputGruNonlinearity":
            z, part, cell = x.reshape(3, -1)
            new = np.tanh(part + fields["w_h"] * cell)
            return np.concatenate([new, (1 - z) * new + z * cell])
        case "Composite":
            for part in fields["NumComponents"]:
                x = component(*part, x)
            return x
    raise AssertionError(kind)


def time_height(f, x):
    """Convolution by its definition: a sum over pairs of offsets in time and height."""
    times = sorted({time for time, _ in f["Offsets"]})
    image = x.reshape(len(times), f["HeightIn"], f["NumFiltersIn"])
    weights = f["LinearParams"].reshape(f["NumFiltersOut"], len(f["Offsets"]), f["NumFiltersIn"])
    result = np.tile(f["BiasParams"].astype(np.float64), (f["HeightOut"], 1))
    for height in range(f["HeightOut"]):
        for number, (time, offset) in enumerate(f["Offsets"]):
            row = height * f["HeightSubsampleOut"] + offset
            if 0 <= row < f["HeightIn"]:
                result[height] += weights[:, number] @ image[times.index(time), row]
    return result.reshape(-1)


def convolution(f, x):
    """Filters at each place of an image ``(x, y, z)``, or stored as ``(x, z, y)``."""
    dims = f["InputXDim"], f["InputYDim"], f["InputZDim"]
    image = x.reshape(dims)
    if f["InputVectorization"] == 0:
        image = x.reshape(dims[0], dims[2], dims[1]).transpose(0, 2, 1)
    rows = []
    for left in range(0, dims[0] - f["FiltXDim"] + 1, f["FiltXStep"]):
        for top in range(0, dims[1] - f["FiltYDim"] + 1, f["FiltYStep"]):
            patch = image[left : left + f["FiltXDim"], top : top + f["FiltYDim"]]
            rows.append(f["FilterParams"].astype(np.float64) @ patch.reshape(-1) + f["BiasParams"])
    return np.concatenate(rows)


def max_pooling(f, x):
    dims, sizes, steps = (
        [f[name.format(axis)] for axis in "XYZ"]
        for name in ("Input{}Dim", "Pool{}Size", "Pool{}Step")
    )
    image = x.reshape(dims)
    places = (range(0, d - n + 1, s) for d, n, s in zip(dims, sizes, steps, strict=True))
    return np.array(
        [
            image[tuple(slice(p, p + n) for p, n in zip(place, sizes, strict=True))].max()
            for place in itertools.product(*places)
        ]
    )


def repeated_affine(f, x):
    matrix = f["LinearParams"].astype(np.float64)
    blocks = x.reshape(f["NumRepeats"], -1)
    return np.concatenate([matrix @ block + f["BiasParams"] for block in blocks])


def block_affine(f, x):
    blocks = np.split(x, f["NumBlocks"])
    matrices = np.split(f["LinearParams"].astype(np.float64), f["NumBlocks"])
    parts = [matrix @ block for matrix, block in zip(matrices, blocks, strict=True)]
    return np.concatenate(parts) + f["BiasParams"]


IMAGES = {
    "TimeHeightConvolutionComponent": time_height,
    "ConvolutionComponent": convolution,
    "MaxpoolingComponent": max_pooling,
    "RepeatedAffineComponent": repeated_affine,
    "BlockAffineComponent": block_affine,
}
