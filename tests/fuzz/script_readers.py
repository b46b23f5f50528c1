"""Readers of texts that are aligned, of subtitles and times that are scored, of messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from asr_hlg import grammar
from asr_hlg.align.texts import read_scripts
from asr_hlg.audio import Recording
from asr_hlg.graph.build import read_text
from asr_hlg.output.subtitle_rules import check, read_cues
from asr_hlg.output.times import compare, read_times
from asr_hlg.serve import vosk
from tests.fuzz.reader import (
    Reader,
    in_file,
    mutate_json_lines,
    mutate_named,
    named,
    split_name,
    texts,
)
from tests.fuzz.text_readers import _symbols

_SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Turn left</i> at 3rd

2
00:00:02,600 --> 01:00:04,000
{\\an8}and go
"""
_VTT = """WEBVTT

NOTE a comment

00:01.000 --> 00:02.500 align:start
<v Ann>Turn left</v> &amp; go
"""
_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 2
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "turn left"
        intervals [2]:
            xmin = 1
            xmax = 2
            text = ""
    item [2]:
        class = "TextTier"
        name = "points"
        xmin = 0
        xmax = 2
        points: size = 1
        points [1]:
            number = 0.5
            mark = "x"
"""
_SCRIPTS = {
    "a.srt": _SRT,
    "a.vtt": _VTT,
    "a.TextGrid": _TEXTGRID,
    "a.txt": "Ann: turn left (laughs)\n\nat the 3rd of May, $3.50\n",
    "kaldi.txt": "a turn left\nb go on\n",
    "a.trn": "turn left (a)\ngo (b)\n",
    "a.ctm": "a 1 0.0 0.3 turn 0.9\na 1 0.3 0.2 left\n",
    "a.jsonl": '{"id": "a", "text": "turn left"}\n{"id": "b", "text": ""}\n',
}


def _scripts(folder: Path) -> Sequence[bytes]:
    soundfile.write(folder / "a.wav", np.zeros(160), 16000)
    return [named(name, content) for name, content in _SCRIPTS.items()]


def _read_script(data: bytes, folder: Path) -> None:
    name, content = split_name(data)
    path = folder / name
    path.write_bytes(content)
    try:
        read_scripts([Recording("a", folder / "a.wav")], path)
    finally:
        path.unlink()


def _read_times(path: Path) -> None:
    times = read_times(path)
    compare(times, times).to_dict()


def _read_phrases(path: Path) -> None:
    grammar.compile(read_text(path), _symbols(), path)


def _read_message(path: Path) -> None:
    """A text message as the server takes it; its bytes have been decoded before."""
    message = vosk.command(path.read_bytes().decode("utf-8", "replace"))
    vosk.Config(16000).updated(message.get("config", {}))


_MESSAGE = {
    "config": {
        "sample_rate": 8000,
        "words": True,
        "max_alternatives": 3,
        "phrase_list": ["turn on", "[unk]"],
        "hotwords": '["cat"]',
        "model": "en",
    }
}

SCRIPT_READERS = (
    Reader("scripts", _scripts, _read_script, mutate_named),
    Reader("subtitles", texts(_SRT, _VTT), in_file("a.srt", lambda path: check(read_cues(path)))),
    Reader("times", texts(_SCRIPTS["a.ctm"]), in_file("a.ctm", _read_times)),
    Reader(
        "grammar-json",
        texts('["cat and", "hat", "and cat"]\n'),
        in_file("grammar.json", _read_phrases),
        mutate_json_lines,
    ),
    Reader(
        "messages",
        texts(json.dumps(_MESSAGE), '{"eof": 1}', '{"reset": 1}'),
        in_file("message.json", _read_message),
        mutate_json_lines,
    ),
)
