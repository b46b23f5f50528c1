"""Automata drawn by graphviz."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import k2
import numpy as np
import torch

from asr_hlg.draw.formats import FORMATS, checked
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph

_EDGE = {"fontname": "Helvetica", "fontsize": "12", "arrowsize": "0.7"}
_NODE = {"fontname": "Helvetica", "fontsize": "12", "width": "0.4", "margin": "0.02"}


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
    """Draw an automaton: ``input:output/score`` on arcs, double circles for final states.

    Parameters
    ----------
    automaton : k2.Fsa, Arcs or DecodingGraph
        State 0 is the start. A score of 0 (probability 1) is left out.
    path : str or Path
        ``.svg``, ``.png``, ``.pdf``, or ``.dot`` for graphviz's own text.
    inputs, outputs : sequence of str, optional
        Names of the labels by id. By default the symbol tables that are attached, else numbers.
    probabilities : bool
        Show exp(score) instead of the natural logarithm.
    title : str
        A line below the picture.
    max_arcs : int
        A larger automaton is refused: nobody could read its picture.

    Raises
    ------
    AsrHlgError
        If graphviz is missing.
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
            f"a picture of {len(arcs):,} arcs could not be read",
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
    src: int
    dst: int
    label: int
    output: tuple[int, ...] | None  # None in an acceptor
    score: float


class _Final(NamedTuple):
    state: int
    output: tuple[int, ...]
    score: float


class _Names(NamedTuple):
    """How labels and scores are written."""

    inputs: Sequence[str] | None
    outputs: Sequence[str] | None
    probabilities: bool

    def arc(self, arc: _Arc) -> str:
        text = _name(self.inputs, arc.label)
        if arc.output is not None:
            text += ":" + self.words(arc.output)
        return text + self.score(arc.score)

    def words(self, output: tuple[int, ...]) -> str:
        return " ".join(_name(self.outputs, label) for label in output) or "ε"

    def score(self, score: float) -> str:
        if abs(score) < 5e-4:
            return ""
        return f"/{math.exp(score):.3g}" if self.probabilities else f"/{score:.2f}"


def _name(names: Sequence[str] | None, label: int) -> str:
    if names is None:
        return str(label)
    return "ε" if names[label] == symbols.EPS else names[label]


def _attached(automaton, attribute: str) -> list[str] | None:
    table = getattr(automaton, attribute, None)
    return None if table is None else symbols.names(table)


def _unpack(automaton: k2.Fsa | Arcs) -> tuple[list[_Arc], list[_Final]]:
    """Arcs and final states of either kind of automaton; ragged outputs become tuples."""
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
        items = values[:, 2:3] if aux is None else aux[:, None] if torch.is_tensor(aux) else aux
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


def _digraph(arcs: list[_Arc], finals: list[_Final], names: _Names, title: str):
    graphviz = _graphviz()
    dot = graphviz.Digraph(node_attr=_NODE, edge_attr=_EDGE)
    dot.attr(rankdir="LR", label=title, fontname="Helvetica", ranksep="0.35", nodesep="0.3")
    ends = {final.state: final for final in finals}
    for state in sorted({arc.src for arc in arcs} | {arc.dst for arc in arcs} | set(ends) | {0}):
        text = str(state)
        if state in ends:
            output = names.words(ends[state].output)
            text += ("" if output == "ε" else f":{output}") + names.score(ends[state].score)
            text = text.replace("/", "\n/")  # a narrow label keeps the circle small
        shape = "doublecircle" if state in ends else "circle"
        dot.node(str(state), graphviz.escape(text), shape=shape, penwidth="1" if state else "2")
    # Parallel arcs share one edge with a line each: CTC's loops would bury the picture.
    together = defaultdict(list)
    for arc in arcs:
        together[arc.src, arc.dst].append(names.arc(arc))
    for (src, dst), texts in together.items():
        dot.edge(str(src), str(dst), label=graphviz.escape("\n".join(texts)))
    return dot


def _graphviz():
    try:
        import graphviz
    except ImportError:
        raise AsrHlgError(
            "drawing automata needs the package graphviz",
            remedy="pip install 'asr-hlg[draw]'",
        ) from None
    return graphviz


def _render(dot, format: str) -> bytes:
    try:
        return dot.pipe(format=format)
    except _graphviz().ExecutableNotFound:
        raise AsrHlgError(
            "drawing automata needs graphviz's program dot",
            remedy="apt install graphviz, or write a .dot file",
        ) from None
