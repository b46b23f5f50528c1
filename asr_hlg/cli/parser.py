"""Parser of command lines in which no option takes an input for its value.

argparse lets an option with an optional value take the argument behind it, and one with several
values take all of them, so that ``--whisper talk.wav`` would leave no recording.  Here

- the optional value of an option (``nargs="?"``) follows an equals sign: ``--whisper=MODEL``.
  ``--whisper`` alone has the value ``const``.  A blank does, too, where the option has ``choices``
  and the next argument is one of them: ``--normalise en``;
- an option with several values (``nargs="+"``) ends before the first argument that its ``type`` or
  its ``choices`` refuse: ``--beam 8 10 recordings/``;
- inputs may stand between options: ``a.wav --nbest 3 b.wav``;
- options are not abbreviated, since a new option would change what the abbreviation means.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any


class Parser(argparse.ArgumentParser):
    """Parser of ``asr-hlg``, its commands and their actions."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_known_args(  # type: ignore[override]  # Namespaces of other types are not used
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse arguments; the parsers of commands are called with those behind their name."""
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args(self._inputs_last(given), namespace)

    def format_help(self) -> str:
        """Help text, in which ``--option [VALUE]`` is ``--option[=VALUE]``."""
        return re.sub(r"(--[a-z-]+) \[([A-Z]+)\]", r"\1[=\2]", super().format_help())

    def _inputs_last(self, given: Sequence[str]) -> list[str]:
        """Same arguments: the options with their values, ``=`` before optional ones, then inputs.

        argparse refuses ``a.wav --nbest 3 b.wav`` and takes an input behind some options for a
        value.  A parser of commands keeps its arguments: what is behind the command is not its own.
        """
        if self._subparsers is not None:
            return list(given)
        waiting = list(given)
        options: list[str] = []
        inputs: list[str] = []
        while waiting:
            argument = waiting.pop(0)
            action = self._option_string_actions.get(argument)
            if argument == "--":
                inputs += waiting
                break
            if action is None:
                is_option = argument.startswith("-") and argument != "-"
                (options if is_option else inputs).append(argument)
            elif action.nargs == argparse.OPTIONAL:
                is_given = action.choices and waiting and _is_value(action, waiting[0])
                options.append(f"{argument}={waiting.pop(0) if is_given else action.const}")
            else:
                count = _num_values(action, waiting)
                options += [argument, *waiting[:count]]
                waiting = waiting[count:]
        # Behind --, no input is a value of the last option, or an option itself.
        return [*options, "--", *inputs] if inputs else options


def _num_values(action: argparse.Action, waiting: Sequence[str]) -> int:
    """Number of the arguments behind an option that are its values."""
    if action.nargs != argparse.ONE_OR_MORE:
        return 1 if action.nargs is None else int(action.nargs)
    for count, argument in enumerate(waiting):
        # The first one is a value in any case, so that a wrong one is an error.
        if argument.startswith("--") or (count > 0 and not _is_value(action, argument)):
            return count
    return len(waiting)


def _is_value(action: argparse.Action, argument: str) -> bool:
    """Whether an option's type and choices accept an argument."""
    try:
        value = action.type(argument) if callable(action.type) else argument
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        return False
    return action.choices is None or value in action.choices
