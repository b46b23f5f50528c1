"""Pronunciations of words that a graph lacks, from its sources or guessed by a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from asr_hlg.errors import GraphError
from asr_hlg.graph import metadata
from asr_hlg.graph.lexica import read_source
from asr_hlg.graph.recipe import LexiconSection, Recipe
from asr_hlg.lexicon import Lexicon, Pronunciation, g2p
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, Guesses, OnProgress
from asr_hlg.lexicon.subwords import Speller
from asr_hlg.lexicon.token_files import is_special


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
        Of the graph. Files that no longer exist are skipped.
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

    if (speller := speller_of_graph(meta, tokens)) is not None:
        return _spelled(words, known, entries, speller)

    def missing_tokens(phones: tuple[str, ...]) -> list[str]:
        (spelling,) = Lexicon([("word", phones)], **meta["lexicon"]).spellings("word")
        return [token for token in spelling if token not in tokens]

    unknown = [word for word in words if word not in known]
    on_progress(len(known))
    guesses = g2p.guess(unknown, model or g2p.HamaG2P(), missing_tokens, on_progress)
    return entries + [Pronunciation(*guess) for guess in guesses.pronunciations.items()], guesses


def speller_of_graph(meta: Mapping[str, Any], tokens: Sequence[str]) -> Speller | None:
    """Speller of new words, for a graph whose words are spelled in the tokens of a model.

    None for graphs whose lexicon was read from files.
    """
    section = LexiconSection(**meta.get("recipe", {}).get("lexicon", {}))
    if section.tokens is None or section.files or section.lang:
        return None
    boundary = meta["lexicon"]["silence"]
    pieces = [token for token in tokens[1:] if token != boundary and not is_special(token)]
    return Speller(pieces, case=section.case, segmentations=section.segmentations)


def _spelled(
    words: Collection[str],
    known: Collection[str],
    entries: list[Pronunciation],
    speller: Speller,
) -> tuple[list[Pronunciation], Guesses]:
    """The entries, and those of the other words in tokens."""
    spelled: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    for word in words:
        if word in known:
            continue
        spellings = speller.spellings(word)
        entries = [*entries, *(Pronunciation(word, pieces) for pieces in spellings)]
        if spellings:
            spelled[word] = spellings[0]
        else:
            missing = ", ".join(dict.fromkeys(speller.missing(word)))
            left_out[word] = f"the model's tokens lack {missing}"
    return entries, Guesses(spelled, left_out)


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
    for name, path in _sources(meta, folder):
        if name in without:
            continue
        with suppress(GraphError):  # the file no longer exists
            for entry in read_source(name, path, words):
                entries.setdefault((entry.word, entry.phones), entry)
    return list(entries.values())


def source_files(meta: Mapping[str, Any], folder: Path) -> list[Path]:
    """Files in which :func:`pronounce` looks for words of a graph; they may no longer exist."""
    return [path for _, path in _sources(meta, folder)]


def _sources(meta: Mapping[str, Any], folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Sources of the lexicon of a graph's recipe, by the name in it, with their paths."""
    recipe = meta.get("recipe", {})
    parent = Path() if folder is None else metadata.recipe_folder(folder, meta)
    origin = Recipe(parent / recipe.get("path", ""), LexiconSection(**recipe.get("lexicon", {})))
    for name in origin.lexicon_files:
        if folder is not None or name.startswith("pocketsphinx:"):
            with suppress(GraphError):  # its package is not installed
                yield name, origin.resolve(name)
