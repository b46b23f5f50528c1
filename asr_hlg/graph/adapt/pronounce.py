"""How words are pronounced that a graph lacks: as its sources have them, or as a model guesses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from asr_hlg.errors import GraphError
from asr_hlg.graph.build import read_source
from asr_hlg.graph.recipe import LexiconSection, Recipe
from asr_hlg.lexicon import Lexicon, Pronunciation, g2p
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, Guesses


def pronounce(
    words: Collection[str],
    tokens: Sequence[str],
    meta: Mapping[str, Any],
    folder: Path | None = None,
    model: GraphemeToPhoneme | None = None,
) -> tuple[list[Pronunciation], Guesses]:
    """Look words up in the files that a graph was made of, and guess what they lack.

    Parameters
    ----------
    words : collection of str
    tokens : sequence of str
        The graph's tokens without ``#0 #1 …``; a guess with others is left out.
    meta : mapping
        Of the graph. Its language model may have had no use for words that its dictionary has.
    folder : Path, optional
        Where the graph lies: beside its recipe, as a rule. A file that is not there any more is
        not looked at.
    model : GraphemeToPhoneme, optional
        :class:`asr_hlg.lexicon.g2p.HamaG2P` by default.

    Returns
    -------
    entries : list of Pronunciation
        Of all words but those left out.
    guesses : Guesses
        The words that no file has.
    """
    if not words:
        return [], Guesses({}, {})
    entries = _from_sources(set(words), meta.get("recipe", {}), folder)
    known = {entry.word for entry in entries}

    def lacking(phones: tuple[str, ...]) -> list[str]:
        (spelling,) = Lexicon([("word", phones)], **meta["lexicon"]).spellings("word")
        return [token for token in spelling if token not in tokens]

    unknown = [word for word in words if word not in known]
    guesses = g2p.guess(unknown, model or g2p.HamaG2P(), lacking)
    return entries + [Pronunciation(*guess) for guess in guesses.pronunciations.items()], guesses


def _from_sources(
    words: set[str], recipe: Mapping[str, Any], folder: Path | None
) -> list[Pronunciation]:
    section = LexiconSection(**recipe.get("lexicon", {}))
    origin = Recipe((folder or Path()).parent / recipe.get("path", ""), section)
    found: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for name in section.files:
        if folder is None and not name.startswith("pocketsphinx:"):
            continue
        with suppress(GraphError):  # a file that has gone
            for entry in read_source(name, origin.resolve(name), words):
                found.setdefault((entry.word, entry.phones), entry)
    return list(found.values())
