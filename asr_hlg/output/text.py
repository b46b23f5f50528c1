"""Readers of transcript files (Kaldi text, trn, CTM, JSON lines), and text normalisation."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

from asr_hlg.errors import AsrHlgError, OnItemError, stop
from asr_hlg.files import parse_json, text_lines

_COMMENT = ";;"  # of NIST's formats
_TRN = re.compile(r"(?P<text>.*)\((?P<id>[^()]+)\)\s*")


def read_transcripts(path: str | Path, on_error: OnItemError = stop) -> dict[str, str]:
    """Read the text of every utterance by id, in the order of the file.

    The suffix determines the format: ``.trn`` (``words (id)``), ``.ctm`` (words with times, joined
    in the order of their starts; the channels of a recording of several are utterances
    ``NAME-CHANNEL``), ``.json`` or ``.jsonl`` (an object with
    ``id`` and ``text`` per line), and Kaldi's ``id word word …`` for any other. Blank lines are
    skipped, and in trn and CTM lines that begin with ``;;``, NIST's comments; runs of blanks
    between words become one.

    Parameters
    ----------
    path : str or Path
    on_error : callable
        Receives an error with file and line for each line that is not UTF-8, has no id, or repeats
        an id. If it returns, the line is left out.
    """
    path = Path(path)
    if path.suffix == ".ctm":
        return _read_ctm(path, on_error)
    parse = {".trn": _parse_trn, ".json": _parse_json, ".jsonl": _parse_json}.get(
        path.suffix, _parse_kaldi
    )
    transcripts: dict[str, str] = {}
    for number, line in text_lines(path, on_error=on_error):
        if path.suffix == ".trn" and line.startswith(_COMMENT):
            continue
        try:
            name, text = parse(line)
            if name in transcripts:
                raise ValueError(f"utterance {name!r} is given twice")
        except ValueError as error:
            on_error(AsrHlgError(str(error), path=path, line=number))
            continue
        transcripts[name] = " ".join(text.split())
    return transcripts


def read_alternatives(path: str | Path) -> dict[str, list[str]]:
    """Read the n-best lists of a JSON file that ``transcribe --nbest N --format json`` wrote.

    Returns the texts of ``alternatives``, best first, for the utterances that have any.
    """
    lists: dict[str, list[str]] = {}
    for number, line in text_lines(Path(path)):
        try:
            record = parse_json(line)
            if record.get("alternatives"):
                lists[record["id"]] = [item["text"] for item in record["alternatives"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AsrHlgError(
                "expected an object with an id and a list of alternatives, each with a text",
                path=path,
                line=number,
                remedy="write it with transcribe --nbest N --format json",
            ) from None
    return lists


def normalise(text: str) -> str:
    """Remove differences of spelling and typography that do not change the words.

    Compatibility characters are replaced, upper case becomes lower case, punctuation and symbols
    are removed, hyphens and dashes separate words, and an apostrophe inside a word is kept.

    Example
    -------
    >>> normalise("“Caxton’s wood-blocks,” he said.")
    "caxton's wood blocks he said"
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    return " ".join("".join(_fold(character) for character in text).split())


def _fold(character: str) -> str:
    """Replacement of one character by `normalise`."""
    category = unicodedata.category(character)
    if category == "Pd":  # dashes
        return " "
    return "" if category[0] in "PS" and character != "'" else character


def _parse_kaldi(line: str) -> tuple[str, str]:
    """Id and text of a line ``id word word …``."""
    if line[0].isspace():
        raise ValueError("the line begins with a blank where the utterance's id should be")
    name, *text = line.split(maxsplit=1)
    return name, text[0] if text else ""


def _parse_trn(line: str) -> tuple[str, str]:
    """Id and text of a line ``word word … (id)``."""
    match = _TRN.fullmatch(line)
    if match is None or not match["id"].strip():
        raise ValueError("expected the words and then the utterance's id in parentheses")
    return match["id"].strip(), match["text"]


def _parse_json(line: str) -> tuple[str, str]:
    """Id and text of a JSON object."""
    record = parse_json(line)
    name, text = (record.get("id"), record.get("text")) if isinstance(record, dict) else ("", "")
    if not name or not isinstance(name, str) or not isinstance(text, str):
        raise ValueError("expected an object with an id and a text")
    return name, text


def _read_ctm(path: Path, on_error: OnItemError) -> dict[str, str]:
    """Text of every utterance of a CTM file, its words in the order of their starts.

    The channels of a recording of several are utterances ``NAME-CHANNEL``.
    """
    words: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for number, line in text_lines(path, on_error=on_error):
        if line.startswith(_COMMENT):
            continue
        try:
            name, channel, start, _duration, word, *_confidence = line.split()
            seconds = float(start)
        except ValueError:
            expected = "expected 'id channel start duration word'"
            on_error(AsrHlgError(expected, path=path, line=number))
            continue
        words.setdefault((name, channel), []).append((seconds, word))
    num_channels = Counter(name for name, _ in words)
    return {
        f"{name}-{channel}" if num_channels[name] > 1 else name: " ".join(
            word for _, word in sorted(timed, key=lambda item: item[0])
        )
        for (name, channel), timed in words.items()
    }
