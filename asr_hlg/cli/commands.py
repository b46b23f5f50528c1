"""Command line of ``asr-hlg``: finds the command, imports its module and runs it."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
import warnings
from collections.abc import Callable, Container, Sequence
from typing import NoReturn

import asr_hlg
from asr_hlg.cli.arguments import add_command
from asr_hlg.cli.endings import (
    Terminated,
    discard,
    is_full,
    leave,
    lost_messages_dropped,
    stopped_by_signals,
    write_utf8,
)
from asr_hlg.cli.parser import Parser
from asr_hlg.errors import AsrHlgError

COMMANDS = {
    "graph": "compile a decoding graph, or explain a sentence's path",
    "transcribe": "recognise the words of recordings",
    "live": "recognise the words that are spoken into a microphone",
    "score": "compute error rates of transcripts",
    "info": "show size, sources and history of a compiled graph",
    "draw": "draw graphs, lattices and alignments",
    "serve": "serve live speech and recordings to programs and a page",
    "align": "find the time of every word of known transcripts",
    "bench": "compare speed, errors and memory with other decoders",
    "train": "train or adapt an acoustic model",
    "lm": "estimate, prune, mix and evaluate n-gram language models",
    "doctor": "check the installation, and transcribe an example",
    "completion": "print a script that completes commands and options in a shell",
}

ACTIONS = {("graph", "import"): "graph_import", ("graph", "export"): "graph_export"}
"""Modules of actions of commands that also work without an action."""

_format_warning = warnings.formatwarning


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 on success, 1 if something could not be done, 2 for a wrong command line, 130 after
        Ctrl-C, 143 and 129 after SIGTERM and SIGHUP.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if tuple(given[:2]) in ACTIONS:
        given = [" ".join(given[:2]), *given[2:]]
    write_utf8()
    with stopped_by_signals(), lost_messages_dropped():
        return _run(given)


def program() -> NoReturn:
    """Run the command of the process's arguments, and end the process with its status."""
    # Loading makes many objects and drops few; by default Python looks for cycles every 700.
    gc.set_threshold(100_000)
    leave(main())


def _run(given: Sequence[str]) -> int:
    """Run a command; returns the exit status, also after an error."""
    try:
        options = make_parser(given).parse_args(given)
        run: Callable[[argparse.Namespace], int] = options.run
        warnings.formatwarning = _formatted
        status = run(options)
        sys.stdout.flush()
        return status
    except AsrHlgError as error:
        print(f"asr-hlg: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        from asr_hlg.versions import missing

        absent = missing(error, "this")
        if absent is None:
            raise
        print(f"asr-hlg: {absent}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("asr-hlg: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has stopped (`| head`); Python would print an error at exit.
        discard(sys.stdout)
        return 1
    except Terminated as signal:
        print(f"asr-hlg: stopped by a signal (status {signal.code})", file=sys.stderr)
        return int(str(signal.code))
    except OSError as error:
        if is_full(error):
            print(f"asr-hlg: the output cannot be written: {error.strerror}", file=sys.stderr)
            discard(sys.stdout)
            return 1
        if error.filename is None:
            raise
        reason = f"cannot be used: {error.strerror}"
        print(f"asr-hlg: {AsrHlgError(reason, path=error.filename)}", file=sys.stderr)
        return 1


def _formatted(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Line of a warning on standard error; those for users are shown without a place in code."""
    if category is UserWarning:
        return f"asr-hlg: {message}\n"
    return _format_warning(message, category, filename, lineno, line)


def make_parser(given: Container[str]) -> Parser:
    """Parser of the whole command line, with the arguments of the commands that are given."""
    parser = Parser(
        prog="asr-hlg",
        description="Speech recognition with H∘L∘G graphs and neural acoustic models.",
        epilog="Start with:  asr-hlg transcribe talk.wav",
    )
    parser.add_argument(
        "-V", "--version", action=_Version, nargs=0, help="show the version and exit"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = add_command(commands, name, summary)
        # Only the module of this command is imported: --help need not wait for torch.
        if name in given:
            module = importlib.import_module(f"asr_hlg.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    for action, module_name in ACTIONS.items():
        if " ".join(action) in given:
            module = importlib.import_module(f"asr_hlg.cli.{module_name}")
            command = add_command(commands, " ".join(action), module.SUMMARY)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


class _Version(argparse.Action):
    """Option that prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"asr-hlg {asr_hlg.__version__}")
        parser.exit()
