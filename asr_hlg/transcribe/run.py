"""A transcription from a list of recordings to an output, with a journal if that is a file.

    options = RunOptions(format="json", output="archive.jsonl", resume=True)
    outcome = transcribe_all(list(recordings(["archive/"])), Job("graphs/en"), options, reporter)

To standard output, or a pipe, transcripts are written in order as soon as they are complete. To a
file or folder they are written when all recordings are done; until then a journal keeps them, from
which an interrupted transcription is resumed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from asr_hlg.audio import Recording
from asr_hlg.errors import OnItemError, OptionError, stop
from asr_hlg.files import file_hash
from asr_hlg.graph import metadata
from asr_hlg.output import writers
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe import here
from asr_hlg.transcribe.defaults import MAX_MEMORY, TIMEOUT
from asr_hlg.transcribe.machine import default_workers
from asr_hlg.transcribe.transcriber import network_name
from asr_hlg.transcribe.workers import Job, Workers

if TYPE_CHECKING:
    from asr_hlg.transcribe.cluster import RayWorkers


@dataclass(frozen=True)
class RunOptions:
    """Where transcripts are written, and where the workers run.

    Attributes
    ----------
    format : str
        One of ``asr_hlg.output.writers.NAMES``.
    output : str, optional
        File or folder; by default standard output.
    spoken : bool
        Write spoken words even where transcripts hold written ones, too.
    resume, retry_failed, overwrite : bool
        Continue from the journal of an earlier transcription, try its failures again, too, or
        start over in spite of it.
    engine : {"local", "ray"}
        Workers on this machine, or on all machines of a Ray cluster.
    workers : int, optional
        Number of processes; by default one for each processor, fewer if there is little memory, or
        one for a GPU.
    timeout, max_memory : float
        As for :class:`~asr_hlg.transcribe.Workers`.
    strict : bool
        Stop at the first recording that cannot be transcribed.
    """

    format: str = "text"
    output: str | None = None
    spoken: bool = False
    resume: bool = False
    retry_failed: bool = False
    overwrite: bool = False
    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    timeout: float = TIMEOUT
    max_memory: float = MAX_MEMORY
    strict: bool = False

    def __post_init__(self) -> None:
        if (self.resume or self.retry_failed) and self.output is None:
            raise OptionError("--resume needs the --output of the earlier call")


@dataclass(frozen=True)
class Outcome:
    """Number of recordings that failed, and whether the transcription was stopped early."""

    failures: int = 0
    stopped: bool = False


class Reporter(Protocol):
    """Receives the events of a transcription, to show them."""

    def pronounced(self, number: int) -> None:
        """So many more words of hotwords or of a grammar have been pronounced."""

    def begin(self, total: int) -> None:
        """Work on so many recordings begins."""

    def done(self, transcript: Transcript) -> None:
        """A recording has been transcribed."""

    def failed(self, id: str, reason: str) -> None:
        """A recording cannot be transcribed."""

    def end(self) -> None:
        """Work on the recordings has ended."""

    def written(self, transcript: Transcript) -> None:
        """A transcript has been written to the output."""

    def info(self, line: str) -> None:
        """A message for users who want more than errors."""

    def warning(self, line: str) -> None:
        """A message for all users."""


def transcribe_all(
    recordings: Sequence[Recording],
    job: Job,
    options: RunOptions,
    reporter: Reporter,
    is_stopped: Callable[[], bool] = lambda: False,
    on_item_error: OnItemError = stop,
) -> Outcome:
    """Transcribe recordings and write the transcripts to the output.

    Parameters
    ----------
    recordings : sequence of Recording
        At least one.
    job : Job
    options : RunOptions
    reporter : Reporter
    is_stopped : callable
        Once it returns True, only the recordings in progress are finished.
    on_item_error : callable
        Receives the errors of single hotwords and words of the grammar. They are left out if it
        returns.

    Raises
    ------
    OptionError
        If there are no recordings, several would share a file, or the options do not fit the
        output or its journal.
    AsrHlgError
        If graph or model cannot be loaded, or the output cannot be written; with ``strict`` also
        the error of a recording.
    """
    if not recordings:
        raise OptionError("no recordings found", remedy="name sound files, folders or lists")
    _check_names(recordings, job, options)
    if job.options.lattices is not None:
        Path(job.options.lattices).mkdir(parents=True, exist_ok=True)
    run = _Run(job, options, reporter, is_stopped, on_item_error)
    if options.output is None or _is_pipe(options.output):
        return run.stream(recordings)
    return run.keep_journal(recordings, options.output)


@dataclass(frozen=True)
class _Run:
    """A transcription with its options."""

    job: Job
    options: RunOptions
    reporter: Reporter
    is_stopped: Callable[[], bool]
    on_item_error: OnItemError

    def stream(self, recordings: Sequence[Recording]) -> Outcome:
        """Write transcripts one by one, in order, as soon as they are complete."""
        failures: dict[str, str] = {}
        target = sys.stdout if self.options.output is None else self.options.output
        with writers.writer(self.options.format, target, count=len(recordings)) as out:
            write = partial(self._write, out)
            self._transcribe(recordings, write, failures.__setitem__, in_order=True)
        return Outcome(len(failures), self.is_stopped())

    def keep_journal(self, recordings: Sequence[Recording], target: str) -> Outcome:
        """Keep results in a journal, in any order, and write them when all are complete."""
        options, reporter = self.options, self.reporter
        writers.check(options.format, target, len(recordings))
        path = Path(target.rstrip("/") + ".journal")
        if options.resume and not path.exists() and Path(target).exists():
            reporter.warning(f"{target} is complete")
            return Outcome()
        from asr_hlg.transcribe.journal import Journal

        settings = journal_settings(self.job)
        with Journal.open(
            path, settings, resume=options.resume, overwrite=options.overwrite
        ) as journal:
            retried = journal.failures if options.retry_failed else ()
            todo = [r for r in recordings if r.id not in journal or r.id in retried]
            if len(todo) < len(recordings):
                num_done = len(recordings) - len(todo)
                reporter.info(f"{num_done} of {len(recordings)} are done already")
            try:
                if todo:
                    self._transcribe(todo, journal.add, journal.add_failure, in_order=False)
            finally:
                journal.sync()
                if any(recording.id not in journal for recording in recordings):
                    reporter.warning("go on with the same command and --resume")
            if self.is_stopped():
                return Outcome(stopped=True)
            failed = [r.id for r in recordings if r.id in journal.failures]
            with writers.writer(options.format, target, whole=True) as out:
                for recording in recordings:
                    if recording.id not in journal.failures:
                        self._write(out, journal.transcript(recording.id))
            journal.finish()
        if failed:
            reporter.info(
                f"{len(failed)} recordings failed, {path} says why; --resume --retry-failed tries "
                "them again"
            )
        return Outcome(len(failed), self.is_stopped())

    def _transcribe(
        self,
        recordings: Sequence[Recording],
        keep: Callable[[Transcript], None],
        keep_failure: Callable[[str, str], None],
        in_order: bool,
    ) -> None:
        """Transcribe recordings; pass on every transcript, or the id and reason of a failure."""
        with self._open_workers(recordings) as workers:
            self.reporter.begin(len(recordings))
            until_stopped = takewhile(lambda _: not self.is_stopped(), recordings)
            for recording, result in workers.run(until_stopped, in_order):
                if isinstance(result, Transcript):
                    keep(result)
                    self.reporter.done(result)
                elif self.options.strict:
                    raise result
                else:
                    keep_failure(recording.id, str(result))
                    self.reporter.failed(recording.id, str(result))
        self.reporter.end()

    def _write(self, out: writers.Writer, transcript: Transcript) -> None:
        shown = replace(transcript, written=[]) if self.options.spoken else transcript
        if shown.phones and self.options.format == "ctm":
            shown = shown.phone_transcript()
        out.write(shown)
        self.reporter.written(transcript)

    def _open_workers(
        self, recordings: Sequence[Recording]
    ) -> Workers | RayWorkers | here.InProcess:
        """Processes on the CPU, one process on a GPU, or the workers of a cluster.

        One short recording on the CPU needs no other process than this one.
        """
        options, num_recordings = self.options, len(recordings)
        on_progress = self.reporter.pronounced
        limits = options.timeout, options.max_memory, self.on_item_error, on_progress
        workers: Workers | RayWorkers | here.InProcess
        if options.engine == "ray":
            from asr_hlg.transcribe.cluster import RayWorkers

            workers = RayWorkers(self.job, options.workers, *limits)
        elif self._unsupervised() and here.fits(self.job, recordings):
            start = partial(Workers, self.job, 1, *limits)
            workers = here.InProcess(self.job, start, self.on_item_error, on_progress)
        else:
            number, reason = options.workers, ""
            if number is None:
                number, reason = default_workers() if self.job.device == "cpu" else (1, "")
            if reason and number < num_recordings:
                self.reporter.info(reason)
            if number < 1:
                raise OptionError("--workers must be at least 1")
            number = min(number, num_recordings)
            workers = Workers(self.job, number, *limits)
        if workers.report:
            self.reporter.info(workers.report)
        return workers

    def _unsupervised(self) -> bool:
        """Whether no option asks for worker processes or for their limits."""
        options = self.options
        limits = options.timeout, options.max_memory
        return options.workers is None and limits == (TIMEOUT, MAX_MEMORY)


def journal_settings(job: Job) -> dict[str, Any]:
    """All that the transcripts of a job depend on, with hashes of the files that it names."""
    settings = asdict(job)
    del settings["batch"]  # affects the speed only
    folder = Path(job.graph)
    settings["graph"] = metadata.read(folder)["files"]
    settings["model"] = job.model or network_name(folder, job.device, job.options)
    for name in ("model", "grammar", "hotwords"):
        value = settings[name]
        if value is not None and Path(value).is_file():
            settings[name] = f"{value} (SHA-256 {file_hash(Path(value))})"
    return settings


def _is_pipe(target: str) -> bool:
    """Whether a target is neither file nor folder, so that no file can replace it."""
    path = Path(target)
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_names(recordings: Iterable[Recording], job: Job, options: RunOptions) -> None:
    """Refuse ids that would share a file."""
    folder = options.output is not None and writers.is_folder(options.format, options.output)
    if not folder and job.options.lattices is None:
        return
    name, count = Counter(writers.file_name(r.id) for r in recordings).most_common(1)[0]
    if count > 1:
        raise OptionError(
            f"{count} recordings would share the file name {name}",
            remedy="name them in a list of `id path`, wav.scp",
        )
