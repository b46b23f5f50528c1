"""Output of transcripts while they grow: finished segments, and the words of the one that goes on.

>>> with_partials = LiveWriter("text", sys.stdout, sys.stderr)
>>> with_partials.show(stream.partial())
>>> with_partials.write(transcript)
"""

from __future__ import annotations

import shutil
import unicodedata
from dataclasses import replace
from typing import TextIO

from asr_hlg.errors import OptionError
from asr_hlg.output.formats import FORMATS, srt_cues
from asr_hlg.output.transcript import Transcript

LIVE_FORMATS = ("text", "json", "srt", "vtt")
"""Formats that can be written segment by segment."""

_LINGER = 0.4  # seconds that the last subtitle of a segment stays after its last word


def check_live_format(format: str) -> None:
    """Raise an OptionError for a format that cannot be written segment by segment."""
    if format not in LIVE_FORMATS:
        raise OptionError(
            f"{format} cannot be written while sound comes",
            remedy=f"choose from {', '.join(LIVE_FORMATS)}",
        )


class LiveWriter:
    """Writes each segment when it ends, and flushes it.

    Parameters
    ----------
    format : str
        One of `LIVE_FORMATS`. ``text`` has a line with the words of each segment, ``json`` an
        object a line; subtitles are numbered on.
    stream : TextIO
    terminal : TextIO, optional
        Where partial results are shown, on one line that is written over; by default nowhere.
    """

    def __init__(self, format: str, stream: TextIO, terminal: TextIO | None = None):
        check_live_format(format)
        self._format, self._stream, self._terminal = format, stream, terminal
        self._shown = ""
        self._num_cues = 0
        stream.write(FORMATS[format].header)
        stream.flush()

    def write(self, transcript: Transcript) -> None:
        """Write a segment that has ended; one without words is left out."""
        self._clear()
        if transcript.words:
            self._stream.write(self._rendered(transcript))
            self._stream.flush()

    def show(self, partial: Transcript) -> None:
        """Show the words of the segment that goes on."""
        if self._terminal is None or partial.text == self._shown:
            return
        width = shutil.get_terminal_size().columns - 1
        self._terminal.write("\r\x1b[K" + _end_of_line(partial.text, width))
        self._terminal.flush()
        self._shown = partial.text

    def _clear(self) -> None:
        if self._terminal is not None and self._shown:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()
        self._shown = ""

    def _rendered(self, transcript: Transcript) -> str:
        if self._format == "text":
            return (transcript.written_text or transcript.text) + "\n"
        if self._format == "json":
            return FORMATS["json"].render(transcript)
        # Their duration is where the last subtitle ends at the latest.
        transcript = replace(transcript, duration=transcript.words[-1].end + _LINGER)
        if self._format == "vtt":
            return FORMATS["vtt"].render(transcript)
        blocks = srt_cues(transcript, self._num_cues + 1)
        self._num_cues += len(blocks)
        return "".join(blocks)


def _end_of_line(text: str, width: int) -> str:
    """The last characters of a text that fit on a line, which wide ones take twice."""
    used = begin = 0
    for begin in range(len(text), 0, -1):
        used += 2 if unicodedata.east_asian_width(text[begin - 1]) in "WF" else 1
        if used > width:
            return "…" + text[begin + 1 :]
    return text
