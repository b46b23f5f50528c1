"""Which files can be drawn into."""

from __future__ import annotations

from pathlib import Path

from asr_hlg.errors import OptionError

FORMATS = (".svg", ".png", ".pdf")


def checked(path: str | Path, known: tuple[str, ...]) -> Path:
    path = Path(path)
    if path.suffix not in known:
        raise OptionError(
            f"cannot draw into a {path.suffix or 'nameless'} file",
            remedy=f"known: {', '.join(known)}",
        )
    return path
