"""A network that must be computed in windows, and its values in one by recursion."""

from __future__ import annotations

import functools
import re

import numpy as np

from tests.support.kaldi_networks import affine, component, normal, simple, split


def _lstm(cells):
    fields = {"LearningRate": 0.1, "Params": normal(3, cells), "ValueAvg": normal(5, cells)}
    fields |= {"DerivAvg": normal(5, cells), "SelfRepairConfig": normal(10)}
    fields |= {"SelfRepairProb": normal(5), "UseDropout": False, "Count": 3.0}
    return "LstmNonlinearityComponent", fields


def _lstm_lines(name, delay, before):
    """Lines of an LSTM; ``before`` is what its gates read of its output."""
    return [
        f"component-node name=gates-{name} component=gates-{name} input=Append(relu, {before})",
        f"component-node name=lstm-{name} component=lstm-{name} "
        f"input=Append(gates-{name}, IfDefined(Offset(cell-{name}, {delay})))",
        f"dim-range-node name=cell-{name} input-node=lstm-{name} dim-offset=0 dim=2",
        f"dim-range-node name=out-{name} input-node=lstm-{name} dim-offset=2 dim=2",
    ]


def bidirectional():
    """LSTMs in both directions, statistics, and descriptors that choose frames."""
    components = {
        "first": affine(6, 10),
        "relu": simple("RectifiedLinear", 6),
        "gates-f": affine(8, 8),
        "lstm-f": _lstm(2),
        "gates-b": affine(8, 8),
        "lstm-b": _lstm(2),
        "extract": ("StatisticsExtractionComponent", {
            "InputDim": 6, "InputPeriod": 1, "OutputPeriod": 3, "IncludeVarinance": True}),
        "pool": ("StatisticsPoolingComponent", {
            "InputDim": 13, "InputPeriod": 3, "LeftContext": 6, "RightContext": 9,
            "NumLogCountFeatures": 1, "OutputStddevs": True, "VarianceFloor": 0.01}),
        "constant": ("ConstantFunctionComponent", {
            "InputDim": 6, "LearningRate": 0.1, "Output": normal(2), "IsUpdatable": True,
            "UseNaturalGradient": True}),
        "last": affine(5, 37),
    }  # fmt: skip
    lines = [
        "input-node name=ivector dim=4",
        "input-node name=input dim=3",
        "component-node name=first component=first input=Append(Offset(input, -1), "
        "Scale(0.5, input), ReplaceIndex(ivector, t, 0))",
        "component-node name=relu component=relu input=first",
        "dim-range-node name=start input-node=first dim-offset=1 dim=2",
        *_lstm_lines("f", -3, "Failover(Offset(out-f, -3), start)"),
        *_lstm_lines("b", 3, "IfDefined(Offset(out-b, 3))"),
        "component-node name=extract component=extract input=relu",
        "component-node name=pool component=pool input=extract",
        "component-node name=constant component=constant input=relu",
        "component-node name=last component=last input=Append(out-f, out-b, Round(pool, 3), "
        "Switch(relu, Offset(first, 1), relu, first, Offset(relu, 2)), "
        "Failover(Offset(relu, -20), first), IfDefined(Sum(Offset(relu, 14), first)), constant)",
        "output-node name=output input=last",
    ]
    return lines, components


class WindowReference:
    """Values of nodes by recursion, where the input has the frames from ``first`` on only."""

    def __init__(self, lines, components, rows, first, ivector):
        self.components, self.rows, self.first, self.ivector = components, rows, first, ivector
        self.nodes = {re.search(r"name=(\S+)", line)[1]: line for line in lines}
        self.is_defined = functools.cache(self._is_defined)
        self.value = functools.cache(self._value)

    def _parts(self, name):
        """Component and descriptor of a node, and at which frames it reads the descriptor."""
        line = self.nodes[name]
        text = re.search(r"input=(.*)$", line)
        if line.startswith("dim-range-node"):
            return None, re.search(r"input-node=(\S+)", line)[1]
        found = re.search(r"component=(\S+)", line)
        return (self.components[found[1]] if found else None), text[1]

    @staticmethod
    def _taps(component, t):
        kind, f = component or ("", {})
        if kind == "StatisticsExtractionComponent":
            begin = t // f["OutputPeriod"] * f["OutputPeriod"]
            return range(begin, begin + f["OutputPeriod"], f["InputPeriod"])
        if kind == "StatisticsPoolingComponent":
            return range(t - f["LeftContext"], t + f["RightContext"] + 1, f["InputPeriod"])
        return [t]

    def _is_defined(self, name, t):
        if name == "input":
            return self.first <= t < self.first + len(self.rows)
        if name == "ivector":
            return True
        component, text = self._parts(name)
        found = [self.has(text, tap) for tap in self._taps(component, t)]
        if component and component[0] == "StatisticsPoolingComponent":
            return t % component[1]["InputPeriod"] == 0 and any(found)
        return any(found)

    def _value(self, name, t):
        if name == "input":
            return self.rows[t - self.first].astype(np.float64)
        if name == "ivector":
            return self.ivector.astype(np.float64)
        part, text = self._parts(name)
        x = [self.of(text, tap) for tap in self._taps(part, t) if self.has(text, tap)]
        if part is None:
            found = re.search(r"dim-offset=(\d+) dim=(\d+)", self.nodes[name])
            if not found:
                return x[0]
            return x[0][int(found[1]) : int(found[1]) + int(found[2])]
        kind, fields = part
        if kind == "StatisticsExtractionComponent":
            return np.concatenate([[len(x)], np.sum(x, axis=0), np.sum(np.square(x), axis=0)])
        if kind == "StatisticsPoolingComponent":
            total = np.sum(x, axis=0)
            mean, square = np.split(total[1:] / total[0], 2)
            deviation = np.sqrt(np.maximum(square - mean**2, fields["VarianceFloor"]))
            return np.concatenate([[np.log(total[0])], mean, deviation])
        if kind == "ConstantFunctionComponent":
            return fields["Output"].astype(np.float64)
        return component(kind, fields, x[0])

    def _call(self, text, t):
        """Function of a descriptor, its arguments, and the frame at which it reads them."""
        found = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", text)
        if not found:
            return "", [text.strip()], t
        function, parts = found[1], split(found[2])
        if function == "Offset":
            return function, parts[:1], t + int(parts[1])
        if function == "Round":
            return function, parts[:1], t // int(parts[1]) * int(parts[1])
        if function == "ReplaceIndex":
            return function, parts[:1], int(parts[2])
        if function == "Switch":
            return function, [parts[t % len(parts)]], t
        return function, parts[1:] if function == "Scale" else parts, t

    def has(self, text, t):
        """Whether a descriptor can be computed."""
        function, parts, moved = self._call(text, t)
        if not function:
            return self.is_defined(parts[0], t)
        if function == "IfDefined":
            return True
        return (any if function == "Failover" else all)(self.has(part, moved) for part in parts)

    def width(self, text):
        """Columns of a descriptor, for what is undefined: those of its first term."""
        while "(" in text:
            text = split(re.fullmatch(r"\s*\w+\((.*)\)\s*", text)[1])[0]
        return {"out-f": 2, "out-b": 2, "cell-f": 2, "cell-b": 2, "relu": 6}[text.strip()]

    def of(self, text, t):
        """Value of a descriptor."""
        function, parts, moved = self._call(text, t)
        if not function:
            return self.value(parts[0], t)
        if function == "IfDefined" and not self.has(parts[0], t):
            return np.zeros(self.width(parts[0]))
        if function == "Failover":
            parts = [next(part for part in parts if self.has(part, t))]
        values = [self.of(part, moved) for part in parts]
        if function == "Append":
            return np.concatenate(values)
        if function == "Sum":
            return sum(values)
        if function == "Scale":
            return float(re.search(r"\((.*?),", text)[1]) * values[0]
        return values[0]
