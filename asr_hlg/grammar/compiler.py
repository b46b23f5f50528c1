"""Compilation of the text of a grammar into G, and the vocabulary of a grammar."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asr_hlg.errors import GrammarError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.grammar import fsa
from asr_hlg.grammar.nodes import Position, Rules
from asr_hlg.grammar.parser import parse

if TYPE_CHECKING:
    import k2


def compile(text: str, words: SymbolTable, path: str | Path | None = None) -> k2.Fsa:
    """Compile a grammar into G, an acceptor of word sequences.

    The score of a sentence is the log of its probability, as the grammar defines it:

    - alternatives, phrases and public rules are equally probable, or in proportion to their
      weights (1 where there is none);
    - an expression in ``[ ]`` occurs with probability 1/2;
    - a repetition continues with probability 1/2: ``x+`` is x with 1/2, x x with 1/4, and so on.

    The probability of an ambiguous sentence is the sum over its derivations. Where ambiguous
    repetitions would need infinitely many states, the probabilities (never the set of sentences)
    are approximate: see :mod:`asr_hlg.grammar.fsa`.

    Parameters
    ----------
    text : str
        In the compact notation or in JSGF: see :mod:`asr_hlg.grammar`.
    words : SymbolTable
        The vocabulary.
    path : str or Path, optional
        The file that the text is from, for error messages.

    Returns
    -------
    k2.Fsa
        A deterministic acceptor without ε and ``#0``; the scores of the arcs that leave a state,
        as probabilities, add up to one.

    Raises
    ------
    GrammarError
        With line and column: for syntax errors, undefined and recursive rules, and words that
        are not in the vocabulary, all of which the message lists.
    """
    G = to_arcs(text, words, path).to_k2()
    del G.aux_labels
    G.labels_sym = words
    return G


def to_arcs(
    text: str,
    words: SymbolTable,
    path: str | Path | None = None,
    left_out: Collection[str] = (),
) -> Arcs:
    """Compile a grammar into G as :func:`compile` does, but return arrays of arcs.

    ``left_out`` are words with which no sentence is accepted.
    """
    with _errors_with_path(path):
        rules = fsa.without_words(parse(text), left_out)
        _check_vocabulary(rules, words)
        return fsa.to_arcs(rules, words.__getitem__)


def vocabulary(text: str, path: str | Path | None = None) -> dict[str, int]:
    """Words of a grammar, each with the line of its first occurrence."""
    lines: dict[str, int] = {}
    with _errors_with_path(path):
        for word in fsa.words_of(parse(text)):
            lines.setdefault(word.text, word.position.line)
    return lines


@contextmanager
def _errors_with_path(path: str | Path | None) -> Iterator[None]:
    try:
        yield
    except GrammarError as error:
        raise GrammarError(error.message, path=path, line=error.line, remedy=error.remedy) from None


def _check_vocabulary(rules: Rules, words: SymbolTable) -> None:
    unknown: dict[str, Position] = {}
    for word in fsa.words_of(rules):
        known = word.text in words and word.text != words[0]
        if not known or symbols.is_disambig(word.text):
            unknown.setdefault(word.text, word.position)
    if unknown:
        first = min(unknown.values(), key=lambda position: (position.line, position.column))
        raise first.error(
            f"words that are not in the vocabulary: {', '.join(unknown)}",
            "add them to the lexicon, or spell them as the lexicon does",
        )
