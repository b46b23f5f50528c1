r"""Vosk's WebSocket protocol, as its server documents it.

A client sends, in text messages with JSON and in binary ones:

- ``{"config": {"sample_rate": 8000, "words": true, "max_alternatives": 3, "phrase_list": [...]}}``
  before its sound; also ``partial_words`` and ``model``, the name of a graph;
- binary messages of signed 16-bit samples, little-endian, one channel;
- ``{"reset": 1}``, which ends a segment, and ``{"eof": 1}``, which ends the stream.

Every message with sound, every reset and the eof has one answer: ``{"partial": ...}``, or the
segment that ended, ``{"result": [{"conf", "start", "end", "word"}], "text": ...}``, or with
``max_alternatives`` above 0 ``{"alternatives": [{"confidence", "result", "text"}]}``. After the eof
the server closes the connection.

Two keys of ``config`` are this server's own: ``hotwords``, phrases that are made more probable, and
``api_key``, for clients that cannot send the header ``Authorization: Bearer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import kaldialign

from asr_hlg.audio.recording import SAMPLE_RATES
from asr_hlg.files import parse_json
from asr_hlg.output.transcript import Alternative, Transcript, Word
from asr_hlg.serve.graphs import Phrases, checked_phrases
from asr_hlg.serve.limits import Refused
from asr_hlg.transcribe.transcript import join

MAX_ALTERNATIVES = 50

_EMPTY = "*"  # aligned with nothing


@dataclass(frozen=True)
class Config:
    """What a client has asked for.

    Attributes
    ----------
    sample_rate : int
    words, partial_words : bool
        Whether results, and partial results, have words with times.
    max_alternatives : int
        0 for one result with confidences of words.
    phrase_list : tuple of str
        If there are any, only these are recognised.
    hotwords : tuple of str
        Phrases that are made more probable.
    model : str, optional
        Name of a graph.
    """

    sample_rate: int
    words: bool = True
    partial_words: bool = False
    max_alternatives: int = 0
    phrase_list: Phrases = ()
    hotwords: Phrases = ()
    model: str | None = None

    def updated(self, given: object) -> Config:
        """Copy with the values that a client gives; keys that are not known are ignored.

        Raises
        ------
        Refused
            For values of a wrong type or out of bounds.
        """
        if not isinstance(given, dict):
            raise Refused("config must be an object", param="config")
        values: dict[str, Any] = {}
        for key in ("words", "partial_words"):
            if key in given:
                values[key] = bool(given[key])
        for key, bounds in (("sample_rate", SAMPLE_RATES), ("max_alternatives", _ALTERNATIVES)):
            if key in given:
                values[key] = _integer(given[key], key, bounds)
        for key in ("phrase_list", "hotwords"):
            if given.get(key) is not None:
                values[key] = checked_phrases(_listed(given[key], key), key)
        if given.get("model") is not None:
            values["model"] = str(given["model"])[:MAX_NAME]
        return replace(self, **values)


MAX_NAME = 100
_ALTERNATIVES = range(MAX_ALTERNATIVES + 1)


def _integer(value: object, key: str, bounds: range) -> int:
    """Integer of a client, which may be a float without a fraction, or their text."""
    try:
        number = float(value)  # type: ignore[arg-type]
        if number == int(number) and int(number) in bounds:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise Refused(f"{key} must be an integer from {bounds[0]} to {bounds[-1]}", param=key)


def _listed(value: object, key: str) -> list[object]:
    """A list of a client, or the JSON text of one, as some clients send it."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            value = [value]
    if not isinstance(value, list):
        raise Refused(f"{key} must be a list of strings", param=key)
    return value


def command(text: str) -> dict[str, Any]:
    """Object of a text message: one with config, eof or reset."""
    try:
        value = parse_json(text)
    except ValueError:
        raise Refused("a text message must be JSON") from None
    if not isinstance(value, dict) or not value.keys() & {"config", "eof", "reset"}:
        raise Refused("a text message must hold config, eof or reset")
    return value


def partial_result(transcript: Transcript, config: Config) -> dict[str, Any]:
    """Answer with the words of a segment that goes on."""
    answer: dict[str, Any] = {"partial": transcript.text}
    if config.partial_words and transcript.words:
        answer["partial_result"] = [_timed(word, conf=True) for word in transcript.words]
    return answer


def result(segments: Sequence[Transcript], config: Config) -> dict[str, Any]:
    """Answer with the segments that one message has ended, joined if there are several."""
    transcript = segments[0] if len(segments) == 1 else join("", segments)
    if config.max_alternatives:
        return {"alternatives": _alternatives(transcript, config)}
    answer: dict[str, Any] = {}
    if config.words and transcript.words:
        answer["result"] = [_timed(word, conf=True) for word in transcript.words]
    return answer | {"text": transcript.text}


def _alternatives(transcript: Transcript, config: Config) -> list[dict[str, Any]]:
    """Alternatives, best first. Their confidence is the score, a natural-log probability."""
    if not transcript.text:
        return [{"text": "", "confidence": 1.0}]
    given = transcript.alternatives or [Alternative(transcript.text, transcript.score, 0.0, 0.0)]
    rows = []
    for alternative in given[: config.max_alternatives]:
        row: dict[str, Any] = {"confidence": round(alternative.score, 4)}
        if config.words:
            words = times_of(alternative.text.split(), transcript.words)
            row["result"] = [_timed(word, conf=False) for word in words]
        rows.append(row | {"text": alternative.text})
    return rows


def times_of(words: Sequence[str], timed: Sequence[Word]) -> list[Word]:
    """Words with the times of those that they are aligned with in another word sequence.

    A word that is aligned with none has no length.
    """
    spans: list[Word] = []
    before = timed[0].start if timed else 0.0
    known = iter(timed)
    for ours, theirs in kaldialign.align(list(words), [w.text for w in timed], _EMPTY):
        start = end = before
        if theirs != _EMPTY:
            word = next(known)
            start, end = word.start, word.end
            before = end
        if ours != _EMPTY:
            spans.append(Word(ours, start, end, 0.0))
    return spans


def _timed(word: Word, conf: bool) -> dict[str, Any]:
    """A word of an answer."""
    row: dict[str, Any] = {"conf": round(min(1.0, word.confidence), 6)} if conf else {}
    return row | {"end": round(word.end, 3), "start": round(word.start, 3), "word": word.text}
