"""Parser for grammars in all notations: text to rules, with line and column in every error.

JSGF (Java Speech Grammar Format, version 1.0) is recognised by its first line ``#JSGF``, and has
the same expressions as the compact notation of :mod:`asr_hlg.grammar`. A JSON list of strings, as
programs give to Vosk, is a list of phrases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from asr_hlg.fst.symbols import UNKNOWN
from asr_hlg.grammar.nodes import (
    EMPTY,
    Choice,
    Node,
    Position,
    Reference,
    Repeat,
    Rules,
    Sequence,
    Word,
)

_MAX_NESTING = 50  # of brackets; deeper ones are a mistake, and the parser recurses

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
_OTHER_NOTATIONS = (
    (r"\s*#ABNF", "is ABNF of SRGS, which is not read", "write the rules as JSGF"),
    (r"\s*<(\?xml|grammar)\s", "is XML of SRGS, which is not read", "write the rules as JSGF"),
    (r"\s*\[\s*'[^'\n]*'\s*[],]", "is no JSON: strings need double quotes", 'write ["turn on"]'),
)
_SPECIAL: dict[str, Node] = {"<NULL>": EMPTY, "<VOID>": Choice(())}


@dataclass(frozen=True)
class _Token:
    """A lexical unit; the type of a punctuation mark is the mark itself."""

    type: str
    text: str
    position: Position

    def __str__(self) -> str:
        return {"newline": "the end of the line", "end": "the end of the text"}.get(
            self.type, repr(self.text)
        )


def parse(text: str) -> Rules:
    """Parse a grammar in either notation.

    Raises
    ------
    GrammarError
        With line and column.
    """
    text = text.removeprefix("\ufeff")
    for notation, message, remedy in _OTHER_NOTATIONS:
        if re.match(notation, text):
            raise Position(1, 1).error(message, remedy)
    if re.match(r'\s*(\[\s*("|\])|\{\s*")', text):
        return _phrase_list(text)
    if not text.lstrip().startswith("#JSGF"):
        return _Parser(list(_tokens(text, newlines=True))).compact()
    header = _HEADER.match(text)
    if header is None:
        raise Position(1, 1).error("the #JSGF line must end with ';', as in '#JSGF V1.0;'")
    # spaces in place of the header keep lines and columns as they are
    text = re.sub(r"[^\n]", " ", header.group()) + text[header.end() :]
    return _Parser(list(_tokens(text, newlines=False))).jsgf()


def _phrase_list(text: str) -> Rules:
    """Grammar of a JSON list of phrases, whose words are taken as they are.

    It may stand in a configuration of Vosk's server, as its ``phrase_list``.
    """
    try:
        phrases = json.loads(text)
    except json.JSONDecodeError as error:
        position = Position(error.lineno, error.colno)
        raise position.error(
            f"a JSON list of phrases is expected: {error.msg}", 'as in ["turn on", "turn off"]'
        ) from None
    except RecursionError:
        raise Position(1, 1).error(
            "the JSON list is nested too deeply", 'write ["turn on", "turn off"]'
        ) from None
    start = Position(1, 1)
    if isinstance(phrases, dict):
        settings = phrases.get("config", phrases)
        phrases = settings.get("phrase_list") if isinstance(settings, dict) else None
    if not isinstance(phrases, list):
        raise start.error("the JSON object has no phrase_list", 'write ["turn on", "turn off"]')
    options = []
    for phrase in phrases:
        words = phrase.split() if isinstance(phrase, str) else []
        if not words:
            raise start.error(f"{json.dumps(phrase)} is not a phrase", "write strings of words")
        options.append((1.0, Sequence(tuple(_word(word, start) for word in words))))
    if not options:
        raise start.error("the grammar accepts no sentence", "write a phrase into the list")
    return Rules({}, Choice(tuple(options)))


def _word(text: str, position: Position) -> Node:
    """A word; UNKNOWN is pronounced as one phone of any kind, and so it is repeated."""
    if text.lower() not in (UNKNOWN, "<unk>"):
        return Word(text, position)
    return Repeat(Word(UNKNOWN, position), at_least=1)


def _tokens(text: str, newlines: bool) -> Iterator[_Token]:
    """Split a text into tokens, the last of type ``end``; newlines are tokens on request."""
    index, line, line_start = 0, 1, 0
    while index < len(text):
        match = _TOKEN.match(text, index)
        position = Position(line, index - line_start + 1)
        if match is None:
            raise position.error(_lexical_error(text[index:]))
        matched = match.group()
        type_ = matched if match.lastgroup == "mark" else match.lastgroup or ""
        if type_ not in ("blank", "comment", "tag") and (newlines or type_ != "newline"):
            yield _Token(type_, matched, position)
        if "\n" in matched:
            line += matched.count("\n")
            line_start = index + matched.rindex("\n") + 1
        index = match.end()
    yield _Token("end", "", Position(line, index - line_start + 1))


def _lexical_error(text: str) -> str:
    """Error message for text that begins no token."""
    for opening, closing in (("/*", "*/"), ('"', '"'), ("{", "}")):
        if text.startswith(opening):
            return f"{opening} is not closed by {closing}"
    if text.startswith("<"):
        return "a rule is written <name>, without blanks in it"
    if text.startswith("/"):
        return "/ begins neither a weight such as /0.5/ nor a comment; words with / need quotes"
    return f"unexpected {text[0]!r}"


class _Parser:
    """Recursive-descent parser over a list of tokens.

    Attributes
    ----------
    token : _Token
        The next token, which is not consumed yet.
    """

    def __init__(self, tokens: list[_Token]):
        self.tokens = tokens
        self.index = 0
        self.nesting = 0
        self.rules: dict[str, Node] = {}
        self.roots: list[tuple[float, Node]] = []
        self.name = ""  # of a JSGF grammar, with its package

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def take(self) -> _Token:
        """Consume the next token."""
        self.index += 1
        return self.tokens[self.index - 1]

    def expect(self, type_: str, description: str) -> _Token:
        """Consume the next token, which must be of a type."""
        if self.token.type != type_:
            raise self.token.position.error(f"expected {description}, found {self.token}")
        return self.take()

    def jsgf(self) -> Rules:
        """Parse JSGF: every statement ends with a semicolon."""
        if self.token.text != "grammar":
            raise self.token.position.error("expected 'grammar NAME;' after the #JSGF line")
        self.take()
        self.name = self.expect("word", "the grammar's name").text
        self.expect(";", "';'")
        while self.token.type != "end":
            if self.token.text == "import":
                self.own_import()
            else:
                self.rule()
            self.expect(";", "';'")
        return self.result("mark a rule as public")

    def own_import(self) -> None:
        """Parse ``import <grammar.rule>``, which changes nothing if the grammar is this one."""
        self.take()
        token = self.expect("rule", "a rule <grammar.rule>")
        if self.is_qualified(token.text[1:-1]):
            return
        raise token.position.error(
            f"{token.text} is a rule of another grammar, which is not read",
            "copy the imported rules into this grammar",
        )

    def is_qualified(self, name: str) -> bool:
        """Whether a rule's name begins with the name of this grammar."""
        grammar = name.rpartition(".")[0]
        return bool(grammar) and grammar in (self.name, self.name.rpartition(".")[2])

    def reference(self, token: _Token) -> Reference:
        """Rule that a token names, with or without the name of this grammar."""
        name = token.text[1:-1]
        short = name.rpartition(".")[2] if self.is_qualified(name) else name
        return Reference(short, token.position)

    def compact(self) -> Rules:
        """Parse the compact notation: a statement ends with its line or with a semicolon."""
        self.tokens = _without_continued_lines(self.tokens)
        while self.token.type != "end":
            if self.token.type in ("newline", ";"):
                self.take()
                continue
            types = [token.type for token in self.tokens[self.index : self.index + 3]]
            is_public = self.token.text == "public" and types == ["word", "rule", "="]
            if is_public or types[:2] == ["rule", "="]:
                self.rule()
            else:
                # alternatives on a line are phrases: their weights count among all phrases
                self.roots.extend(self.choice().options)
            if self.token.type not in ("newline", ";", "end"):
                raise self.token.position.error(f"unexpected {self.token}")
        return self.result("write a phrase, such as <digit>+, or mark a rule as public")

    def rule(self) -> None:
        """Parse ``[public] <name> = choice``."""
        is_public = self.token.text == "public"
        if is_public:
            self.take()
        token = self.expect("rule", "a rule <name>")
        rule = self.reference(token)
        if rule.name in self.rules or token.text in _SPECIAL:
            raise token.position.error(f"rule <{rule.name}> is defined twice")
        self.expect("=", "'='")
        self.rules[rule.name] = self.choice()
        if is_public:
            self.roots.append((1.0, rule))

    def result(self, remedy: str) -> Rules:
        """The parsed grammar; an error with this remedy if it has no phrase and no public rule."""
        if not self.roots:
            raise self.token.position.error("the grammar accepts no sentence", remedy)
        return Rules(self.rules, Choice(tuple(self.roots)))

    def choice(self) -> Choice:
        """Parse alternatives."""
        options = [self.option()]
        while self.token.type == "|":
            self.take()
            options.append(self.option())
        if not any(weight for weight, _ in options):
            raise self.token.position.error("all of these alternatives have weight 0")
        return Choice(tuple(options))

    def option(self) -> tuple[float, Node]:
        """Parse a sequence of items with an optional weight."""
        weight = 1.0
        if self.token.type == "weight":
            token = self.take()
            weight = float(token.text.strip("/ \t\r\n"))
            if weight and not 1e-9 <= weight <= 1e9:
                raise token.position.error("a weight must be 0 or between 1e-9 and 1e9")
        items: list[Node] = []
        while self.token.type in ("word", "string", "rule", "(", "["):
            items.append(self.item())
            if self.token.type in ("*", "+"):
                items[-1] = Repeat(items[-1], at_least=1 if self.take().type == "+" else 0)
        if not items:
            expected = "expected a word, a <rule>, '(' or '['"
            raise self.token.position.error(f"{expected} before {self.token}")
        return weight, items[0] if len(items) == 1 else Sequence(tuple(items))

    def item(self) -> Node:
        """Parse a word, a quoted phrase, a reference to a rule, or an expression in brackets."""
        token = self.take()
        if token.type == "word":
            return Word(token.text, token.position)
        if token.type == "string":
            words = re.sub(r"\\(.)", r"\1", token.text[1:-1]).split()
            return Sequence(tuple(Word(word, token.position) for word in words))
        if token.type == "rule":
            return _SPECIAL.get(token.text) or self.reference(token)
        following = [each.text.lower() for each in self.tokens[self.index : self.index + 2]]
        if token.type == "[" and following == ["unk", "]"]:
            self.index += 2
            return _word(UNKNOWN, token.position)
        self.nesting += 1
        if self.nesting > _MAX_NESTING:
            raise token.position.error(f"brackets are nested more than {_MAX_NESTING} deep")
        inside = self.choice()
        closing = ")" if token.type == "(" else "]"
        self.expect(closing, f"{closing!r} for the {token} of line {token.position.line}")
        self.nesting -= 1
        return inside if closing == ")" else Choice(((1.0, inside), (1.0, EMPTY)))


def _without_continued_lines(tokens: list[_Token]) -> list[_Token]:
    """Drop newlines inside brackets, after ``|`` or ``=``, and before ``|``."""
    kept: list[_Token] = []
    open_brackets = 0
    for token in tokens:
        if token.type == "newline" and (open_brackets or (kept and kept[-1].type in ("|", "="))):
            continue
        if token.type == "|":
            while kept and kept[-1].type == "newline":
                kept.pop()
        open_brackets += (token.type in ("(", "[")) - (token.type in (")", "]"))
        kept.append(token)
    return kept
