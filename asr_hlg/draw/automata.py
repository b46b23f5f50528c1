"""Pictures of automata, drawn by graphviz."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from asr_hlg.draw.formats import FORMATS, checked
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph
from asr_hlg.versions import optional

if TYPE_CHECKING:
    import k2

_EDGE = {"fontname": "Helvetica", "fontsize": "12", "arrowsize": "0.7"}
_NODE = {"fontname": "Helvetica", "fontsize": "12", "width": "0.4", "margin": "0.02"}


class Style(TypedDict, total=False):
    """Keyword arguments of `fsa` that do not depend on the automaton."""

    probabilities: bool
    title: str
    max_arcs: int


def fsa(
    automaton: k2.Fsa | Arcs | DecodingGraph,
    path: str | Path,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    probabilities: bool = False,
    title: str = "",
    max_arcs: int = 500,
) -> None:
    """Draw an automaton: arcs as ``input:output/score``, final states as double circles.

    Parameters
    ----------
    automaton : k2.Fsa, Arcs or DecodingGraph
        State 0 is the start. Scores of 0 (probability 1) are not shown.
    path : str or Path
        ``.svg``, ``.png``, ``.pdf``, or ``.dot`` for graphviz's own text.
    inputs, outputs : sequence of str, optional
        Names of the labels by id; by default the attached symbol tables, otherwise numbers.
    probabilities : bool
        Show probabilities instead of natural-log scores.
    title : str
        A line below the picture.
    max_arcs : int
        Larger automata are refused, since their pictures are illegible.

    Raises
    ------
    AsrHlgError
        If graphviz is not installed.
    OptionError
        If there are too many arcs, or the suffix is unknown.
    """
    path = checked(path, (*FORMATS, ".dot"))
    if isinstance(automaton, DecodingGraph):
        inputs = automaton.columns if inputs is None else inputs
        outputs = automaton.word_names if outputs is None else outputs
        automaton = automaton.fsa
    arcs, finals = _unpack(automaton)
    if len(arcs) > max_arcs:
        raise OptionError(
            f"a picture of {len(arcs):,} arcs would be illegible",
            remedy=f"draw something smaller, such as one sentence, or raise max_arcs={max_arcs}",
        )
    names = _Names(
        inputs or _attached(automaton, "labels_sym"),
        outputs or _attached(automaton, "aux_labels_sym"),
        probabilities,
    )
    dot = _digraph(arcs, finals, names, title)
    if path.suffix == ".dot":
        path.write_text(dot.source, encoding="utf-8")
    else:
        path.write_bytes(_render(dot, path.suffix[1:]))


class _Arc(NamedTuple):
    """Arc with its output labels."""

    src: int
    dst: int
    label: int
    output: tuple[int, ...] | None  # None in an acceptor
    score: float


class _Final(NamedTuple):
    """Final state with its output labels and final score."""

    state: int
    output: tuple[int, ...]
    score: float


class _Names(NamedTuple):
    """Symbol tables and notation of scores."""

    inputs: Sequence[str] | None
    outputs: Sequence[str] | None
    probabilities: bool

    def arc(self, arc: _Arc) -> str:
        """Text of an arc."""
        text = _name(self.inputs, arc.label)
        if arc.output is not None:
            text += ":" + self.words(arc.output)
        return text + self.score(arc.score)

    def words(self, output: tuple[int, ...]) -> str:
        """Text of output labels."""
        return " ".join(_name(self.outputs, label) for label in output) or "ε"

    def score(self, score: float) -> str:
        """Text of a score with the slash before it; empty for a score of 0."""
        if abs(score) < 5e-4:
            return ""
        return f"/{math.exp(score):.3g}" if self.probabilities else f"/{score:.2f}"


def _name(names: Sequence[str] | None, label: int) -> str:
    """Symbol of a label."""
    if names is None:
        return str(label)
    return "ε" if names[label] == symbols.EPS else names[label]


def _attached(automaton: k2.Fsa | Arcs, attribute: str) -> list[str] | None:
    """Symbol table that is an attribute of the automaton."""
    table = getattr(automaton, attribute, None)
    return None if table is None else symbols.names(table)


def _unpack(automaton: k2.Fsa | Arcs) -> tuple[list[_Arc], list[_Final]]:
    """Arcs and final states of an automaton; ragged output labels become tuples."""
    if isinstance(automaton, Arcs):
        columns = (automaton.src, automaton.dst, automaton.ilabel, automaton.score)
        acceptor = np.array_equal(automaton.ilabel, automaton.olabel)
        outputs = [(label,) if label else () for label in automaton.olabel.tolist()]
        ends = np.flatnonzero(np.isfinite(automaton.final)).tolist()
        finals = [_Final(state, (), float(automaton.final[state])) for state in ends]
    else:
        values = automaton.arcs.values().cpu()
        columns = (*values[:, :3].T, automaton.scores.detach().cpu())
        aux = getattr(automaton, "aux_labels", None)
        acceptor = aux is None
        is_ragged = hasattr(aux, "num_axes")
        items = values[:, 2:3] if aux is None else aux if is_ragged else aux[:, None]
        outputs = [tuple(label for label in row if label > 0) for row in items.tolist()]
        finals = []
    arcs = []
    rows = zip(*(column.tolist() for column in columns), outputs, strict=True)
    for src, dst, label, score, output in rows:
        if label == -1:
            finals.append(_Final(src, output if not acceptor else (), score))
        else:
            arcs.append(_Arc(src, dst, label, None if acceptor else output, score))
    return arcs, finals


def _digraph(arcs: list[_Arc], finals: list[_Final], names: _Names, title: str) -> Any:
    """Graphviz's description of the picture."""
    graphviz = _graphviz()
    dot = graphviz.Digraph(node_attr=_NODE, edge_attr=_EDGE)
    dot.attr(rankdir="LR", label=title, fontname="Helvetica", ranksep="0.35", nodesep="0.3")
    ends = {final.state: final for final in finals}
    for state in sorted({arc.src for arc in arcs} | {arc.dst for arc in arcs} | set(ends) | {0}):
        text = str(state)
        if state in ends:
            output = names.words(ends[state].output)
            text += ("" if output == "ε" else f":{output}") + names.score(ends[state].score)
            text = text.replace("/", "\n/")  # two short lines keep the circle small
        shape = "doublecircle" if state in ends else "circle"
        dot.node(str(state), graphviz.escape(text), shape=shape, penwidth="1" if state else "2")
    # Parallel arcs, such as CTC's self-loops, are drawn as one edge with a line of text each.
    parallel = defaultdict(list)
    for arc in arcs:
        parallel[arc.src, arc.dst].append(names.arc(arc))
    for (src, dst), texts in parallel.items():
        dot.edge(str(src), str(dst), label=graphviz.escape("\n".join(texts)))
    return dot


def _graphviz() -> Any:
    """The package graphviz, which is an optional dependency."""
    return optional("graphviz", purpose="drawing automata", extra="draw")


def _render(dot: Any, format: str) -> bytes:
    """Picture in one of the formats of graphviz."""
    try:
        picture: bytes = dot.pipe(format=format)
    except _graphviz().ExecutableNotFound:
        raise AsrHlgError(
            "drawing automata needs graphviz's program dot",
            remedy="apt install graphviz, or write a .dot file",
        ) from None
    return picture
