"""Folders that hold a lexicon with its tokens, as other toolkits make them.

=====================  ==============================================================
icefall ``lang_*``     ``lexicon.txt``, ``tokens.txt``, ``words.txt``
Kaldi ``data/lang``    ``phones/align_lexicon.txt``, ``phones.txt``, ``words.txt``
Kaldi ``dict``         ``lexiconp.txt`` or ``lexicon.txt``, ``optional_silence.txt``
=====================  ==============================================================

What torch has pickled in such folders, ``L.pt`` and ``HLG.pt``, is not read, since a pickle can run
code; the text files have the same content.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr_hlg.errors import LexiconError
from asr_hlg.files import text_lines
from asr_hlg.fst.symbols import EPS
from asr_hlg.lexicon.entries import Pronunciation, parse

_ALIGNED = "phones/align_lexicon.txt"
_LEXICA = ("lexiconp.txt", "lexicon.txt", _ALIGNED)
_SILENCES = ("phones/optional_silence.txt", "optional_silence.txt")


def lexicon_file(folder: Path) -> Path:
    """The file of a folder that has the pronunciations.

    Raises
    ------
    LexiconError
        If there is none.
    """
    for name in _LEXICA:
        if (folder / name).is_file():
            return folder / name
    pickled = sorted(path.name for path in folder.glob("*.pt"))
    found = f"only {', '.join(pickled)}, pickled by torch" if pickled else "none"
    raise LexiconError(
        f"a lang folder must have a lexicon in text, this one has {found}",
        path=folder,
        remedy=f"put one of {', '.join(_LEXICA)} there",
    )


def optional_silence(folder: Path) -> str | None:
    """The phone of silence between words that a folder names.

    Raises
    ------
    LexiconError
        If the file cannot be read, or names several.
    """
    for name in _SILENCES:
        path = folder / name
        if path.is_file():
            phones = [line.strip() for _, line in text_lines(path, LexiconError)]
            if len(phones) > 1:
                raise LexiconError("expected one phone", path=path, line=2)
            return phones[0] if phones else None
    return None


def read_entries(path: Path) -> list[Pronunciation]:
    """Pronunciations of a lexicon in text, whichever the toolkit.

    Raises
    ------
    LexiconError
        If a line is malformed, or the file is no text.
    """
    if path.suffix in (".pt", ".fst"):
        raise LexiconError(
            "is a compiled lexicon",
            path=path,
            remedy="name lexicon.txt, which has the same content",
        )
    if path.name == Path(_ALIGNED).name:
        return list(_aligned(path))
    return list(parse(path, path.name.startswith("lexiconp")))


def _aligned(path: Path) -> Iterator[Pronunciation]:
    """Lines ``word word phone phone …`` of Kaldi; those of silence and duplicates are left out."""
    seen: set[tuple[str, ...]] = set()
    for number, line in text_lines(path, LexiconError):
        fields = line.split()
        if len(fields) < 3 or fields[0] != fields[1]:
            raise LexiconError("expected 'word word phone phone …'", path=path, line=number)
        if fields[0] != EPS and tuple(fields) not in seen:
            seen.add(tuple(fields))
            yield Pronunciation(fields[0], tuple(fields[2:]), 1.0, str(path), number)
