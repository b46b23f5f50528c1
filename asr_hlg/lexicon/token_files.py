"""Tokens of models that other toolkits exported, brought into this project's order: blank first.

==============  ==================================================================================
``tokens.txt``  ``symbol id`` a line; a line with an id alone is the space (k2, sherpa-onnx)
``vocab.txt``   the same, or one token a line, without blank, which is then the last output (NeMo)
``vocab.json``  ``{"token": id}`` (Hugging Face)
``phones.txt``  as ``tokens.txt`` (Kaldi)
==============  ==================================================================================

Blank is called ``<blk>`` here, and a token that is a space is called ``▁``. Disambiguation symbols
``#0 #1 …`` at the end of a table are no outputs of the network, and are left out.

>>> tokens = read_tokens("tokens.txt", num_outputs=502)
>>> tokens.names[:3], tokens.columns[:3]
(('<blk>', '▁', 'S'), (501, 0, 1))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_hlg.errors import AsrHlgError, ModelError
from asr_hlg.files import parse_json, text_lines
from asr_hlg.fst.symbols import BLANK, EPS, is_disambig

FILES = ("tokens.txt", "vocab.txt", "vocab.json")
"""Names of the files, in the order in which a model's folder is searched for them."""

LANG_FILES = ("tokens.txt", "phones.txt")
"""The same for lang folders of icefall and Kaldi."""

SPACE = "▁"
"""What sentencepiece puts in the place of a space."""

_BLANKS = (BLANK, EPS, "<blank>", "[blank]", "<pad>", "[PAD]")
_LINE = re.compile(r"(?:(.*\S)?\s+)?(\d{1,9})\s*")


@dataclass(frozen=True)
class ModelTokens:
    """Tokens of a model, blank first.

    Attributes
    ----------
    names : tuple of str
    columns : tuple of int
        The output of the network of each.
    boundary : str or None
        The token between words, if there is one: ``|``, or a space of its own.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    boundary: str | None = None

    @property
    def pieces(self) -> frozenset[str]:
        """The tokens that words are spelled with: no blank, no ``<unk>`` and the like."""
        return frozenset(name for name in self.names if not is_special(name))


def is_special(token: str) -> bool:
    """Whether a token is a mark such as ``<unk>``, ``[PAD]`` or ``<|en|>``, and spells nothing."""
    return len(token) > 2 and (token[0], token[-1]) in (("<", ">"), ("[", "]"))


def tokens_file(folder: Path, names: Sequence[str] = FILES) -> Path | None:
    """The file of a folder, or of the folder around it, that lists the tokens; None without one."""
    for place in (folder, folder.parent):
        for name in names:
            if (place / name).is_file():
                return place / name
    return None


def read_tokens(
    path: str | Path,
    num_outputs: int | None = None,
    blank: int | str | None = None,
    boundary: str | None = None,
) -> ModelTokens:
    """Read the tokens of a model.

    Parameters
    ----------
    path : str or Path
    num_outputs : int, optional
        Outputs of the network, with which the number of tokens must agree. Without it, or with one
        more output than tokens, a table without blank gets one at its end.
    blank : int or str, optional
        The id or name of blank; by default one of the names that toolkits use.
    boundary : str, optional
        The token between words; by default ``|`` or, in a table of characters, the space.

    Raises
    ------
    ModelError
        If the file is malformed, has no blank, or does not fit the network.
    """
    path = Path(path)
    names = _without_disambiguation(_names(path), num_outputs)
    if blank is None:
        blank = next((name for name in _BLANKS if name in names), None)
    if blank is None and num_outputs in (None, len(names) + 1):
        names.append(BLANK)
        blank = BLANK
    if num_outputs is not None and len(names) != num_outputs:
        raise ModelError(
            f"lists {len(names)} tokens, but the network has {num_outputs} outputs",
            path=path,
            remedy="put the token file there with which the model was exported",
        )
    if isinstance(blank, str) and blank in names:
        blank = names.index(blank)
    if not isinstance(blank, int) or not 0 <= blank < len(names):
        raise ModelError(
            "has no blank", path=path, remedy=f"name blank one of {', '.join(_BLANKS)}"
        )
    columns = [blank, *(k for k in range(len(names)) if k != blank)]
    ordered = [BLANK, *(names[k] for k in columns[1:])]
    _check_names(ordered, path)
    return ModelTokens(tuple(ordered), tuple(columns), boundary or _boundary(ordered))


def blank_named(names: Sequence[str]) -> tuple[str, ...]:
    """Tokens among which blank, if it has the name of another toolkit, is called ``<blk>``."""
    others = [name for name in _BLANKS if name in names and name != EPS]
    if BLANK in names or EPS in names[:1] or not others:
        return tuple(names)
    return tuple(BLANK if name == others[0] else name for name in names)


def _names(path: Path) -> list[str]:
    """Tokens in the order of their ids."""
    try:
        by_id = _of_json(path) if path.suffix == ".json" else _of_lines(path)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", path=path) from None
    if not by_id or min(by_id) != 0 or max(by_id) != len(by_id) - 1:
        raise ModelError("ids of tokens must run from 0 without a gap", path=path)
    return [by_id[index] for index in range(len(by_id))]


def _of_json(path: Path) -> dict[int, str]:
    """Tokens by id of ``vocab.json``, and those that ``added_tokens.json`` beside it adds."""
    found: dict[int, str] = {}
    for place in (path, path.with_name("added_tokens.json")):
        if not place.is_file():
            continue
        try:
            content = parse_json(place.read_text(encoding="utf-8"))
            pairs = enumerate(content) if isinstance(content, list) else _inverted(content)
            found.update({index: _without_spaces(str(name)) for index, name in pairs})
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise ModelError("expected tokens with their ids", path=place) from None
    return found


def _inverted(content: dict[str, int]) -> list[tuple[int, str]]:
    return [(int(index), name) for name, index in content.items()]


def _of_lines(path: Path) -> dict[int, str]:
    """Tokens by id of lines ``symbol id``, or of a list without ids."""
    try:
        lines = list(text_lines(path, ModelError))
    except AsrHlgError as error:
        raise ModelError(error.message, path=path, line=error.line) from None
    found: dict[int, str] = {}
    matches = [(number, _LINE.fullmatch(line)) for number, line in lines]
    if path.name == "vocab.txt" and not all(match for _, match in matches):
        return dict(enumerate(_from_wordpieces([line.strip() for _, line in lines])))
    for number, match in matches:
        if match is None:
            raise ModelError("expected 'symbol id'", path=path, line=number)
        index = int(match[2])
        if index in found:
            raise ModelError(f"id {index} is given twice", path=path, line=number)
        found[index] = _without_spaces((match[1] or " ").strip() or " ")
    return found


def _from_wordpieces(names: list[str]) -> list[str]:
    """Pieces with ``▁`` before words, of a list that marks the others with ``##``, as NeMo does."""
    if not any(name.startswith("##") and len(name) > 2 for name in names):
        return [_without_spaces(name) for name in names]
    return [
        name[2:] if name.startswith("##") else name if is_special(name) else SPACE + name
        for name in names
    ]


def _without_spaces(name: str) -> str:
    """Name of a token without white space, which separates names in symbol tables."""
    return re.sub(r"\s", SPACE, name)


def _without_disambiguation(names: list[str], num_outputs: int | None) -> list[str]:
    """Names without the disambiguation symbols at their end, unless the network outputs them.

    Marks at the end are left out, too, if there are more names than outputs: Hugging Face's
    tokenizers add ``<s>`` and ``</s>`` after the network is made.
    """
    end = len(names)
    while end and is_disambig(names[end - 1]) and end != num_outputs:
        end -= 1
    while num_outputs is not None and end > num_outputs and is_special(names[end - 1]):
        end -= 1
    return names[:end]


def _check_names(names: list[str], path: Path) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ModelError(f"token {name!r} is listed twice", path=path)
        seen.add(name)


def _boundary(names: list[str]) -> str | None:
    """The token between words of a table of characters."""
    if "|" in names:
        return "|"
    marks_words = any(name.startswith(SPACE) and len(name) > 1 for name in names)
    return SPACE if SPACE in names and not marks_words else None
