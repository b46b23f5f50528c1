"""Descriptors of nnet3 networks: expressions that define the input of a node.

For instance ``Append(Offset(x, -1), x, ReplaceIndex(ivector, t, 0))`` is the previous frame of x,
x itself and the i-vector, side by side.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_PART = re.compile(r"\s*([(),]|[^\s(),]+)")
_DEEPEST = 40
_MOST_PARTS = 20_000


@dataclass(frozen=True)
class Descriptor:
    """Expression over nodes.

    Attributes
    ----------
    kind : str
        ``Node``, or the name of the function.
    parts : tuple of Descriptor
        Arguments that are expressions.
    name : str
        Name of the node, or of the index that ``ReplaceIndex`` replaces.
    offset : int
        Frames for ``Offset``; period of ``Round``; columns of ``Const``; value of ``ReplaceIndex``.
    value : float
        Of ``Scale`` and ``Const``.
    """

    kind: str
    parts: tuple[Descriptor, ...] = ()
    name: str = ""
    offset: int = 0
    value: float = 0.0


def parse(text: str, nodes: Collection[str]) -> Descriptor:
    """Descriptor of a text.

    Parameters
    ----------
    text : str
    nodes : collection of str
        Names of all nodes.

    Raises
    ------
    ValueError
        If the text is not an expression over these nodes.
    """
    parts = _PART.findall(text)
    if len(parts) > _MOST_PARTS or "".join(parts) != re.sub(r"\s", "", text):
        raise ValueError(f"cannot be parsed: {text[:80]!r}")
    parser = _Parser(parts, nodes)
    descriptor = parser.expression(0)
    parser.end()
    return descriptor


def names_in(descriptor: Descriptor) -> Iterator[str]:
    """Nodes in a descriptor."""
    if descriptor.kind == "Node":
        yield descriptor.name
    for part in descriptor.parts:
        yield from names_in(part)


class _Parser:
    """Recursive descent over the parts of a text."""

    def __init__(self, parts: list[str], nodes: Collection[str]):
        self._parts, self._place, self._nodes = parts, 0, nodes

    def end(self) -> None:
        if self._place != len(self._parts):
            raise ValueError(f"unexpected {self._parts[self._place]!r} after the expression")

    def expression(self, depth: int) -> Descriptor:
        word = self._next()
        if depth > _DEEPEST:
            raise ValueError("brackets are nested too deeply")
        if self._place >= len(self._parts) or self._parts[self._place] != "(":
            if word not in self._nodes:
                raise ValueError(f"there is no node {word!r}")
            return Descriptor("Node", name=word)
        self._expect("(")
        found = self._function(word, depth)
        self._expect(")")
        return found

    def _function(self, word: str, depth: int) -> Descriptor:
        """Function ``word`` of the arguments that follow, up to the closing bracket."""
        if word in ("Append", "Sum", "Switch", "Failover", "IfDefined"):
            return Descriptor(word, self._list(depth))
        if word in ("Scale", "Const"):
            value = self._number()
            self._expect(",")
            if word == "Const":
                return Descriptor(word, value=value, offset=self._integer())
            return Descriptor(word, (self.expression(depth + 1),), value=value)
        if word not in ("Offset", "Round", "ReplaceIndex"):
            raise ValueError(f"unknown function {word!r}")
        part = self.expression(depth + 1)
        self._expect(",")
        name = ""
        if word == "ReplaceIndex":
            name = self._next()
            self._expect(",")
        found = Descriptor(word, (part,), name=name, offset=self._integer())
        if word == "Offset" and self._parts[self._place : self._place + 2] == [",", "0"]:
            self._place += 2  # an offset of the index x, which only images use
        if word == "Round" and found.offset < 1:
            raise ValueError("Round needs a positive period")
        return found

    def _list(self, depth: int) -> tuple[Descriptor, ...]:
        parts = [self.expression(depth + 1)]
        while self._parts[self._place : self._place + 1] == [","]:
            self._place += 1
            parts.append(self.expression(depth + 1))
        return tuple(parts)

    def _next(self) -> str:
        if self._place >= len(self._parts):
            raise ValueError("the expression ends too early")
        self._place += 1
        return self._parts[self._place - 1]

    def _expect(self, part: str) -> None:
        found = self._next()
        if found != part:
            raise ValueError(f"expected {part!r}, found {found!r}")

    def _number(self) -> float:
        return float(self._next())

    def _integer(self) -> int:
        value = int(self._next())
        if abs(value) > 10_000:
            raise ValueError(f"{value} is out of range")
        return value
