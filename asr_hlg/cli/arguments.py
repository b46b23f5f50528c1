"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from asr_hlg.cli.parser import Parser
from asr_hlg.errors import OptionError


def add_command(
    parsers: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    epilog: str | None = None,
) -> Parser:
    """Add the parser of a command or of one of its actions, with a summary in the help text."""
    return parsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Arguments of commands that take recordings: INPUT and ``--raw``."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="see below")
    parser.add_argument(
        "--raw",
        type=int,
        metavar="RATE",
        help="the INPUT - is raw samples at this rate in Hz: signed 16 bits, little-endian, mono",
    )


@contextmanager
def paths_of_inputs(options: argparse.Namespace) -> Iterator[list[str]]:
    """Paths of the inputs, in which a temporary file replaces ``-``, standard input."""
    inputs: list[str] = options.inputs
    if "-" not in inputs:
        if options.raw is not None:
            raise OptionError("--raw describes standard input", remedy="name it as the INPUT -")
        yield inputs
        return
    if inputs.count("-") > 1:
        raise OptionError("standard input can be read once only", remedy="name - once")
    from asr_hlg.audio.standard_input import standard_input

    with standard_input(sys.stdin.buffer, options.raw) as path:
        yield [str(path) if name == "-" else name for name in inputs]


DEFAULT_GRAPH = "en"


def add_graph(parser: argparse.ArgumentParser) -> None:
    """Argument ``--graph`` of commands that decode."""
    parser.add_argument(
        "--graph",
        default=DEFAULT_GRAPH,
        help="compiled graph: its folder, or a NAME of `asr-hlg graph --list`, which is compiled "
        "when first used (default: en)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Argument ``--device``."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Argument ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
