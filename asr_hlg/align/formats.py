"""Formats of alignments: those of transcripts, with lines, and sync maps of audiobooks.

A line of the text is a subtitle of SRT and WebVTT, an interval of the TextGrid's tier ``lines``, an
object of JSON, a fragment of a sync map. Words that are not spoken have no times: they are marked
in JSON and left out elsewhere; so are lines without a spoken word.
"""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from asr_hlg.align.alignment import Alignment, Line
from asr_hlg.output.formats import FORMATS, Format, clock, rounded, textgrid
from asr_hlg.output.subtitle_rules import LINE_LENGTH, MIN_SECONDS
from asr_hlg.output.transcript import Transcript, Word

UNMATCHED = "unmatched"
"""Tier, and label, of sound that the text lacks."""

_CLOSEST = 0.001  # seconds between two intervals that are not adjacent


def _json(transcript: Transcript) -> str:
    """One JSON object a line: words, phones and states, the lines, and unmatched sound."""
    alignment = _checked(transcript)
    record: dict[str, Any] = {
        "id": alignment.id,
        "text": alignment.text,
        "words": _json_words(alignment),
        "score": alignment.score,
        "duration": alignment.duration,
        "phones": [_timed("phone", phone) for phone in alignment.phones],
    }
    if alignment.states:
        record["states"] = [_timed("state", state) for state in alignment.states]
    if alignment.written:
        record["written"] = " ".join(line.text for line in alignment.lines)
    record["lines"] = [_json_line(line) for line in alignment.lines]
    record[UNMATCHED] = [{"start": start, "end": end} for start, end in alignment.unmatched]
    return json.dumps(rounded(record), ensure_ascii=False, allow_nan=False) + "\n"


def _timed(name: str, word: Word) -> dict[str, Any]:
    return {name: word.text, "start": word.start, "end": word.end, "confidence": word.confidence}


def _json_words(alignment: Alignment) -> list[dict[str, Any]]:
    """All words of the text in order; words that are not spoken have no times."""
    if not alignment.lines:
        return [_timed("word", word) for word in alignment.words]
    words: list[dict[str, Any]] = []
    for line in alignment.lines:
        for token in line.tokens:
            words += [_timed("word", word) for word in token.words]
            if not token.words:
                words += [{"word": word, "unspoken": True} for word in token.spoken.split()]
    return words


def _json_line(line: Line) -> dict[str, Any]:
    """A line with its times, and how many of its words are not spoken."""
    record: dict[str, Any] = {"text": line.text}
    if line.speaker:
        record["speaker"] = line.speaker
    if line.span is not None:
        record["start"], record["end"] = line.span
    missing = sum(not token.words for token in line.tokens)
    if line.span is None:
        record["unspoken"] = True
    elif missing:
        record["unspoken_words"] = missing
    return record


def _textgrid(layout: str) -> Callable[[Transcript], str]:
    """Writer of TextGrids with tiers of lines, words, phones and states, for every speaker."""

    def render(transcript: Transcript) -> str:
        alignment = _checked(transcript)
        tiers: dict[str, list[Word]] = {}
        if any(line.speaker for line in alignment.lines):
            for speaker in dict.fromkeys(line.speaker for line in alignment.lines):
                lines = [line for line in alignment.lines if line.speaker == speaker]
                phones = [p for line in lines for token in line.tokens for p in token.phones]
                tiers[f"{speaker} - lines"] = _of_lines(lines)
                tiers[f"{speaker} - words"] = [word for line in lines for word in line.words]
                tiers[f"{speaker} - phones"] = phones
        else:
            if len(alignment.lines) > 1:
                tiers["lines"] = _of_lines(alignment.lines)
            tiers |= {"words": alignment.words, "phones": alignment.phones}
        if alignment.states:
            tiers["states"] = alignment.states
        if alignment.unmatched:
            tiers[UNMATCHED] = [Word(UNMATCHED, *span, 1.0) for span in alignment.unmatched]
        return textgrid(
            {name: _adjacent(tier) for name, tier in tiers.items()}, alignment.duration, layout
        )

    return render


def _adjacent(tier: list[Word]) -> list[Word]:
    """Tier in which times have a tenth of a millisecond, and tiny gaps are closed."""
    result: list[Word] = []
    for item in tier:
        start, end = round(item.start, 4), round(item.end, 4)
        if result and 0 < start - result[-1].end <= _CLOSEST:
            start = result[-1].end
        result.append(Word(item.text, start, end, item.confidence))
    return result


def _of_lines(lines: list[Line]) -> list[Word]:
    """The lines that are spoken, as a tier."""
    return [Word(line.text, *line.span, 1.0) for line in lines if line.span is not None]


def _subtitles(name: str, header: str, mark: str) -> Format:
    """Format in which a line is a cue; a text of one line is cut into cues as for transcripts."""

    def render(transcript: Transcript) -> str:
        alignment = _checked(transcript)
        if len(alignment.lines) < 2:
            return FORMATS[name].render(alignment)
        blocks = []
        for number, (start, end, line) in enumerate(_cues(alignment), start=1):
            speaker = f"<v {line.speaker}>" if line.speaker and name == "vtt" else ""
            text = "\n".join(textwrap.wrap(line.text, LINE_LENGTH, break_long_words=False))
            shown = speaker + (html.escape(text, quote=False) if name == "vtt" else text)
            label = f"{number}\n" if name == "srt" else ""
            blocks.append(f"{label}{clock(start, mark)} --> {clock(end, mark)}\n{shown}\n\n")
        return "".join(blocks)

    return Format(render, f".{name}", header=header, single=True)


def _cues(alignment: Alignment) -> Iterator[tuple[float, float, Line]]:
    """Start, end and text of the lines that are spoken, in order, none too short to be read."""
    spans = [(*line.span, line) for line in alignment.lines if line.span is not None]
    spans.sort(key=lambda span: span[:2])
    following = [start for start, _, _ in spans[1:]] + [max(alignment.duration, 0.0)]
    for (start, end, line), limit in zip(spans, following, strict=True):
        yield start, max(end, min(start + MIN_SECONDS, limit)), line


def _fragments(alignment: Alignment) -> Iterator[tuple[str, Line, float, float]]:
    """Id, line, begin and end of every line; one that is not spoken has no length.

    Fragments are adjacent, as players of audiobooks expect: pauses belong to the line before, and
    a line that is not spoken stands where the next one begins.
    """
    begins: list[float] = []
    begin = max([alignment.duration, *(line.span[1] for line in alignment.lines if line.span)])
    for line in reversed(alignment.lines):
        begin = begin if line.span is None else min(begin, line.span[0])
        begins.append(begin)
    begins.reverse()
    ends = [*begins[1:], max(alignment.duration, begins[-1] if begins else 0.0)]
    pairs = zip(alignment.lines, begins, ends, strict=True)
    for number, (line, start, end) in enumerate(pairs, start=1):
        yield f"f{number:06d}", line, start, start if line.span is None else end


def _sync_map(transcript: Transcript) -> str:
    """Sync map as aeneas writes it: JSON with the begin and end of every fragment."""
    fragments = [
        {
            "begin": f"{begin:.3f}",
            "end": f"{end:.3f}",
            "id": id,
            "lines": [line.text],
            "children": [],
        }
        for id, line, begin, end in _fragments(_checked(transcript))
    ]
    return json.dumps({"fragments": fragments}, ensure_ascii=False, indent=1) + "\n"


def _smil(transcript: Transcript) -> str:
    """Media overlay of EPUB 3: SMIL whose texts are the elements ``f000001`` … of ID.xhtml."""
    alignment = _checked(transcript)
    id, sound = html.escape(alignment.id), html.escape(alignment.sound or alignment.id)
    pars = "".join(
        f'  <par id="p{number}"><text src="{id}.xhtml#{number}"/>'
        f'<audio src="{sound}" clipBegin="{clock(begin)}" clipEnd="{clock(end)}"/></par>\n'
        for number, _, begin, end in _fragments(alignment)
        if end > begin
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<smil xmlns="http://www.w3.org/ns/SMIL" version="3.0">\n <body>\n'
        f"{pars} </body>\n</smil>\n"
    )


def _tier(name: str) -> Callable[[Transcript], str]:
    """CTM of phones or states."""

    def render(transcript: Transcript) -> str:
        alignment = _checked(transcript)
        tier = alignment.phone_transcript() if name == "phones" else alignment.state_transcript()
        return FORMATS["ctm"].render(tier)

    return render


def _checked(transcript: Transcript) -> Alignment:
    assert isinstance(transcript, Alignment)
    return transcript


ALIGNMENT_FORMATS = {
    "ctm": FORMATS["ctm"],
    "json": Format(_json, ".jsonl"),
    "textgrid": Format(_textgrid("long"), ".TextGrid", single=True),
    "short-textgrid": Format(_textgrid("short"), ".TextGrid", single=True),
    "srt": _subtitles("srt", "", ","),
    "vtt": _subtitles("vtt", "WEBVTT\n\n", "."),
    "syncmap": Format(_sync_map, ".json", single=True),
    "smil": Format(_smil, ".smil", single=True),
    "lhotse": FORMATS["lhotse"],
    "ctm-phones": Format(_tier("phones"), ".ctm"),
    "ctm-states": Format(_tier("states"), ".ctm"),
}
"""Formats of alignments by name."""
