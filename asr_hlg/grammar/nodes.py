"""The parsed form of a grammar: rules, and the expressions that they consist of."""

from __future__ import annotations

from dataclasses import dataclass

from asr_hlg.errors import GrammarError


@dataclass(frozen=True)
class Position:
    """A line and a column of the grammar's text, both counted from 1."""

    line: int
    column: int

    def error(self, message: str, remedy: str | None = None) -> GrammarError:
        """An error at this position."""
        message = f"column {self.column}: {message}"
        return GrammarError(message, line=self.line, remedy=remedy)


@dataclass(frozen=True)
class Word:
    """One word: an arc of the automaton."""

    text: str
    position: Position


@dataclass(frozen=True)
class Reference:
    """``<name>``: stands for the expression of the rule of that name."""

    name: str
    position: Position


@dataclass(frozen=True)
class Sequence:
    """Concatenation of expressions; the empty sentence if there are none."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """Union of weighted expressions; accepts no sentence if there are none."""

    options: tuple[tuple[float, Node], ...]


@dataclass(frozen=True)
class Repeat:
    """Closure of an expression: ``*`` (at least zero times) or ``+`` (at least once)."""

    body: Node
    at_least: int


Node = Word | Reference | Sequence | Choice | Repeat

EMPTY = Sequence(())


@dataclass(frozen=True)
class Rules:
    """A parsed grammar.

    Attributes
    ----------
    rules : dict of str to Node
        Every ``<name> = …``.
    root : Choice
        The sentences of the grammar: its phrases and public rules.
    """

    rules: dict[str, Node]
    root: Choice
