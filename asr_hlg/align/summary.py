"""Summary of an alignment: words that are not spoken, and sound that the text lacks."""

from __future__ import annotations

from collections.abc import Iterator

from asr_hlg.align.alignment import Alignment, Line

_LIMIT = 5  # of lines, and of spans, that are shown


def summary(alignment: Alignment) -> Iterator[str]:
    """Lines on how much of the text is not spoken, and how much sound the text lacks.

    None if text and sound agree.
    """
    tokens = [token for line in alignment.lines for token in line.tokens]
    missing = sum(not token.words for token in tokens)
    if not missing and not alignment.unmatched:
        return
    sound = sum(end - start for start, end in alignment.unmatched)
    yield (
        f"{alignment.id}: {len(tokens) - missing:,} of {len(tokens):,} words aligned; "
        f"not spoken: {missing:,}; sound that the text lacks: {sound:.1f} of "
        f"{alignment.duration:.1f} s"
    )
    whole = [line for line in alignment.lines if line.span is None]
    shown = [f"line {line.number} ({_beginning(line)})" for line in whole]
    yield from _some("  not spoken", shown)
    spans = [span for span in alignment.unmatched if span[1] - span[0] >= 1.0]
    yield from _some("  sound without text", [f"{_time(s)} to {_time(e)}" for s, e in spans])


def _some(title: str, items: list[str]) -> Iterator[str]:
    """A line with the first items and the number of the others; none without items."""
    if items:
        more = f", and {len(items) - _LIMIT:,} more" if len(items) > _LIMIT else ""
        yield f"{title}: {', '.join(items[:_LIMIT])}{more}"


def _beginning(line: Line, length: int = 30) -> str:
    if len(line.text) <= length:
        return line.text
    return (line.text[:length].rpartition(" ")[0] or line.text[:length]) + " …"


def _time(seconds: float) -> str:
    """A time as ``h:mm:ss.s``, without hours if there are none."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
