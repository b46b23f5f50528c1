"""File formats of pictures."""

from __future__ import annotations

from pathlib import Path

from asr_hlg.errors import OptionError

FORMATS = (".svg", ".png", ".pdf")


def checked(path: str | Path, known: tuple[str, ...]) -> Path:
    """Path of a picture, after a check that its suffix is known."""
    path = Path(path)
    if path.suffix not in known:
        raise OptionError(
            f"cannot draw into a file {path.suffix or 'without suffix'}",
            remedy=f"known: {', '.join(known)}",
        )
    return path
