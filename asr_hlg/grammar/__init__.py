"""G from a grammar: the sentences that can be said, and how probable each is.

>>> from asr_hlg import grammar, symbols
>>> words = symbols.table(["<eps>", "alice", "bob", "call", "now", "#0"])
>>> G = grammar.compile("call (alice | bob) [now]", words)

The compact notation, one phrase a line:

    // comments, also /* like this */
    call (alice | bob) [now]          // alternatives, and what may be left out
    dial <digit>+                     // + once or more, * any number of times
    /0.2/ help                        // a fifth as probable as another phrase
    <digit> = one | two
            | /2/ three ;             // a rule; twice as probable as one or two

A line goes on inside brackets, after ``|`` and ``=``, and where the next begins with ``|``.
Words with any of ``= | ( ) [ ] * + ; < > { } " /`` in them need ``"quotes"``.

JSGF, where the first line is ``#JSGF V1.0;``: rules are written in the same way, and the public
ones can be said. Tags in braces are skipped; imports are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import k2

from asr_hlg.errors import GrammarError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.grammar import automaton
from asr_hlg.grammar.syntax import Place, Rules, parse

__all__ = ["compile", "to_arcs", "vocabulary"]


def compile(text: str, words: k2.SymbolTable, path: str | Path | None = None) -> k2.Fsa:
    """Compile a grammar into G, a graph over words.

    The score of a sentence is the log of its probability, which follows from the grammar alone:

    - alternatives, phrases and public rules are equally probable, or in proportion to their
      weights (1 where there is none);
    - what stands in ``[ ]`` is said with probability 1/2;
    - a repetition goes on with probability 1/2: ``x+`` is x with 1/2, x x with 1/4, and so on.

    A sentence that the grammar produces in several ways has the sum of their probabilities. Where
    ambiguous repetitions would need infinitely many states, the probabilities (never the
    sentences) are approximate: see `asr_hlg.grammar.automaton`.

    Parameters
    ----------
    text : str
        In the compact notation or in JSGF: see `asr_hlg.grammar`.
    words : k2.SymbolTable
        The vocabulary.
    path : str or Path, optional
        Where the text is from, for error messages.

    Returns
    -------
    k2.Fsa
        A deterministic acceptor without ε and ``#0``; the scores of the arcs that leave a state,
        as probabilities, add up to one.

    Raises
    ------
    GrammarError
        With line and column: for syntax, undefined or recursive rules, and for words that are
        not in the vocabulary, all of which it names.
    """
    fsa = to_arcs(text, words, path).to_k2()
    del fsa.aux_labels
    fsa.labels_sym = words
    return fsa


def to_arcs(text: str, words: k2.SymbolTable, path: str | Path | None = None) -> Arcs:
    """The same as :func:`compile`, as arrays for the compilation of a graph."""
    with _errors_name(path):
        rules = parse(text)
        _check_vocabulary(rules, words)
        return automaton.to_arcs(rules, words._sym2id.__getitem__)


def vocabulary(text: str, path: str | Path | None = None) -> dict[str, int]:
    """The words of a grammar, each with the line on which it first stands."""
    lines: dict[str, int] = {}
    with _errors_name(path):
        for word in automaton.words_of(parse(text)):
            lines.setdefault(word.text, word.place.line)
    return lines


@contextmanager
def _errors_name(path: str | Path | None) -> Iterator[None]:
    try:
        yield
    except GrammarError as error:
        raise GrammarError(error.message, path=path, line=error.line, remedy=error.remedy) from None


def _check_vocabulary(rules: Rules, words: k2.SymbolTable) -> None:
    unknown: dict[str, Place] = {}
    for word in automaton.words_of(rules):
        known = word.text in words._sym2id and word.text != words[0]
        if not known or symbols.is_disambig(word.text):
            unknown.setdefault(word.text, word.place)
    if unknown:
        place = min(unknown.values(), key=lambda place: (place.line, place.column))
        raise place.error(
            f"words that are not in the vocabulary: {', '.join(unknown)}",
            "add them to the lexicon, or write them as it does",
        )
