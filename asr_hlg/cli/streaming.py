"""What ``asr-hlg live`` and ``asr-hlg transcribe --live`` share: arguments, and the run."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from asr_hlg.errors import OptionError

if TYPE_CHECKING:
    from asr_hlg.transcribe import Job, StreamOptions

_WINDOW = {
    "hop": "seconds of new sound that are awaited before the acoustic model runs again",
    "look_ahead": "seconds of sound after a frame that a model of whole utterances gets",
    "left_context": "seconds of sound before new frames that a model of whole utterances gets",
}
_ENDPOINTS = {
    "after_nothing": "a segment without words ends after so many seconds of silence",
    "after_end": "… after words with which a sentence is likely to end",
    "after_likely_end": "… after words with which a sentence may end",
    "after_words": "… after any words",
    "max_length": "a segment ends at a pause before it is so many seconds long",
}


def add_stream(parser: argparse.ArgumentParser) -> None:
    """Arguments of how sound is transcribed while it comes."""
    group = parser.add_argument_group("live (docs/streaming.md; inf switches a rule off)")
    for name, help in (_WINDOW | _ENDPOINTS).items():
        option = "--" + name.replace("_", "-")
        group.add_argument(option, type=float, metavar="SECONDS", help=help)


def refuse_stream_arguments(options: argparse.Namespace) -> None:
    """Raise an OptionError if an argument of streams is given without ``--live``."""
    for name in _WINDOW | _ENDPOINTS:
        if getattr(options, name) is not None:
            raise OptionError(f"--{name.replace('_', '-')} is for sound that comes with --live")


def stream_options(options: argparse.Namespace) -> StreamOptions:
    """The options of a stream that the arguments give."""
    from asr_hlg.acoustic.streaming import WindowOptions
    from asr_hlg.transcribe import EndpointOptions, StreamOptions

    def given(names: Iterable[str]) -> dict[str, Any]:
        values = {name: getattr(options, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    window, endpoints = WindowOptions(**given(_WINDOW)), EndpointOptions(**given(_ENDPOINTS))
    return StreamOptions(window, endpoints)


def run(
    options: argparse.Namespace,
    job: Job,
    rate: int,
    blocks: Iterable[Any],
    say: Callable[[], None] = lambda: None,
) -> int:
    """Transcribe blocks of samples as they come, until they end or Ctrl-C; the exit status.

    ``say`` is called when the models are loaded.
    """
    from asr_hlg.errors import ItemErrors
    from asr_hlg.output.live import LiveWriter
    from asr_hlg.transcribe.here import loaded

    item_errors = ItemErrors(_show_error, options.strict)
    transcriber, report = loaded(job, item_errors, lambda _: None)
    if report and not options.quiet:
        _show_error(report)
    stream = transcriber.stream(rate, stream_options(options))
    terminal = sys.stderr if sys.stderr.isatty() and not options.quiet else None
    with _output(options.output) as out:
        writer = LiveWriter(options.format, out, terminal)
        say()
        for samples in _until_interrupted(blocks):
            for transcript in stream.accept(samples):
                writer.write(transcript)
            if terminal is not None:
                writer.show(stream.partial())
        writer.write(stream.final())
    if item_errors.count:
        _show_error(item_errors.summary())
    return 1 if item_errors.count else 0


def _until_interrupted(blocks: Iterable[Any]) -> Iterator[Any]:
    """Blocks until they end or Ctrl-C, which does not interrupt what is done with a block.

    A second Ctrl-C does.
    """
    is_awaited = is_interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal is_interrupted
        if is_awaited or is_interrupted:
            raise KeyboardInterrupt
        is_interrupted = True

    before = signal.signal(signal.SIGINT, interrupt)
    waiting = iter(blocks)
    try:
        while not is_interrupted:
            is_awaited = True
            try:
                block = next(waiting)
            except (StopIteration, KeyboardInterrupt):
                return
            finally:
                is_awaited = False
            yield block
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _output(target: str | None) -> Iterator[TextIO]:
    """Standard output, or a file that grows."""
    if target is None:
        yield sys.stdout
        return
    with open(target, "w", encoding="utf-8", newline="\n") as file:
        yield file


def _show_error(text: str) -> None:
    print(f"asr-hlg: {text}", file=sys.stderr)
