"""``asr-hlg live``: the words that are spoken into a microphone."""

from __future__ import annotations

import argparse
import sys

from asr_hlg.cli import transcribe
from asr_hlg.cli.arguments import add_device, add_graph
from asr_hlg.cli.streaming import add_stream

EPILOG = """\
The words of the sentence that is being spoken are shown on one line and may still change; a pause
ends it, and then it is a line of the output. Ctrl-C ends the recording.

examples:
  asr-hlg live
  asr-hlg live --inputs                          what can be recorded from
  asr-hlg live --input 2 --output talk.srt       the format is what the suffix says
  asr-hlg live --hotwords names.txt --whisper    finished sentences with Whisper's second pass

It needs pip install 'asr-hlg[live]', and on Linux the library PortAudio (apt install
libportaudio2). Sound from elsewhere comes through a pipe:
  ffmpeg -i URL -f s16le -ac 1 -ar 16000 - | asr-hlg transcribe --live --raw 16000 -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg live``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--input", metavar="NAME", help="number or part of the name of a microphone")
    add("--inputs", action="store_true", help="list what can be recorded from, and stop")
    add_graph(parser)
    add_device(parser)
    add("--model", help="acoustic model (default: the one of the graph's recipe)")
    transcribe.add_reading(parser)
    add("--strict", action="store_true", help="stop at a hotword that cannot be pronounced")
    add("--quiet", action="store_true", help="do not show the sentence that is being spoken")
    group = parser.add_argument_group("output")
    transcribe.add_format(group.add_argument)
    group.add_argument("--output", metavar="FILE", help="file (default: standard output)")
    add_stream(parser)
    transcribe.add_models(parser)


def run(options: argparse.Namespace) -> int:
    """Transcribe a microphone; returns the exit status."""
    from asr_hlg.audio.microphone import inputs, microphone

    if options.inputs:
        for number, name in inputs():
            print(number, name)
        return 0
    from asr_hlg.cli.streaming import run as run_stream
    from asr_hlg.cli.transcription import live_job

    with microphone(options.input) as (rate, blocks):
        return run_stream(options, live_job(options, transcribe.SEARCH), rate, blocks, _show_start)


def _show_start() -> None:
    print("asr-hlg: speak; Ctrl-C ends the recording", file=sys.stderr)
