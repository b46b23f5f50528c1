r"""The text of a recording, as lines of tokens with the words that may be said for each.

script = Script.of_text("Chapter 1.\nMr. Smith paid $25.")
units = Units.of(script, lexicon)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, product

from asr_hlg.lexicon import Lexicon
from asr_hlg.output.number_words import Reading
from asr_hlg.output.spoken import readings

_MAX_OF_READING, _MAX_PRONUNCIATIONS = 12, 32  # of a token


@dataclass(frozen=True)
class ScriptLine:
    """A line of a text.

    Attributes
    ----------
    text : str
    tokens : tuple of (str, tuple of Reading)
        What is written, and the ways in which it may be said.
    speaker : str
        Empty if the text names none.
    span : tuple of (float, float), optional
        Seconds from which, and until which, the line is spoken.
    number : int
        Of the line in its file, from 1.
    """

    text: str
    tokens: tuple[tuple[str, tuple[Reading, ...]], ...]
    speaker: str = ""
    span: tuple[float, float] | None = None
    number: int = 1


@dataclass(frozen=True)
class Script:
    """The text of a recording.

    Attributes
    ----------
    lines : tuple of ScriptLine
    """

    lines: tuple[ScriptLine, ...]

    @classmethod
    def of_words(cls, text: str) -> Script:
        """One line of words that blanks separate and that are said as they are written."""
        tokens = tuple((word, ((word,),)) for word in text.split())
        return cls((ScriptLine(text, tokens),))

    @classmethod
    def of_text(cls, text: str, is_word: Callable[[str], bool] = lambda _: False) -> Script:
        """Lines of written text; those without words are left out.

        Parameters
        ----------
        text : str
        is_word : callable
            Whether a lexicon contains a word just as it is written, and it is said so.
        """
        lines = (
            make_line(line, is_word, number=number)
            for number, line in enumerate(text.splitlines(), start=1)
        )
        return cls(tuple(line for line in lines if line.tokens))

    @property
    def is_timed(self) -> bool:
        """Whether the lines have times."""
        return any(line.span is not None for line in self.lines)

    def words(self) -> list[str]:
        """The first reading of every token, without words of other readings."""
        return [word for line in self.lines for _, ways in line.tokens for word in ways[0]]

    def alternatives(self) -> set[str]:
        """Words of all other readings."""
        return {
            word
            for line in self.lines
            for _, ways in line.tokens
            for way in ways[1:]
            for word in way
        }


def make_line(
    text: str,
    is_word: Callable[[str], bool] = lambda _: False,
    speaker: str = "",
    span: tuple[float, float] | None = None,
    number: int = 1,
) -> ScriptLine:
    """A line of written text; see `Script.of_text`."""
    text = " ".join(text.split())
    tokens = tuple(
        (token, ((token,),) if is_word(token) else tuple(ways)) for token, ways in readings(text)
    )
    return ScriptLine(text, tokens, speaker, span, number)


@dataclass(frozen=True)
class Pronounced:
    """A way to say a token: its words, each with its phones."""

    words: Reading
    phones: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Units:
    """The tokens of a script with their pronunciations.

    Attributes
    ----------
    pronounced : list of list of Pronounced
        For every token all ways to say it; none for a token without a pronunciation.
    lines : list of int
        The line of every token.
    """

    pronounced: list[list[Pronounced]]
    lines: list[int]

    @classmethod
    def of(cls, script: Script, lexicon: Lexicon) -> Units:
        """Look the words of a script up in a lexicon."""
        pronounced, lines = [], []
        known: dict[tuple[Reading, ...], list[Pronounced]] = {}
        for number, line in enumerate(script.lines):
            for _, ways in line.tokens:
                if ways not in known:
                    known[ways] = _pronounced(ways, lexicon)
                pronounced.append(known[ways])
                lines.append(number)
        return cls(pronounced, lines)

    def columns(self, column: dict[str, int]) -> list[list[list[int]]]:
        """Pronunciations of every token as the columns of posteriors."""
        memo: dict[int, list[list[int]]] = {}
        for ways in self.pronounced:
            if id(ways) not in memo:
                memo[id(ways)] = [
                    [column[phone] for phones in way.phones for phone in phones] for way in ways
                ]
        return [memo[id(ways)] for ways in self.pronounced]


def _pronounced(ways: Iterable[Reading], lexicon: Lexicon) -> list[Pronounced]:
    """Ways to say a token whose words all have a pronunciation."""
    found: list[Pronounced] = []
    for words in ways:
        if all(word in lexicon for word in words):
            options: list[Sequence[tuple[str, ...]]] = [lexicon.spellings(word) for word in words]
            some = islice(product(*options), _MAX_OF_READING)
            found += [Pronounced(words, phones) for phones in some]
    return found[:_MAX_PRONUNCIATIONS]
