"""Hotwords, boosted words and phrases such as names, product names and terms.

    graph, guesses = apply(DecodingGraph.load("graphs/en"), read("names.txt"))
    print(guesses.report())            # pronunciations that were guessed

A list of hotwords is a UTF-8 text with a phrase a line. A tab and a number after the phrase give
its boost, which each of its words adds to a path's score (a natural log):

    xanthippe
    bank of scotland
    kubernetes<TAB>6

Blank lines are skipped. Words are separated by blanks; they are looked up as written, then in
lower case, in upper case and capitalised. A word that the graph lacks is added to it as written.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from asr_hlg.errors import AsrHlgError, HotwordError, OnItemError, stop
from asr_hlg.files import text_lines
from asr_hlg.fst import symbols
from asr_hlg.graph.adapt.new_words import with_words
from asr_hlg.graph.adapt.phrases import boost
from asr_hlg.graph.adapt.pronounce import pronounce
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.lexicon import Pronunciation
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, Guesses, OnProgress

DEFAULT_BOOST = 4.0

_OTHER_BOOST = re.compile(r":\d+(\.\d+)?|/[\d.]+(e[-+]?\d+)?/")
"""Boosts as sherpa-onnx and thresholds as pocketsphinx write them in their lists."""


@dataclass(frozen=True)
class Hotword:
    """Phrase of a list of hotwords, and the boost of each of its words.

    ``path`` and ``line`` are its place in the list, for error messages.
    """

    words: tuple[str, ...]
    boost: float = DEFAULT_BOOST
    path: str | None = None
    line: int | None = None


def read(path: str | Path, on_error: OnItemError = stop) -> list[Hotword]:
    """Read a list of hotwords.

    Parameters
    ----------
    path : str or Path
    on_error : callable
        Receives a `HotwordError` with file and line for each faulty line, which is left out if it
        returns: text that is not UTF-8, a boost that is not a number or negative, a repeated
        phrase, a reserved word.

    Raises
    ------
    HotwordError
        For an empty list.
    """
    hotwords: dict[tuple[str, ...], Hotword] = {}
    is_empty = True

    def fail(error: AsrHlgError) -> None:
        nonlocal is_empty
        is_empty = False
        on_error(error)

    for number, line in text_lines(path, HotwordError, fail):
        try:
            hotword = _parse(line, str(path), number)
            if hotword.words in hotwords:
                first = hotwords[hotword.words].line
                phrase = " ".join(hotword.words)
                raise ValueError(f"{phrase!r} is listed twice, first on line {first}")
        except ValueError as error:
            fail(HotwordError(str(error), path=path, line=number))
            continue
        hotwords[hotword.words] = hotword
    if is_empty and not hotwords:
        raise HotwordError("has no hotwords", path=path, remedy="write one phrase a line")
    return list(hotwords.values())


def _parse(line: str, path: str, number: int) -> Hotword:
    text, tab, value = line.rstrip().partition("\t")
    words = tuple(text.split())
    if not words:
        raise ValueError("a boost without a phrase")
    for word in words:
        if word in (symbols.EPS, "<s>", "</s>") or symbols.is_disambig(word):
            raise ValueError(f"{word!r} is a reserved symbol and cannot be a word")
    if not tab:
        if len(words) > 1 and _OTHER_BOOST.fullmatch(words[-1]):
            raise ValueError(f"a boost follows a tab, without other signs, not as in {words[-1]!r}")
        return Hotword(words, path=path, line=number)
    try:
        boost = float(value)
    except ValueError:
        raise ValueError(f"the boost after the tab is not a number: {value.strip()!r}") from None
    if not 0 <= boost < math.inf:
        raise ValueError(f"a boost is at least 0 and finite, not {value.strip()}")
    return Hotword(words, boost, path, number)


def apply(
    graph: DecodingGraph,
    hotwords: Iterable[Hotword],
    model: GraphemeToPhoneme | None = None,
    on_error: OnItemError = stop,
    on_progress: OnProgress = lambda _: None,
) -> tuple[DecodingGraph, Guesses]:
    """Add hotwords to a graph and boost them.

    Parameters
    ----------
    graph : DecodingGraph
        It is not changed.
    hotwords : iterable of Hotword
        Words that the graph lacks get the pronunciations of its recipe's dictionary, else those
        that ``model`` guesses, and may occur wherever its language model backs off to unigrams.
    model : GraphemeToPhoneme, optional
        :class:`asr_hlg.lexicon.g2p.HamaG2P` by default.
    on_error : callable
        Receives a `HotwordError` for each hotword with a word that the graph lacks and that cannot
        be pronounced, or whose G is a grammar, which takes no new words. The hotword is left out if
        it returns.
    on_progress : callable
        Called with the number of words that have been pronounced since its last call.

    Returns
    -------
    graph : DecodingGraph
        The boosts of hotwords are part of ``graph_score``; see
        :func:`asr_hlg.graph.adapt.phrases.boost`.
    guesses : Guesses
        The words whose pronunciation was guessed.
    """
    resolved = [_match_case(hotword, graph) for hotword in hotwords]
    missing = dict.fromkeys(
        w for hotword in resolved for w in hotword.words if w not in graph.words
    )
    entries: list[Pronunciation] = []
    guesses = Guesses({}, {word: _NO_NEW_WORDS for word in missing})
    if graph.takes_new_words:
        tokens = graph.token_names[: symbols.first_disambig(graph.tokens)]
        entries, guesses = pronounce(missing, tokens, graph.meta, graph.folder, model, on_progress)
    resolved = list(_without_left_out(resolved, guesses.left_out, on_error))
    used = {word for hotword in resolved for word in hotword.words}
    entries = [entry for entry in entries if entry.word in used]
    phrases: dict[tuple[str, ...], float] = {}
    for hotword in resolved:
        phrases[hotword.words] = max(hotword.boost, phrases.get(hotword.words, 0.0))
    if entries:
        pronunciations = defaultdict(list)
        for entry in entries:
            pronunciations[entry.word].append(entry.phones)
        # A new word that is in no longer phrase has its boost from its first token on.
        in_longer = {word for phrase in phrases if len(phrase) > 1 for word in phrase}
        alone = [word for word in pronunciations if word not in in_longer]
        boosts = {word: phrases.pop((word,)) for word in alone}
        graph = with_words(graph, pronunciations, boosts=boosts)
    return boost(graph, phrases), guesses


_NO_NEW_WORDS = "new words cannot be added to it"


def _without_left_out(
    hotwords: Iterable[Hotword], left_out: Mapping[str, str], on_error: OnItemError
) -> Iterator[Hotword]:
    """Hotwords of which no word is left out; the error of each other one goes to ``on_error``."""
    for hotword in hotwords:
        word = next((word for word in hotword.words if word in left_out), None)
        if word is None:
            yield hotword
            continue
        reason = left_out[word]
        remedy = "write it into the grammar, or use a graph with an n-gram model"
        if reason != _NO_NEW_WORDS:
            reason = f"it cannot be pronounced: {reason}"
            remedy = "spell it as it is spoken, or add it to the lexicon"
        message = f"the graph lacks {word!r}, and {reason}"
        on_error(HotwordError(message, path=hotword.path, line=hotword.line, remedy=remedy))


def _match_case(hotword: Hotword, graph: DecodingGraph) -> Hotword:
    """Replace words that the graph has only in another case."""
    words = []
    for word in hotword.words:
        cases = (word, word.lower(), word.upper(), word.title())
        words.append(next((case for case in cases if case in graph.words), word))
    return replace(hotword, words=tuple(words))
