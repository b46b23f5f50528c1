"""What ``asr-hlg transcribe`` does once its arguments are parsed."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from asr_hlg.audio import recordings
from asr_hlg.cli.arguments import DEFAULT_GRAPH, paths_of_inputs
from asr_hlg.cli.normalising import normaliser
from asr_hlg.cli.progress import Progress
from asr_hlg.cli.streaming import refuse_stream_arguments
from asr_hlg.cli.streaming import run as run_stream
from asr_hlg.errors import ItemErrors, OptionError
from asr_hlg.graph import metadata
from asr_hlg.graph.lookup import print_line
from asr_hlg.graph.phrase_list import read_phrases
from asr_hlg.output import text
from asr_hlg.output.live import check_live_format
from asr_hlg.output.writers import format_of
from asr_hlg.rescore.passes import PassOptions, default_whisper
from asr_hlg.transcribe import Job, TranscribeOptions
from asr_hlg.transcribe.defaults import GPU_BATCH
from asr_hlg.transcribe.kaldi_graphs import folder_of, graph_of_phrases, has_graph
from asr_hlg.transcribe.options import Written
from asr_hlg.transcribe.run import RunOptions, transcribe_all

_WRITTEN = ("json", "srt", "vtt")
_NOT_LIVE = ("ref", "resume", "retry_failed", "overwrite", "lattices", "workers", "batch")
_SPOKEN = ("trn", "ctm", "textgrid", "lhotse")


def run(options: argparse.Namespace, search: Iterable[str]) -> int:
    """Transcribe recordings; returns the exit status.

    ``search`` are the names of the arguments that change options of the search.
    """
    refuse_stream_arguments(options)
    item_errors = ItemErrors(_show_error, options.strict)
    references = text.read_transcripts(options.ref, item_errors) if options.ref else None
    options.format = options.format or format_of(options.output)
    spoken = not options.written and options.format not in _WRITTEN
    run_options = RunOptions(**_arguments(options, RunOptions), spoken=spoken)
    progress = Progress(options.quiet, references, normaliser(options))
    with paths_of_inputs(options) as paths:
        all_channels = options.channel == "all"
        inputs = list(recordings(paths, all_channels, on_skip=progress.skipped))
        with _interruptible(at_once=options.engine == "ray") as is_stopped:
            job = _job(options, search, progress.info)
            outcome = transcribe_all(inputs, job, run_options, progress, is_stopped, item_errors)
    if outcome.stopped:
        return 130
    progress.show_scores()
    if item_errors.count:
        _show_error(item_errors.summary())
    return 1 if outcome.failures or item_errors.count else 0


def run_live(options: argparse.Namespace, search: Iterable[str]) -> int:
    """Transcribe sound that comes on standard input; returns the exit status."""
    from asr_hlg.audio.pcm_stream import pcm_stream

    if options.inputs != ["-"]:
        raise OptionError(
            "--live reads standard input", remedy="name - as the only INPUT, or use asr-hlg live"
        )
    for name in _NOT_LIVE:
        if getattr(options, name):
            raise OptionError(
                f"--{name.replace('_', '-')} is not for sound that comes while it is spoken",
                remedy="leave it out, or --live",
            )
    rate, blocks = pcm_stream(sys.stdin.buffer, options.raw)
    return run_stream(options, live_job(options, search), rate, blocks)


def live_job(options: argparse.Namespace, search: Iterable[str]) -> Job:
    """The job of a stream; second passes only if they are asked for, since words would wait."""
    options.format = options.format or format_of(options.output)
    check_live_format(options.format)
    options.fast = options.fast or options.whisper is None
    options.batch = 0.0
    progress = Progress(options.quiet, None, None)
    return _job(options, search, progress.info)


def _show_error(text: str) -> None:
    print(f"asr-hlg: {text}", file=sys.stderr)


def _job(options: argparse.Namespace, search: Iterable[str], report: Callable[[str], None]) -> Job:
    folder = str(_graph(options))
    passes = _passes(options, folder, report)
    changes = {n: getattr(options, n) for n in search if getattr(options, n) is not None}
    if options.search_engine:
        changes["engine"] = options.search_engine
    default_batch = 0.0 if options.device == "cpu" else GPU_BATCH
    return Job(
        folder,
        options.model,
        TranscribeOptions(
            **_arguments(options, TranscribeOptions) | {"written": _written(options)},
            passes=passes,
        ),
        changes,
        options.grammar,
        options.hotwords,
        options.device,
        default_batch if options.batch is None else options.batch,
    )


def _graph(options: argparse.Namespace) -> Path:
    """Folder of the graph: --graph, or the one in the folder of a Kaldi model."""
    name, model = options.graph, options.model
    if name == DEFAULT_GRAPH and model is not None and has_graph(Path(model)):
        name = model
    say = (lambda line: None) if options.quiet else print_line
    if options.grammar is not None and has_graph(Path(name)):
        grammar, options.grammar = options.grammar, None
        return graph_of_phrases(Path(name), read_phrases(Path(grammar)), say)
    return folder_of(name, say)


def _passes(options: argparse.Namespace, folder: str, report: Callable[[str], None]) -> PassOptions:
    """The second passes asked for, else the one of the graph's recipe; reports which they are."""
    passes = PassOptions(**_arguments(options, PassOptions), lm_graph=folder)
    if options.fast:
        return replace(passes, whisper=None)
    if passes.whisper is None:
        meta = metadata.read(Path(folder))
        name, is_installed = default_whisper(meta, options.search, options.device)
        if is_installed:
            passes = replace(passes, whisper=name)
        elif name is not None:
            report(
                f"first pass alone; Whisper {name} makes fewer errors: pip install "
                "'asr-hlg[whisper]'"
            )
    if passes.whisper is not None:
        report(f"first pass, then Whisper {passes.whisper}; --fast is the first pass alone")
    return passes


def _written(options: argparse.Namespace) -> Written:
    """When transcripts get their written form."""
    if options.written and options.format in _SPOKEN:
        raise OptionError(
            f"the format {options.format} holds the words as they were said",
            remedy="use --written with text, json, srt, vtt or parquet",
        )
    # Not by format, so that a journal can be written in another one.
    if options.written is None:
        return "second-pass"
    return "always" if options.written else "never"


def _arguments(options: argparse.Namespace, record: type[Any]) -> dict[str, Any]:
    """Values of the fields of a dataclass that are arguments of the command line, by name."""
    names = (field.name for field in fields(record))
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


@contextmanager
def _interruptible(at_once: bool) -> Iterator[Callable[[], bool]]:
    """Function that returns True after Ctrl-C; a second one, or ``at_once``, raises."""
    num_interrupts = 0

    def interrupt(*_: object) -> None:
        nonlocal num_interrupts
        num_interrupts += 1
        if num_interrupts > 1 or at_once:
            raise KeyboardInterrupt
        message = "\nasr-hlg: finishing the recordings in flight; Ctrl-C again stops at once"
        print(message, file=sys.stderr)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: num_interrupts > 0
    finally:
        signal.signal(signal.SIGINT, before)
