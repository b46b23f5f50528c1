"""Command line: parses arguments, calls the library and prints."""

from asr_hlg.cli.commands import main

__all__ = ["main"]
