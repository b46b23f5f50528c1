"""``python -m asr_hlg.cli``, for when the command ``asr-hlg`` is not on the path."""

from asr_hlg.cli import program

program()
