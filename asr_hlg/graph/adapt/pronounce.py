"""Pronunciations of words that a graph lacks, from its sources or guessed by a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from asr_hlg.errors import GraphError
from asr_hlg.graph.lexica import read_source
from asr_hlg.graph.recipe import LexiconSection, Recipe
from asr_hlg.lexicon import Lexicon, Pronunciation, g2p
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, Guesses, OnProgress


def pronounce(
    words: Collection[str],
    tokens: Sequence[str],
    meta: Mapping[str, Any],
    folder: Path | None = None,
    model: GraphemeToPhoneme | None = None,
    on_progress: OnProgress = lambda _: None,
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
    on_progress : callable
        Called with the number of words that have been done since its last call.

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
    on_progress(len(known))
    guesses = g2p.guess(unknown, model or g2p.HamaG2P(), missing_tokens, on_progress)
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
    entries: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for name, path in _sources(meta.get("recipe", {}), folder):
        if name in without:
            continue
        with suppress(GraphError):  # the file no longer exists
            for entry in read_source(name, path, words):
                entries.setdefault((entry.word, entry.phones), entry)
    return list(entries.values())


def source_files(recipe: Mapping[str, Any], folder: Path) -> list[Path]:
    """Files in which :func:`pronounce` looks for words of a graph; they may no longer exist."""
    return [path for _, path in _sources(recipe, folder)]


def _sources(recipe: Mapping[str, Any], folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Sources of the lexicon of a recipe, by the name in it, with their paths."""
    section = LexiconSection(**recipe.get("lexicon", {}))
    origin = Recipe((folder or Path()).parent / recipe.get("path", ""), section)
    for name in origin.lexicon_files:
        if folder is not None or name.startswith("pocketsphinx:"):
            with suppress(GraphError):  # its package is not installed
                yield name, origin.resolve(name)
