"""Another G over the L and H of a compiled graph, made while one waits.

    graph, guesses = with_grammar("graphs/en", "call (alice | bob)")
    print(guesses.report())            # words that the lexicon lacked

Only the grammar's own words go through the compilation, which therefore takes a second where the
graph took a minute.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from asr_hlg import g2p, grammar, symbols
from asr_hlg.errors import GrammarError, GraphError
from asr_hlg.g2p import GraphemeToPhoneme, Guesses
from asr_hlg.graph import DecodingGraph, compile_lg, finish, store
from asr_hlg.graph.build import make_topology, read_source
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.recipe import LexiconSection, Recipe, TopologySection
from asr_hlg.lexicon import Lexicon, Pronunciation


def with_grammar(
    folder: str | Path,
    text: str,
    path: str | Path | None = None,
    model: GraphemeToPhoneme | None = None,
) -> tuple[DecodingGraph, Guesses]:
    """Compile a grammar over the lexicon and the topology of a graph folder.

    Parameters
    ----------
    folder : str or Path
        A compiled graph. Its own G and its arcs are not read.
    text : str
        A grammar as :mod:`asr_hlg.grammar` describes it. Its words are pronounced as the graph's
        lexicon does; a word that is not in there, as the files of its recipe do, if they are
        still there; a word that none of them has, as ``model`` guesses.
    path : str or Path, optional
        Where the text is from, for error messages.
    model : GraphemeToPhoneme, optional
        :class:`asr_hlg.g2p.HamaG2P` by default.

    Returns
    -------
    graph : DecodingGraph
        With the folder's posterior columns, silence, topology and search options.
    guesses : Guesses
        The words whose pronunciation was guessed.

    Raises
    ------
    GraphError
        If the folder is not a compiled graph of a recipe.
    GrammarError
        For a grammar that cannot be compiled, or a word that cannot be pronounced.
    """
    folder = Path(folder)
    meta = store.read_meta(folder)
    if "recipe" not in meta:
        raise GraphError("was not compiled from a recipe, so its topology is unknown", path=folder)
    lines = grammar.vocabulary(text, path)
    lexicon, guesses = _lexicon(folder, meta, lines, model)
    for word, reason in guesses.left_out.items():
        raise GrammarError(
            f"{word!r} is not in the lexicon and cannot be pronounced: {reason}",
            path=path,
            line=lines[word],
            remedy="write it as it is spoken",
        )
    G = grammar.to_arcs(text, lexicon.words, path)
    meter = Meter()
    lg = compile_lg(lexicon, G, meter)
    H = make_topology(TopologySection(**meta["recipe"]["topology"]), lexicon)
    graph = finish(H, lexicon, lg, meter, tuple(meta["columns"]))
    source = None if path is None else str(path)
    graph.meta["recipe"] = {**meta["recipe"], "lm": None, "grammar": {"file": source}}
    return graph, guesses


def _lexicon(
    folder: Path, meta: dict[str, Any], words: Collection[str], model: GraphemeToPhoneme | None
) -> tuple[Lexicon, Guesses]:
    """Pronunciations of these words over the graph's tokens."""
    store.check_files(folder, meta, ["lexiconp.txt", "tokens.txt"])
    tokens = symbols.read(folder / "tokens.txt")
    options = {"tokens": symbols.names(tokens)[: symbols.first_disambig(tokens)], **meta["lexicon"]}
    entries = store.read_entries(folder, words)
    entries += _from_sources(folder, meta["recipe"], set(words) - {entry.word for entry in entries})
    known = {entry.word for entry in entries}
    unknown = [word for word in words if word not in known]
    guesses = g2p.guess(unknown, model or g2p.HamaG2P())
    entries += [Pronunciation(*guess) for guess in guesses.pronunciations.items()]
    return Lexicon(entries, **options), guesses


def _from_sources(folder: Path, recipe: dict[str, Any], words: set[str]) -> list[Pronunciation]:
    """Pronunciations that the recipe's files have and its language model had no use for."""
    if not words:
        return []
    section = LexiconSection(**recipe["lexicon"])
    origin = Recipe(folder.parent / recipe["path"], section)
    found: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for name in section.files:
        with suppress(GraphError):  # a file that is not there any more
            for entry in read_source(name, origin.resolve(name)):
                if entry.word in words:
                    found.setdefault((entry.word, entry.phones), entry)
    return list(found.values())
