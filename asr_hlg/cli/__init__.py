"""The command ``asr-hlg``: parses arguments and calls the library; holds no logic of its own."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from asr_hlg.errors import AsrHlgError

_COMMANDS = {
    "graph": "compile a recipe into a decoding graph, or explain a sentence's way through one",
    "transcribe": "turn recordings into words, times and confidences",
    "score": "error rates of transcripts against references",
    "info": "what a compiled graph holds, and what it was made of",
    "draw": "draw H, L, G and what is composed of them",
    "align": "when every word of a known transcript was said",
    "bench": "measure speed, errors and memory beside other decoders",
    "train": "train or adapt an acoustic model",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 if all went well, 1 if something could not be done, 2 for a wrong command line.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(given).parse_args(given)
    try:
        return options.run(options)
    except AsrHlgError as error:
        print(f"asr-hlg: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("asr-hlg: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has stopped (`| head`); keep Python quiet at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        reason = f"cannot be used: {error.strerror}"
        print(f"asr-hlg: {AsrHlgError(reason, path=error.filename)}", file=sys.stderr)
        return 1


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asr-hlg",
        description="Speech recognition with H∘L∘G graphs and neural acoustic models.",
        epilog="Start with:  asr-hlg graph en  and  asr-hlg transcribe recording.wav",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # Only the command in question is imported: help should not wait for torch.
        if name in given:
            module = importlib.import_module(f"asr_hlg.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser
