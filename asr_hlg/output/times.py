"""Errors of word times, compared with a reference of the same recordings.

>>> errors = compare(read_times("truth.ctm"), read_times("ours.ctm"))
>>> print(errors.report())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaldialign
import numpy as np
import numpy.typing as npt

from asr_hlg.errors import AsrHlgError, DataError
from asr_hlg.files import text_lines
from asr_hlg.output.transcript import Word

TOLERANCES = (0.02, 0.05)
"""Seconds."""

COMMENT = ";;"
"""Start of a comment in the formats of NIST."""

_GAP = ""  # in place of a word in an alignment; words are never empty
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TimeErrors:
    """Hypothesis minus reference, for the words that both have.

    Attributes
    ----------
    starts, ends : np.ndarray
        float64 ``(num_words,)``, seconds.
    num_reference : int
        Words of the reference, those that the hypothesis lacks included.
    """

    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    num_reference: int

    def to_dict(self) -> dict[str, Any]:
        """Counts, medians in seconds, and shares within the tolerances."""
        result: dict[str, Any] = {"words": self.num_reference, "compared": len(self.starts)}
        for name, errors in (("starts", self.starts), ("ends", self.ends)):
            result[name] = {
                "median": float(np.median(errors)),
                "median_absolute": float(np.median(np.abs(errors))),
                **{f"within_{t:g}": _share_within(errors, t) for t in TOLERANCES},
            }
        return result

    def report(self) -> str:
        """A table of starts and ends."""
        values = self.to_dict()
        titles = "".join(f"{f'within {1000 * t:.0f} ms':>15}" for t in TOLERANCES)
        lines = [f"{'':8}{'median':>12}{'absolute':>12}{titles}"]
        for name in ("starts", "ends"):
            row = values[name]
            median = f"{1000 * row['median']:+.0f} ms"
            absolute = f"{1000 * row['median_absolute']:.0f} ms"
            shares = "".join(f"{row[f'within_{t:g}']:>15.1%}" for t in TOLERANCES)
            lines.append(f"{name:8}{median:>12}{absolute:>12}{shares}")
        lines.append(f"{values['compared']} of {values['words']} words compared")
        return "\n".join(lines)


def read_times(path: str | Path) -> dict[str, list[Word]]:
    """Words of a CTM file by recording, in the order of their starts.

    Raises
    ------
    AsrHlgError
        For a line that is not ``id channel start duration word``.
    """
    times: dict[str, list[Word]] = {}
    for number, line in text_lines(path):
        if line.startswith(COMMENT):
            continue
        try:
            name, _channel, start, duration, word, *_confidence = line.split()
            begin = float(start)
            words = times.setdefault(name, [])
            words.append(Word(word, begin, begin + float(duration), 1.0))
        except ValueError:
            raise AsrHlgError(
                "expected 'id channel start duration word'", path=path, line=number
            ) from None
    return {id: sorted(words, key=lambda word: word.start) for id, words in times.items()}


def compare(
    reference: Mapping[str, Sequence[Word]], hypothesis: Mapping[str, Sequence[Word]]
) -> TimeErrors:
    """Errors of the words that are equal in the best alignment of both sequences.

    Raises
    ------
    DataError
        If no word is in both.
    """
    pairs = [
        pair
        for id, words in reference.items()
        for pair in _equal_words(words, hypothesis.get(id, []))
    ]
    if not pairs:
        raise DataError(
            "the files have no word of the same recording in common",
            remedy="check that both use the same ids",
        )
    starts = np.array([theirs.start - truth.start for truth, theirs in pairs])
    ends = np.array([theirs.end - truth.end for truth, theirs in pairs])
    return TimeErrors(starts, ends, sum(map(len, reference.values())))


def _equal_words(reference: Sequence[Word], hypothesis: Sequence[Word]) -> list[tuple[Word, Word]]:
    texts = [[word.text.lower() for word in words] for words in (reference, hypothesis)]
    left, right, pairs = iter(reference), iter(hypothesis), []
    for a, b in kaldialign.align(*texts, _GAP):
        truth = None if a == _GAP else next(left)
        theirs = None if b == _GAP else next(right)
        if a == b and truth is not None and theirs is not None:
            pairs.append((truth, theirs))
    return pairs


def _share_within(errors: npt.NDArray[np.float64], tolerance: float) -> float:
    return float((np.abs(errors) <= tolerance + _ROUNDING).mean())
