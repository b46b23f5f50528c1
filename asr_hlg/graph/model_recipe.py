"""Recipes for the model of another toolkit: what ``asr-hlg graph NAME --model FOLDER`` writes.

>>> print(recipe_text(Path("zipformer"), Path("graphs/talks.toml"), lm=Path("talks.arpa")).text)
acoustic_model = "../zipformer"
<BLANKLINE>
[lexicon]
tokens = "../zipformer/tokens.txt"
bpe = "../zipformer/bpe.model"
case = "upper"
<BLANKLINE>
[lm]
file = "../talks.arpa"
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from asr_hlg.errors import GraphError
from asr_hlg.grammar import vocabulary
from asr_hlg.graph.lexica import read_text
from asr_hlg.lexicon import token_files
from asr_hlg.lexicon.subwords import Case, Speller
from asr_hlg.lm import read as read_lm

_BPE = ("bpe.model", "bbpe.model", "tokenizer.model", "spm.model", "sentencepiece.bpe.model")
_SAMPLE = 20_000  # words by which the case is chosen


@dataclass(frozen=True)
class Written:
    """A recipe in TOML, and what was found."""

    text: str
    case: Case
    bpe: Path | None


def recipe_text(
    model: Path,
    recipe: Path,
    *,
    lm: Path | None = None,
    grammar: Path | None = None,
    segmentations: int = 1,
) -> Written:
    """Write the recipe of a graph for the tokens of a model.

    Parameters
    ----------
    model : Path
        A folder with the model's tokens, or a file in it. A sentencepiece model in the folder
        splits words.
    recipe : Path
        Where the recipe will be, to which its paths are relative.
    lm, grammar : Path, optional
        One of them, whose words are spelled in the tokens, in the case that fits most of them.
    segmentations : int
        Ways to split a word, at most.
    """
    if not model.exists():
        raise GraphError(
            "there is no such model", path=model, remedy="name the folder of a CTC model"
        )
    folder = model if model.is_dir() else model.parent
    tokens = token_files.tokens_file(folder)
    if tokens is None:
        raise GraphError(
            f"has no file with its tokens ({', '.join(token_files.FILES)})",
            path=folder,
            remedy="name the folder of a CTC model, such as docs/models.md describes",
        )
    if (lm is None) == (grammar is None):
        raise GraphError(
            "a graph for a model needs a language model or a grammar",
            remedy="name one with --lm or --grammar",
        )
    bpe = next((tokens.parent / name for name in _BPE if (tokens.parent / name).is_file()), None)
    speller = Speller.of(token_files.read_tokens(tokens))
    case = speller.fits_in_case(list(islice(_words(lm, grammar), _SAMPLE)))
    name = lm or grammar
    assert name is not None
    lines = [
        f"acoustic_model = {_relative(model, recipe)}",
        "",
        "[lexicon]",
        f"tokens = {_relative(tokens, recipe)}",
        *([f"bpe = {_relative(bpe, recipe)}"] if bpe else []),
        *([f'case = "{case}"'] if case != "keep" else []),
        *([f"segmentations = {segmentations}"] if segmentations > 1 else []),
        "",
        "[lm]" if lm is not None else "[grammar]",
        f"file = {_relative(name, recipe)}",
    ]
    return Written("\n".join(lines) + "\n", case, bpe)


def _words(model: Path | None, rules: Path | None) -> Iterator[str]:
    """Words of a language model or grammar."""
    if model is not None:
        return (word for word in read_lm(model).words if not word.startswith("<"))
    assert rules is not None
    return iter(vocabulary(read_text(rules), rules))


def _relative(path: Path, recipe: Path) -> str:
    """Path relative to a recipe, as TOML writes it."""
    return json.dumps(os.path.relpath(path, recipe.parent), ensure_ascii=False)
