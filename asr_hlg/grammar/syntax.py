"""The text of a grammar, taken apart into rules.

Two notations with the same expressions: JSGF (Java Speech Grammar Format, version 1.0), known by
its first line ``#JSGF``, and a compact one without ceremony.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from asr_hlg.errors import GrammarError

_MAX_NESTING = 50  # of brackets; deeper ones are a slip, and the parser recurses

_TOKEN = re.compile(
    r"""
      (?P<blank>   [^\S\n]+ | //[^\n]* )
    | (?P<comment> /\*.*?\*/ )
    | (?P<newline> \n )
    | (?P<weight>  /[ \t\r\n]* (?:\d+\.?\d*|\.\d+) (?:[eE][+-]?\d+)? [ \t\r\n]*/ )
    | (?P<rule>    <[^<>\s]+> )
    | (?P<string>  "(?:\\.|[^"\\])*" )
    | (?P<tag>     \{(?:\\.|[^}\\])*\} )
    | (?P<mark>    [=|()\[\]*+;] )
    | (?P<word>    [^\s=|()\[\]*+;<>{}"/]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_HEADER = re.compile(r"\s*#JSGF[^\n;]*;")


@dataclass(frozen=True)
class Place:
    """A line and a column of the text, both counted from 1."""

    line: int
    column: int

    def error(self, message: str, remedy: str | None = None) -> GrammarError:
        message = f"column {self.column}: {message}"
        return GrammarError(message, line=self.line, remedy=remedy)


@dataclass(frozen=True)
class Word:
    """A word of the language."""

    text: str
    place: Place


@dataclass(frozen=True)
class Reference:
    """``<name>``: what the rule of that name says."""

    name: str
    place: Place


@dataclass(frozen=True)
class Sequence:
    """One thing after the other; nothing at all if empty."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of several, with the weight of each; impossible if there are none."""

    options: tuple[tuple[float, Node], ...]


@dataclass(frozen=True)
class Repeat:
    """Again and again: ``*`` at least zero times, ``+`` at least once."""

    body: Node
    at_least: int


Node = Word | Reference | Sequence | Choice | Repeat

NOTHING = Sequence(())
_SPECIAL: dict[str, Node] = {"<NULL>": NOTHING, "<VOID>": Choice(())}


@dataclass(frozen=True)
class Rules:
    """A parsed grammar.

    Attributes
    ----------
    rules : dict of str to Node
        Every ``<name> = …``.
    root : Node
        What can be said: the phrases and the public rules.
    """

    rules: dict[str, Node]
    root: Node


@dataclass(frozen=True)
class _Token:
    kind: str  # a mark stands for itself
    text: str
    place: Place


def parse(text: str) -> Rules:
    """Parse a grammar in either notation, or raise a GrammarError with line and column."""
    text = text.removeprefix("\ufeff")
    if not text.lstrip().startswith("#JSGF"):
        return _Parser(list(_tokens(text, newlines=True))).compact()
    header = _HEADER.match(text)
    if header is None:
        raise Place(1, 1).error("the #JSGF line must end with ';', as in '#JSGF V1.0;'")
    # blanks in its stead leave lines and columns as they are
    text = re.sub(r"[^\n]", " ", header.group()) + text[header.end() :]
    return _Parser(list(_tokens(text, newlines=False))).jsgf()


def _tokens(text: str, newlines: bool) -> Iterator[_Token]:
    position, line, begin = 0, 1, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        place = Place(line, position - begin + 1)
        if match is None:
            raise place.error(_stray(text[position:]))
        found = match.group()
        kind = match.lastgroup or ""
        if kind == "mark":
            yield _Token(found, found, place)
        elif kind in ("weight", "rule", "string", "word") or (kind == "newline" and newlines):
            yield _Token(kind, found, place)
        if "\n" in found:
            line += found.count("\n")
            begin = position + found.rindex("\n") + 1
        position = match.end()
    yield _Token("end", "the end of the text", Place(line, position - begin + 1))


def _stray(rest: str) -> str:
    for opening, closing in (("/*", "*/"), ('"', '"'), ("{", "}")):
        if rest.startswith(opening):
            return f"{opening} is not closed by {closing}"
    if rest.startswith("<"):
        return "a rule is written <name>, without blanks in it"
    if rest.startswith("/"):
        return "/ begins neither a weight such as /0.5/ nor a comment; words with / need quotes"
    return f"unexpected {rest[0]!r}"


class _Parser:
    """Recursive descent over tokens; ``here`` is the next one."""

    def __init__(self, tokens: list[_Token]):
        self.tokens = tokens
        self.index = 0
        self.nesting = 0
        self.rules: dict[str, Node] = {}
        self.roots: list[tuple[float, Node]] = []

    @property
    def here(self) -> _Token:
        return self.tokens[self.index]

    def next(self) -> _Token:
        self.index += 1
        return self.tokens[self.index - 1]

    def looks_like(self, *kinds: str) -> bool:
        ahead = self.tokens[self.index : self.index + len(kinds)]
        return tuple(token.kind for token in ahead) == kinds

    def expect(self, kind: str, meaning: str) -> _Token:
        if self.here.kind != kind:
            raise self.here.place.error(f"expected {meaning}, found {self.here.text.strip()!r}")
        return self.next()

    # JSGF: statements end with a semicolon, lines mean nothing

    def jsgf(self) -> Rules:
        if self.here.text != "grammar":
            raise self.here.place.error("expected 'grammar NAME;' after the #JSGF line")
        self.next()
        self.expect("word", "the grammar's name")
        self.expect(";", "';'")
        while self.here.kind != "end":
            if self.here.text == "import":
                raise self.here.place.error(
                    "imports are not supported", "copy the imported rules into this grammar"
                )
            public = self.here.text == "public"
            if public:
                self.next()
            self.rule(public)
            self.expect(";", "';'")
        return self.finish("mark a rule as public")

    # compact: a statement ends with its line or with a semicolon

    def compact(self) -> Rules:
        self.tokens = _without_continued_lines(self.tokens)
        while self.here.kind != "end":
            if self.here.kind in ("newline", ";"):
                self.next()
                continue
            public = self.here.text == "public" and self.looks_like("word", "rule", "=")
            if public:
                self.next()
            if self.looks_like("rule", "="):
                self.rule(public)
            else:
                # a line with alternatives is as many phrases, so its weights count among all
                phrases = self.choice()
                self.roots.extend(phrases.options)
            if self.here.kind not in ("newline", ";", "end"):
                raise self.here.place.error(f"unexpected {self.here.text!r}")
        return self.finish("write a phrase, such as <digit>+, or mark a rule as public")

    def rule(self, public: bool) -> None:
        token = self.expect("rule", "a rule <name>")
        name = token.text[1:-1]
        if name in self.rules or token.text in _SPECIAL:
            raise token.place.error(f"rule <{name}> is defined twice")
        self.expect("=", "'='")
        self.rules[name] = self.choice()
        if public:
            self.roots.append((1.0, Reference(name, token.place)))

    def finish(self, remedy: str) -> Rules:
        if not self.roots:
            raise self.here.place.error("the grammar says nothing", remedy)
        return Rules(self.rules, Choice(tuple(self.roots)))

    # expressions, the same in both

    def choice(self) -> Choice:
        options = [self.option()]
        while self.here.kind == "|":
            self.next()
            options.append(self.option())
        if not any(weight for weight, _ in options):
            raise self.here.place.error("all of these alternatives have weight 0")
        return Choice(tuple(options))

    def option(self) -> tuple[float, Node]:
        weight = 1.0
        if self.here.kind == "weight":
            token = self.next()
            weight = float(token.text.strip("/ \t\r\n"))
            if weight and not 1e-9 <= weight <= 1e9:
                raise token.place.error("a weight must be 0 or between 1e-9 and 1e9")
        items: list[Node] = []
        while self.here.kind in ("word", "string", "rule", "(", "["):
            items.append(self.repeated())
        if not items:
            shown = self.here.text if self.here.text != "\n" else "the end of the line"
            raise self.here.place.error(f"expected a word, a <rule>, '(' or '[' before {shown!r}")
        return weight, items[0] if len(items) == 1 else Sequence(tuple(items))

    def repeated(self) -> Node:
        item = self.item()
        if self.here.kind in ("*", "+"):
            return Repeat(item, at_least=1 if self.next().kind == "+" else 0)
        return item

    def item(self) -> Node:
        token = self.next()
        if token.kind == "word":
            return Word(token.text, token.place)
        if token.kind == "string":
            words = re.sub(r"\\(.)", r"\1", token.text[1:-1]).split()
            return Sequence(tuple(Word(word, token.place) for word in words))
        if token.kind == "rule":
            if token.text in _SPECIAL:
                return _SPECIAL[token.text]
            return Reference(token.text[1:-1], token.place)
        return self.bracketed(token)

    def bracketed(self, opening: _Token) -> Node:
        self.nesting += 1
        if self.nesting > _MAX_NESTING:
            raise opening.place.error(f"brackets are nested more than {_MAX_NESTING} deep")
        inside = self.choice()
        closing = ")" if opening.kind == "(" else "]"
        if self.here.kind != closing:
            line = opening.place.line
            raise self.here.place.error(
                f"expected {closing!r} for the {opening.text!r} of line {line}, "
                f"found {self.here.text!r}"
            )
        self.next()
        self.nesting -= 1
        return inside if closing == ")" else Choice(((1.0, inside), (1.0, NOTHING)))


def _without_continued_lines(tokens: list[_Token]) -> list[_Token]:
    """Drop newlines inside brackets, after ``|`` or ``=``, and before ``|``."""
    kept: list[_Token] = []
    open_brackets = 0
    for token in tokens:
        if token.kind == "newline" and (open_brackets or (kept and kept[-1].kind in ("|", "="))):
            continue
        if token.kind == "|":
            while kept and kept[-1].kind == "newline":
                kept.pop()
        open_brackets += (token.kind in ("(", "[")) - (token.kind in (")", "]"))
        kept.append(token)
    return kept
