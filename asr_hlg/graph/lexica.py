"""The lexicon of a recipe: read from files, or derived from the tokens of a model.

[lexicon]
files = ["lexicon.txt"]            # pronunciations in the model's tokens

[lexicon]
lang = "data/lang_bpe_500"         # a lang folder of icefall or Kaldi, as it is

[lexicon]
tokens = "model/tokens.txt"        # the words of G, spelled in these tokens
bpe = "model/bpe.model"
case = "upper"
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import filterfalse
from pathlib import Path
from typing import Any

from asr_hlg import grammar, lm
from asr_hlg.errors import GraphError, LexiconError
from asr_hlg.files import text_lines
from asr_hlg.fst import symbols
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lexicon import Lexicon, Pronunciation, lang_folder
from asr_hlg.lexicon.subwords import Speller, case_remedy, derive
from asr_hlg.lexicon.token_files import ModelTokens, is_special, read_tokens

_BOUNDARY_PROB = 0.9  # of the token between words

Note = Callable[[str], None]


def read_lexicon(
    recipe: Recipe, vocabulary: frozenset[str] | None = None, note: Note = lambda text: None
) -> Lexicon:
    """Read or derive the lexicon of a recipe.

    Parameters
    ----------
    recipe : Recipe
    vocabulary : frozenset of str, optional
        The words of G, to which the lexicon is limited.
    note : callable
        Receives what the user should know, such as words that the tokens cannot spell.
    """
    section = recipe.lexicon
    options: dict[str, Any] = {
        "silence": section.silence,
        "silence_prob": section.silence_prob,
        "position_dependent": section.position_dependent,
    }
    if section.lang is not None:
        options["silence"] = section.silence or lang_folder.optional_silence(
            recipe.folder_of(section.lang)
        )
    tokens = _tokens(recipe)
    if tokens is not None:
        options["tokens"] = tokens.names
    if recipe.is_derived:
        assert tokens is not None
        # Marks spell nothing, and blank may be one of them that only the network's file names.
        options["tokens"] = [tokens.names[0], *filterfalse(is_special, tokens.names[1:])]
        if section.silence is None and tokens.boundary is not None:
            options |= {"silence": tokens.boundary, "silence_prob": _BOUNDARY_PROB}
        entries = _derived(recipe, tokens, vocabulary, note)
    else:
        entries = _read(recipe, vocabulary)
    if not entries:
        raise LexiconError("no word of the language model is in the lexicon", path=recipe.path)
    return Lexicon(entries, **options)


def read_source(name: str, path: Path, words: Collection[str] | None = None) -> list[Pronunciation]:
    """Read pronunciations from one of the lexicon's files, all of them or those of some words."""
    if name == "pocketsphinx:dict":
        pronunciations = lm.read_dict(path)
        return [
            Pronunciation(*entry) for entry in pronunciations if words is None or entry[0] in words
        ]
    entries = lang_folder.read_entries(path)
    return [entry for entry in entries if words is None or entry.word in words]


def speller_of(recipe: Recipe, tokens: ModelTokens) -> Speller:
    """Speller of words in the tokens of a model, with the options of a recipe."""
    section = recipe.lexicon
    return Speller.of(
        tokens,
        bpe=None if section.bpe is None else recipe.resolve(section.bpe),
        case=section.case,
        segmentations=section.segmentations,
    )


def _read(recipe: Recipe, vocabulary: frozenset[str] | None) -> list[Pronunciation]:
    """Pronunciations of the lexicon's files, each once."""
    known: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for name in recipe.lexicon_files:
        for entry in read_source(name, recipe.resolve(name), vocabulary):
            known.setdefault((entry.word, entry.phones), entry)
    return list(known.values())


def _tokens(recipe: Recipe) -> ModelTokens | None:
    """The tokens that a recipe names; without them they are those of the pronunciations."""
    name = recipe.tokens_file
    return None if name is None else read_tokens(recipe.resolve(name))


def _derived(
    recipe: Recipe, tokens: ModelTokens, vocabulary: frozenset[str] | None, note: Note
) -> list[Pronunciation]:
    """Pronunciations of the words of G, spelled in the tokens of a model."""
    words = sorted(filter(_is_word, _words(recipe) if vocabulary is None else vocabulary))
    speller = speller_of(recipe, tokens)
    entries, unspelled = derive(words, speller)
    remedy = case_remedy(unspelled.words, speller) if recipe.lexicon.case == "keep" else None
    if 2 * len(unspelled.words) > len(words):
        raise LexiconError(
            str(unspelled),
            path=recipe.path,
            remedy=remedy or "name the language model and the tokens of one language",
        )
    if unspelled.words:
        note(f"{unspelled}; they are left out" + (f" ({remedy})" if remedy else ""))
    if recipe.lexicon.case != "keep":
        note(f"words are spelled in {recipe.lexicon.case} case, and keep theirs in transcripts")
    return entries


def _words(recipe: Recipe) -> Iterable[str]:
    """Words of a grammar, or of the list that a recipe names."""
    if recipe.grammar is not None:
        path = recipe.resolve(recipe.grammar.file)
        return grammar.vocabulary(read_text(path), path)
    if recipe.lexicon.words is None:
        raise GraphError(
            "has neither a language model nor a grammar, whose words would be spelled",
            path=recipe.path,
            remedy='write words = "words.txt" under [lexicon]',
        )
    return (line.split()[0] for _, line in text_lines(recipe.resolve(recipe.lexicon.words)))


def _is_word(name: str) -> bool:
    """Whether an entry of a list of words is one, and no mark such as ``<unk>`` or ``#0``."""
    return not is_special(name) and not symbols.is_disambig(name) and not name.startswith("<")


def read_text(path: Path) -> str:
    """Read the text of a grammar; raises a GraphError if that fails."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise GraphError(f"cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError as error:
        raise GraphError(f"is not UTF-8: {error}", path=path) from None
