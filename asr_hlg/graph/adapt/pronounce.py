"""Pronunciations of words that a graph lacks, from its sources or guessed by a model."""

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
    """Look words up in the files that a graph was compiled from, and guess the others.

    Parameters
    ----------
    words : collection of str
    tokens : sequence of str
        The graph's tokens without ``#0 #1 …``; a guess with others is left out.
    meta : mapping
        Of the graph. Its dictionary may have words that its language model lacks.
    folder : Path, optional
        Of the graph, usually beside its recipe. Files that no longer exist are skipped.
    model : GraphemeToPhoneme, optional
        :class:`asr_hlg.lexicon.g2p.HamaG2P` by default.

    Returns
    -------
    entries : list of Pronunciation
        Of all words except those left out.
    guesses : Guesses
        Words whose pronunciation was guessed, and those left out.
    """
    if not words:
        return [], Guesses({}, {})
    entries = from_sources(meta, folder, set(words))
    known = {entry.word for entry in entries}

    def missing_tokens(phones: tuple[str, ...]) -> list[str]:
        (spelling,) = Lexicon([("word", phones)], **meta["lexicon"]).spellings("word")
        return [token for token in spelling if token not in tokens]

    unknown = [word for word in words if word not in known]
    guesses = g2p.guess(unknown, model or g2p.HamaG2P(), missing_tokens)
    return entries + [Pronunciation(*guess) for guess in guesses.pronunciations.items()], guesses


def from_sources(
    meta: Mapping[str, Any],
    folder: Path | None,
    words: set[str] | None = None,
    without: Collection[str] = (),
) -> list[Pronunciation]:
    """Pronunciations in the files that a graph was compiled from.

    Parameters
    ----------
    meta : mapping
        Of the graph.
    folder : Path, optional
        Of the graph, usually beside its recipe. Files that no longer exist are skipped.
    words : set of str, optional
        Only those words; by default all.
    without : collection of str
        Names of files to skip.
    """
    recipe = meta.get("recipe", {})
    section = LexiconSection(**recipe.get("lexicon", {}))
    origin = Recipe((folder or Path()).parent / recipe.get("path", ""), section)
    entries: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for name in section.files:
        if name in without or (folder is None and not name.startswith("pocketsphinx:")):
            continue
        with suppress(GraphError):  # the file no longer exists
            for entry in read_source(name, origin.resolve(name), words):
                entries.setdefault((entry.word, entry.phones), entry)
    return list(entries.values())
