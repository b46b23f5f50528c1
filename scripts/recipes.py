"""Code that the recipes of this folder share: command lines, and writing cut sets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import Cut

from asr_hlg.errors import AsrHlgError


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser that shows a description without changing its layout."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run(main: Callable[[], None]) -> None:
    """Run a recipe; errors that a user can cause are shown on one line, with exit status 1."""
    try:
        main()
    except AsrHlgError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def write_cuts(cuts: Sequence[Cut], path: Path) -> None:
    """Write a cut set, one JSON object a line, and print its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    CutSet(cuts).to_file(path)
    minutes = sum(cut.duration for cut in cuts) / 60
    print(f"{path.name.partition('.')[0]:14} {len(cuts):5} cuts, {minutes:5.1f} minutes")
