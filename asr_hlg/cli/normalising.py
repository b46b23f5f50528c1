"""Argument ``--normalise`` of the commands that score transcripts."""

from __future__ import annotations

import argparse
from collections.abc import Callable

_RULES = ("basic", "en")


def add_normalise(parser: argparse.ArgumentParser) -> None:
    """Argument ``--normalise``."""
    parser.add_argument(
        "--normalise",
        nargs="?",
        const="basic",
        choices=_RULES,
        metavar="RULES",
        help="change both texts before they are compared: basic ignores case and punctuation; en "
        "also compares written with spoken English ($25 with twenty five dollars, colour with "
        "color, don't with do not) and leaves fillers out (--normalise alone: basic)",
    )


def normaliser(options: argparse.Namespace) -> Callable[[str], str] | None:
    """Function that changes references and hypotheses, or None without ``--normalise``."""
    if not options.normalise:
        return None
    from asr_hlg.output import english, text

    return english.normalise if options.normalise == "en" else text.normalise
