"""Kaldi's nnet3 networks: nodes that apply components to descriptors of other nodes.

``final.mdl`` of a hybrid system holds a transition model, the network, and the pdfs' priors, which
chain models lack. Format: ``nnet3/nnet-nnet.h`` and ``nnet3/am-nnet-simple.h`` in Kaldi.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr_hlg.acoustic.kaldi.components import Component, read_component
from asr_hlg.acoustic.kaldi.descriptors import Descriptor, parse
from asr_hlg.acoustic.kaldi.reader import Floats, KaldiReader, read_file
from asr_hlg.acoustic.kaldi.transition_model import TransitionModel, transition_model

_MOST_LINES = 100_000


@dataclass(frozen=True)
class Node:
    """Node of a network.

    Attributes
    ----------
    kind : str
        ``input``, ``component``, ``output`` or ``dim-range``.
    input : Descriptor or None
        What it is computed from; None for inputs.
    component : str
        Name of the component it applies; empty if none.
    dim : int
        Columns of an input or of a range.
    first : int
        First column of a range.
    """

    kind: str
    input: Descriptor | None = None
    component: str = ""
    dim: int = 0
    first: int = 0


@dataclass(frozen=True)
class Nnet3:
    """A network.

    Attributes
    ----------
    nodes : dict of Node
        By name.
    components : dict of Component
        By name.
    """

    nodes: dict[str, Node]
    components: dict[str, Component]


@dataclass(frozen=True)
class HybridModel:
    """Content of ``final.mdl``.

    Attributes
    ----------
    transitions : TransitionModel
    network : Nnet3
    priors : np.ndarray
        float32 ``(num_pdfs,)``; empty for chain models.
    """

    transitions: TransitionModel
    network: Nnet3
    priors: Floats


def read_hybrid_model(path: str | Path) -> HybridModel:
    """Read ``final.mdl``, binary or text.

    Raises
    ------
    ModelError
        If the file is damaged, has an unknown component, or holds another kind of model.
    """
    return read_file(Path(path), _hybrid_model)


def read_network(path: str | Path) -> Nnet3:
    """Read a network without a transition model: ``final.raw``."""
    return read_file(Path(path), _network)


def _hybrid_model(reader: KaldiReader) -> HybridModel:
    transitions = transition_model(reader)
    if reader.peek() in ("<DIMENSION>", "<Dimension>"):
        raise reader.error("holds Gaussian mixtures where an nnet3 network is expected")
    network = _network(reader)
    reader.expect("<LeftContext>")
    reader.integer()  # computed from the network instead
    reader.expect("<RightContext>")
    reader.integer()
    reader.expect("<Priors>")
    return HybridModel(transitions, network, reader.vector())


def _network(reader: KaldiReader) -> Nnet3:
    reader.expect("<Nnet3>")
    lines = _lines(reader)
    reader.expect("<NumComponents>")
    number = reader.count(16, "components")
    components: dict[str, Component] = {}
    for _ in range(number):
        reader.expect("<ComponentName>")
        name = reader.token()
        components[name] = read_component(reader)
    reader.expect("</Nnet3>")
    try:
        return Nnet3(_nodes(lines, components), components)
    except ValueError as error:
        raise reader.error(str(error)) from None


def _lines(reader: KaldiReader) -> list[str]:
    """Lines that describe the nodes, which a blank line ends."""
    lines: list[str] = []
    for _ in range(_MOST_LINES):
        line = reader.line()
        if line.strip():
            lines.append(line)
        elif lines:
            return lines
    raise reader.error("the description of the network has no end")


def _nodes(lines: list[str], components: dict[str, Component]) -> dict[str, Node]:
    rows = [_assignments(line) for line in lines if not line.lstrip().startswith("#")]
    names = {row.get("name", ""): row for row in rows}
    nodes: dict[str, Node] = {}
    for row in rows:
        name = row.get("name")
        if not name:
            raise ValueError("a node of the network has no name")
        try:
            nodes[name] = _node(row, names, components)
        except (ValueError, KeyError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"node {name!r} of the network: {reason}") from None
    if not {"input", "output"} <= nodes.keys():
        raise ValueError("the network has no node 'input' or no node 'output'")
    return nodes


def _node(
    row: dict[str, str], names: dict[str, dict[str, str]], components: dict[str, Component]
) -> Node:
    kind = row["kind"]
    if kind == "input-node":
        return Node("input", dim=int(row["dim"]))
    if kind == "dim-range-node":
        source = parse(row["input-node"], names)
        return Node("dim-range", source, dim=int(row["dim"]), first=int(row["dim-offset"]))
    if kind == "output-node":
        return Node("output", parse(row["input"], names))
    if kind != "component-node":
        raise ValueError(f"unknown kind {kind!r}")
    if row["component"] not in components:
        raise ValueError(f"there is no component {row['component']!r}")
    return Node("component", parse(row["input"], names), row["component"])


def _assignments(line: str) -> dict[str, str]:
    """``kind`` and the values of a line such as ``component-node name=a component=b input=c``.

    A value may contain spaces between brackets.
    """
    kind, _, rest = line.strip().partition(" ")
    values = {"kind": kind}
    name, depth, begin = "", 0, 0
    for place, letter in enumerate(rest + " "):
        depth += (letter == "(") - (letter == ")")
        if letter == "=" and not depth and not name:
            name, begin = rest[begin:place].strip(), place + 1
        elif letter == " " and not depth and name:
            values[name] = rest[begin:place]
            name, begin = "", place + 1
    return values
