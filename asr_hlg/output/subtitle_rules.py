"""Broadcasters' limits for subtitles, subtitle files, and a report of what exceeds the limits.

>>> report = check(read_cues(Path("film.srt")))
>>> report.rate, report.counts["too fast"]
(0.013, 4)

The limits are those of Netflix's Timed Text Style Guide (general requirements, and English): lines
of 42 characters, two lines, five sixths of a second to seven seconds, two frames between cues, and
20 characters a second for adults. docs/output.md compares them with the BBC's.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_hlg.errors import AsrHlgError
from asr_hlg.files import text_lines

LINE_LENGTH = 42
"""Characters in a line, with blanks and punctuation."""
MAX_LINES = 2
MIN_SECONDS = 5 / 6
MAX_SECONDS = 7.0
MAX_SPEED = 20.0
"""Characters a second, with blanks and punctuation."""
MIN_GAP = 2 / 24
"""Seconds between two cues: two frames of a film."""

_ROUNDING = 0.0011  # files round both times of a cue to milliseconds
_TIMES = re.compile(r"\s*([\d:.,]+)\s+-->\s+([\d:.,]+)(?:\s.*)?")
_VTT_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class TextCue:
    """Cue of a subtitle file: shown from ``start`` to ``end`` (seconds), and its lines."""

    start: float
    end: float
    lines: list[str]


@dataclass(frozen=True)
class Report:
    """Cues of a subtitle file that exceed a limit.

    Attributes
    ----------
    num_cues : int
    violations : list of (int, str, str)
        Number of the cue, counted from 1, kind of limit, and what was found.
    """

    num_cues: int
    violations: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """Number of cues for each kind of limit."""
        return Counter(kind for _, kind, _ in self.violations)

    @property
    def rate(self) -> float:
        """Share of the cues that exceed at least one limit."""
        return len({number for number, _, _ in self.violations}) / max(1, self.num_cues)

    def to_dict(self) -> dict[str, Any]:
        """Content as plain values for JSON."""
        return {
            "cues": self.num_cues,
            "rate": self.rate,
            "counts": dict(self.counts),
            "violations": self.violations,
        }

    def text(self, examples: int = 10) -> str:
        """Table of the kinds, and the first ``examples`` cues."""
        wrong = len({number for number, _, _ in self.violations})
        lines = [f"{self.rate:.2%}  {wrong} of {self.num_cues} cues exceed a limit"]
        lines += [f"{count:5}  {kind}" for kind, count in self.counts.most_common()]
        if self.violations and examples:
            lines.append("")
            lines += [f"cue {n}: {kind}, {what}" for n, kind, what in self.violations[:examples]]
        return "\n".join(lines)


def check(cues: Sequence[TextCue]) -> Report:
    """Compare cues, in the order of a file, with the limits."""
    violations = []
    for number, cue in enumerate(cues, start=1):
        following = cues[number] if number < len(cues) else None
        violations += [(number, kind, what) for kind, what in _violations(cue, following)]
    return Report(len(cues), violations)


def _violations(cue: TextCue, following: TextCue | None) -> list[tuple[str, str]]:
    """Kinds of limit that a cue exceeds, with what was found."""
    seconds = cue.end - cue.start
    length = max(map(len, cue.lines), default=0)
    speed = len(" ".join(cue.lines)) / max(seconds, 0.001)
    gap = following.start - cue.end if following is not None else MIN_GAP
    found = [
        (length > LINE_LENGTH, "line too long", f"{length} characters"),
        (len(cue.lines) > MAX_LINES, "too many lines", f"{len(cue.lines)} lines"),
        (speed > MAX_SPEED + 0.05, "too fast", f"{speed:.1f} characters a second"),
        (seconds < MIN_SECONDS - _ROUNDING, "too short", f"{seconds:.2f} s"),
        (seconds > MAX_SECONDS + _ROUNDING, "too long", f"{seconds:.2f} s"),
        (gap < MIN_GAP - _ROUNDING, "gap too short", f"{gap:.3f} s to the next cue"),
    ]
    return [(kind, what) for is_exceeded, kind, what in found if is_exceeded]


def read_cues(path: Path) -> list[TextCue]:
    """Cues of an SRT or WebVTT file; tags are removed.

    Raises
    ------
    AsrHlgError
        With file and line, if the file is not UTF-8 or has no cues, or a time cannot be read.
    """
    cues: list[TextCue] = []
    in_cue = False
    for number, line in _all_lines(path):
        times = _TIMES.fullmatch(line)
        if times is not None:
            try:
                cues.append(TextCue(_seconds(times[1]), _seconds(times[2]), []))
            except ValueError:
                raise AsrHlgError(
                    f"{line.strip()!r} are no times of a cue", path=path, line=number
                ) from None
            in_cue = True
        elif not line.strip():
            in_cue = False
        elif in_cue:
            cues[-1].lines.append(html.unescape(_VTT_TAG.sub("", line.strip())))
    if not cues:
        raise AsrHlgError(
            "holds no cues (00:00:01,000 --> 00:00:02,500)",
            path=path,
            remedy="name a SubRip or WebVTT file: asr-hlg transcribe --format srt",
        )
    return cues


def _all_lines(path: Path) -> list[tuple[int, str]]:
    """Lines with their numbers; blank ones, which end a cue, are among them."""
    lines = dict(text_lines(path))
    return [(number, lines.get(number, "")) for number in range(1, max(lines, default=0) + 1)]


def _seconds(clock: str) -> float:
    """Seconds of ``hh:mm:ss,mmm``; hours may be left out."""
    parts = [float(part) for part in clock.replace(",", ".").split(":")]
    if not 2 <= len(parts) <= 3:
        raise ValueError(clock)
    return math.fsum(part * 60.0**power for power, part in enumerate(reversed(parts)))
