"""Text forms of a transcript: text, trn, CTM, JSON, subtitles, TextGrid, Lhotse supervisions."""

from __future__ import annotations

import html
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_hlg.errors import AsrHlgError
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.versions import optional

_SHORTEST_INTERVAL = 0.001  # seconds


@dataclass(frozen=True)
class Format:
    """Text form of a transcript.

    Attributes
    ----------
    render : callable
        Makes the text of one transcript.
    suffix : str
        Of the files in a folder.
    header : str
        First text of every file.
    single : bool
        Whether a file can hold only one recording.
    """

    render: Callable[[Transcript], str]
    suffix: str
    header: str = ""
    single: bool = False


def _text(transcript: Transcript) -> str:
    """Kaldi text: the id and the words, as they are written if that was requested."""
    text = transcript.written_text or transcript.text
    return f"{_one_field(transcript.id)} {text}".rstrip() + "\n"


def _trn(transcript: Transcript) -> str:
    """NIST's trn: the words and the id in parentheses.

    sclite takes the part of an id before the first hyphen or underscore as the speaker
    (``-i spu_id``). Parentheses inside an id would end it and are replaced by brackets.
    """
    words = " ".join(map(_sclite_word, transcript.text.split()))
    id = _one_field(transcript.id).translate(str.maketrans("()", "[]"))
    return f"{words} ({id})".lstrip() + "\n"


def _ctm(transcript: Transcript) -> str:
    """NIST's conversation time marks: recording, channel, start, duration, word, confidence.

    sclite takes any channel that is the same in the references, and a line that begins with a
    semicolon for a comment.
    """
    lines = []
    id = re.sub("^;", "_", _one_field(transcript.recording or transcript.id))
    channel = _one_field(transcript.channel) or "1"
    for word in _timed_words(transcript):
        # The difference of rounded times keeps adjacent words adjacent.
        duration = round(word.end, 3) - round(word.start, 3)
        lines.append(
            f"{id} {channel} {word.start:.3f} {duration:.3f} "
            f"{_sclite_word(word.text)} {word.confidence:.4f}\n"
        )
    return "".join(lines)


def _sclite_word(word: str) -> str:
    """Word with sclite's markup characters replaced, since they cannot be escaped.

    Braces delimit alternatives, ``@`` is the null word, ``(word)`` may be deleted at no cost,
    ``<ALT`` begins a tag, ``;`` an attribute of a word. See doc/infmts.htm in NIST's SCTK.
    """
    word = _one_field(word).translate(str.maketrans("{};", "[],"))
    if not word:
        return "@"
    is_markup = word == "@" or word.upper().startswith("<ALT")
    if len(word) > 2 and word[0] == "(" and word[-1] == ")":
        word, is_markup = word[1:-1], True
    return f"[{word}]" if is_markup else word


def _json(transcript: Transcript) -> str:
    """One JSON object a line."""
    record = asdict(transcript)
    for tier in ("words", *_phones(transcript)):
        name = tier.removesuffix("s")
        record[tier] = [{name: item.pop("text"), **item} for item in record[tier]]
    record["written"] = transcript.written_text
    for name in ("alternatives", "notes", "recording", "channel", "written", "phones"):
        if not record[name]:
            del record[name]
    return json.dumps(rounded(record), ensure_ascii=False, allow_nan=False) + "\n"


def rounded(value: Any) -> Any:
    """Copy with floats of four decimals; infinities and NaN, which JSON lacks, become null."""
    if isinstance(value, float):
        return round(value, 4) if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def _srt(transcript: Transcript) -> str:
    """SubRip subtitles."""
    return "".join(srt_cues(transcript))


def srt_cues(transcript: Transcript, first: int = 1) -> list[str]:
    """SubRip subtitles, each with a number, from ``first`` on."""
    from asr_hlg.output.subtitles import cues

    blocks = []
    for number, cue in enumerate(cues(_shown_words(transcript), transcript.duration), first):
        lines = "\n".join(" ".join(word.text for word in line) for line in cue.lines)
        start, end = clock(cue.start, ","), clock(cue.end, ",")
        blocks.append(f"{number}\n{start} --> {end}\n{lines}\n\n")
    return blocks


def _vtt(transcript: Transcript) -> str:
    """WebVTT cues with a time stamp before every word except a cue's first.

    The time stamps let a page highlight words as they are spoken; players without such a style
    ignore them. Words with a confidence below 0.5 have the class ``unsure``, for a style sheet.
    """
    from asr_hlg.output.subtitles import cues

    blocks = []
    for cue in cues(_shown_words(transcript), transcript.duration):
        lines = "\n".join(
            " ".join(_vtt_word(word, cue.start) for word in line) for line in cue.lines
        )
        blocks.append(f"{clock(cue.start)} --> {clock(cue.end)}\n{lines}\n\n")
    return "".join(blocks)


def _vtt_word(word: Word, cue_start: float) -> str:
    """Word of a WebVTT cue with its class and its time stamp."""
    text = html.escape(word.text, quote=False)
    if word.confidence < 0.5:
        text = f"<c.unsure>{text}</c>"
    return text if word.start <= cue_start else f"<{clock(word.start)}>{text}"


def clock(seconds: float, decimal_mark: str = ".") -> str:
    """Time as ``hh:mm:ss.mmm``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal_mark}{milliseconds:03}"


def _textgrid(transcript: Transcript) -> str:
    """Praat's long TextGrid, which ELAN imports too: an interval tier of words, one of phones."""
    tiers = {"words": _timed_words(transcript), **_phones(transcript)}
    return textgrid(tiers, transcript.duration)


def textgrid(tiers: Mapping[str, list[Word]], duration: float, layout: str = "long") -> str:
    """TextGrid with an interval tier for every list of words, ``long`` or ``short``.

    Praat allows neither empty nor overlapping intervals, nor a grid of no length: an interval
    that would be one lasts a millisecond, or begins at the end of the one before.
    """
    praatio = optional(
        "praatio", "praatio.textgrid", purpose="writing TextGrids", extra="textgrid"
    ).textgrid
    intervals = {name: _intervals(tier) for name, tier in tiers.items()}
    # The last frame may reach a little past the last sample.
    ends = [end for tier in intervals.values() for _, end, _ in tier]
    length = max([duration, _SHORTEST_INTERVAL, *ends])
    grid = praatio.Textgrid(0.0, length)
    for name, tier in intervals.items():
        grid.addTier(praatio.IntervalTier(name, tier, 0.0, length))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid"  # praatio writes to files only
        grid.save(
            str(path), f"{layout}_textgrid", includeBlankSpaces=True, minimumIntervalLength=None
        )
        return path.read_text(encoding="utf-8")


def _intervals(tier: list[Word]) -> list[tuple[float, float, str]]:
    """Intervals of a tier: start, end and label, none empty and no two overlapping."""
    intervals: list[tuple[float, float, str]] = []
    earliest = 0.0
    for item in tier:
        start = max(item.start, earliest)
        earliest = item.end if item.end > start else start + _SHORTEST_INTERVAL
        intervals.append((start, earliest, item.text))
    return intervals


def _lhotse(transcript: Transcript) -> str:
    """One supervision segment of Lhotse a line, as JSON."""
    from lhotse.supervision import AlignmentItem, SupervisionSegment  # imports torch

    alignment = {
        name.removesuffix("s"): [
            AlignmentItem(item.text, item.start, round(item.end - item.start, 4), item.confidence)
            for item in tier
        ]
        for name, tier in {"words": transcript.words, **_phones(transcript)}.items()
    }
    segment = SupervisionSegment(
        id=transcript.id,
        recording_id=transcript.id,
        start=0.0,
        duration=transcript.duration,
        text=transcript.text,
        alignment=alignment,
    )
    return json.dumps(rounded(segment.to_dict()), ensure_ascii=False) + "\n"


def _timed_words(transcript: Transcript) -> list[Word]:
    """Words with times, for the formats that need them."""
    if transcript.text and not transcript.words:
        raise AsrHlgError(
            f"{transcript.id} has no word times", remedy="write it as text, trn or json"
        )
    return transcript.words


def _shown_words(transcript: Transcript) -> list[Word]:
    """Words of subtitles: as they are written, if that was requested."""
    return transcript.written or _timed_words(transcript)


def _phones(transcript: Transcript) -> dict[str, list[Word]]:
    """Tier of phones, by its name, if the transcript has phones."""
    return {"phones": transcript.phones} if transcript.phones else {}


def _one_field(name: str) -> str:
    """Text with underscores for blanks, for formats in which blanks separate fields."""
    return "_".join(name.split())


FORMATS = {
    "text": Format(_text, ".txt"),
    "trn": Format(_trn, ".trn"),
    "ctm": Format(_ctm, ".ctm"),
    "json": Format(_json, ".jsonl"),
    "srt": Format(_srt, ".srt", single=True),
    "vtt": Format(_vtt, ".vtt", header="WEBVTT\n\n", single=True),
    "textgrid": Format(_textgrid, ".TextGrid", single=True),
    "lhotse": Format(_lhotse, ".jsonl"),
}
"""Text formats by name."""
