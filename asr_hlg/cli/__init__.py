"""Command line: parses arguments, calls the library and prints."""

from asr_hlg.cli.commands import main, program

__all__ = ["main", "program"]
