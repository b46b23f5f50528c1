"""Inverse text normalisation: spoken English words as they are written, by a transducer.

>>> for found in rewrites("i paid twenty five dollars on june third".split()):
...     print(found)
Rewrite(start=2, stop=5, text='$25')
Rewrite(start=6, stop=8, text='June 3')

The rules of :mod:`asr_hlg.output.itn_rules` are compiled into one weighted transducer T from words
to written pieces. T copies a word at a cost of 1, and rewrites what a rule accepts at a lower one.
The best path through W ∘ T, where W is the linear acceptor of the words, is the written text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import kaldifst

from asr_hlg.output.itn_expressions import COPY, Rule
from asr_hlg.output.itn_rules import rules, vocabulary

_START, _END = "<start>", "<end>"
_OTHER = "<other>"
_COPY_COST = 1.0
# A scale that is left over belongs to a number: `one hundred and two hundred` has two numbers.
_SCALES = {"hundred": 3.0, "thousand": 3.0, "million": 3.0, "billion": 3.0}


@dataclass(frozen=True)
class Rewrite:
    """Written form ``text`` of the words from ``start`` to before ``stop``."""

    start: int
    stop: int
    text: str


def rewrites(words: Sequence[str]) -> list[Rewrite]:
    """What is written otherwise than it is said, in the order of the words.

    Parameters
    ----------
    words : sequence of str
        Lower-case words of one sentence or clause: numbers do not extend over its ends.
    """
    transducer, inputs, outputs = _compiled()
    if not any(word in inputs for word in words):
        return []
    linear = kaldifst.make_linear_acceptor([inputs.get(word, inputs[_OTHER]) for word in words])
    path = kaldifst.shortest_path(kaldifst.compose(linear, transducer))
    found: list[Rewrite] = []
    position = begin = 0
    pieces: list[str] | None = None
    for ilabel, olabel in _labels(path):
        output = outputs[olabel]
        if output == _START:
            begin, pieces = position, []
        elif output == _END:
            found.append(Rewrite(begin, position, "".join(pieces or ())))
            pieces = None
        elif output and pieces is not None:
            pieces.append(words[position] if output == COPY else output)
        position += ilabel != 0
    return found


def _labels(path: Any) -> list[tuple[int, int]]:
    """Input and output labels of the arcs of a linear transducer."""
    labels: list[tuple[int, int]] = []
    state = path.start
    while True:
        arcs = list(kaldifst.ArcIterator(path, state))
        if not arcs:
            return labels
        labels.append((arcs[0].ilabel, arcs[0].olabel))
        state = arcs[0].nextstate


@lru_cache(1)
def _compiled() -> tuple[Any, dict[str, int], list[str]]:
    """The transducer, the labels of its input words, and its output strings by label."""
    builder = _Builder()
    for name in (_OTHER, *sorted(vocabulary())):
        cost = _SCALES.get(name, _COPY_COST)
        builder.arc(0, 0, name, COPY, cost)
    for cost, rule, before in rules():
        start = builder.state()
        if before:
            for word in before:
                builder.arc(0, start, word, COPY, _COPY_COST)
        else:
            builder.arc(0, start, "", "", 0.0)
        opened = builder.state()
        builder.arc(start, opened, "", _START, cost)
        closing = builder.rule(rule, opened)
        builder.arc(closing, 0, "", _END, 0.0)
    fst = builder.fst
    fst.set_final(0, 0.0)
    kaldifst.rmepsilon(fst)
    kaldifst.arcsort(fst, "ilabel")
    return fst, builder.inputs, list(builder.outputs)


class _Builder:
    """Transducer that grows by arcs and rules; labels are given to strings as they come."""

    def __init__(self) -> None:
        self.fst = kaldifst.StdVectorFst()
        self.inputs: dict[str, int] = {"": 0}
        self.outputs: dict[str, int] = {"": 0}
        self.fst.start = self.state()

    def state(self) -> int:
        """A new state."""
        state: int = self.fst.add_state()
        return state

    def arc(self, source: int, target: int, word: str, output: str, cost: float) -> None:
        """Add an arc; empty strings are epsilons."""
        ilabel = self.inputs.setdefault(word, len(self.inputs))
        olabel = self.outputs.setdefault(output, len(self.outputs))
        self.fst.add_arc(source, kaldifst.StdArc(ilabel, olabel, cost, target))

    def rule(self, rule: Rule, source: int) -> int:
        """Add a rule that begins in a state; returns the state in which it ends."""
        if rule.kind == "sequence":
            for part in rule.parts:
                source = self.rule(part, source)
            return source
        target = self.state()
        if rule.kind == "word":
            self.arc(source, target, rule.word, rule.output, 0.0)
        elif rule.kind == "any":
            for word in list(self.inputs):
                if word:
                    self.arc(source, target, word, COPY, 0.0)
        else:  # one of the parts, once or repeatedly
            begin = self.state()
            self.arc(source, begin, "", "", 0.0)
            for part in rule.parts:
                self.arc(self.rule(part, begin), target, "", "", 0.0)
            if rule.kind == "repeated":
                self.arc(target, begin, "", "", 0.0)
        return target
