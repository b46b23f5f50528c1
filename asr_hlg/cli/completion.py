"""``asr-hlg completion``: completion of commands, options and file names in a shell."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

SHELLS = ("bash", "zsh", "tcsh")

EPILOG = """\
Write the script where the shell looks for it, and start a new shell:

  bash   asr-hlg completion bash > ~/.local/share/bash-completion/completions/asr-hlg
  zsh    asr-hlg completion zsh > DIR/_asr-hlg, where DIR is one of the folders in $fpath
  tcsh   asr-hlg completion tcsh > ~/.asr-hlg.csh, and in ~/.tcshrc: source ~/.asr-hlg.csh

example:
  asr-hlg completion bash
"""

_FOLDERS = ("FOLDER", "DIR")
_WITHOUT_FILES = ("NAME", "N", "KEY=VALUE", "WHAT", "SENTENCE", "SECONDS", "GB", "RATE", "W")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg completion``."""
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(options: argparse.Namespace) -> int:
    """Print the script for a shell."""
    print(script(options.shell))
    return 0


def script(shell: str) -> str:
    """Script for a shell, with the commands whose packages are installed."""
    import shtab

    from asr_hlg.cli.commands import COMMANDS, make_parser

    names = []
    for name in COMMANDS:
        with contextlib.suppress(ModuleNotFoundError):  # `train` without torch, say
            make_parser([name])
            names.append(name)
    parser = make_parser(names)
    for action in _actions(parser):
        if action.nargs != 0 and action.choices is None and action.type in (None, Path):
            name = action.metavar if isinstance(action.metavar, str) else ""
            if name in _FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif name not in _WITHOUT_FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell)
    return text


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Options and inputs of a parser, of its commands and of their actions."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
        else:
            yield action
