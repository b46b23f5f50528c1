"""Worker processes that transcribe recordings side by side and share the arrays of a graph."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_hlg import threads
from asr_hlg.acoustic import AcousticModel
from asr_hlg.audio import Recording
from asr_hlg.audio import recordings as find_recordings
from asr_hlg.errors import AsrHlgError, OnItemError, OptionError, stop
from asr_hlg.graph import DecodingGraph
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe.batches import batches, with_following
from asr_hlg.transcribe.defaults import MAX_MEMORY, TIMEOUT
from asr_hlg.transcribe.options import ReportProgress, TranscribeOptions
from asr_hlg.transcribe.transcriber import OnError, Transcriber, load_network

if TYPE_CHECKING:
    from asr_hlg.lexicon.g2p import OnProgress
    from asr_hlg.transcribe.supervisor import Work

_SHOWN_GUESSES = 20


@dataclass(frozen=True)
class Job:
    """Arguments from which each worker process makes its :class:`Transcriber`.

    Attributes
    ----------
    graph : str
        A graph folder.
    model : str, optional
        Acoustic model; by default the recipe's.
    options : TranscribeOptions
    search : mapping
        Fields of :class:`SearchOptions`, or of a transducer's
        :class:`~asr_hlg.transducer.GraphOptions`, that differ from the recipe's.
    grammar, hotwords : str, optional
        Files with changes to the graph, see :func:`asr_hlg.graph.adapt.runtime.open_graph`. The
        changed graph is made once, kept in the cache folder, and mapped by all workers.
    device : str
    batch : float
        Seconds of sound that are transcribed together, see
        :func:`asr_hlg.transcribe.batches.batches`; 0 for one recording at a time.
    """

    graph: str
    model: str | None = None
    options: TranscribeOptions = field(default_factory=TranscribeOptions)
    search: Mapping[str, Any] = field(default_factory=dict)
    grammar: str | None = None
    hotwords: str | None = None
    device: str = "cpu"
    batch: float = 0.0

    def prepare(
        self, on_error: OnItemError = stop, on_progress: OnProgress = lambda _: None
    ) -> str:
        """Change the graph, before the workers open it.

        Parameters
        ----------
        on_error : callable
            Receives the errors of single hotwords and words of the grammar, which are left out.
        on_progress : callable
            Called with the number of words that have been pronounced since its last call.

        Returns
        -------
        str
            Report on words whose pronunciation was guessed; empty if there are none.
        """
        return self.open_graph(on_error, on_progress)[1]

    def open_graph(
        self, on_error: OnItemError, on_progress: OnProgress = lambda _: None
    ) -> tuple[DecodingGraph, str]:
        """Load the graph with its changes; arguments and report as for :meth:`prepare`."""
        if self.grammar is None and self.hotwords is None:
            return DecodingGraph.load(self.graph, self.device), ""
        from asr_hlg.graph.adapt.cached import open_graph

        graph, guesses = open_graph(
            self.graph,
            self.device,
            grammar_file=self.grammar,
            hotword_file=self.hotwords,
            on_error=on_error,
            on_progress=on_progress,
        )
        return graph, guesses.report(_SHOWN_GUESSES)

    def network(self) -> AcousticModel:
        """Load the acoustic model."""
        return load_network(self.graph, self.device, self.model, self.options)

    def transcriber_of(self, graph: DecodingGraph, network: AcousticModel) -> Transcriber:
        """The transcriber with this graph and acoustic model."""
        return Transcriber.from_graph(
            self.graph, self.device, network, self.options, graph=graph, **self.search
        )

    def transcriber(self) -> tuple[Transcriber, str]:
        """Load graph and model, and decode once; :meth:`prepare` reports errors of single items.

        Returns
        -------
        transcriber : Transcriber
        report : str
            On words whose pronunciation was guessed; empty if there are none.
        """
        graph, report = self.open_graph(lambda _: None)
        transcriber = self.transcriber_of(graph, self.network())
        transcriber.warm_up()
        return transcriber, report


class Workers:
    """Processes that transcribe side by side.

        with Workers(Job("graphs/en"), number=2) as workers:
            for transcript in workers.transcribe(recordings(["a.wav"])):
                ...

    A worker that dies, hangs or raises anything but an AsrHlgError is replaced, and the new one
    tries its recording once more; after a second time the recording has failed, and the others go
    on. (Processes rather than threads, since k2 holds Python's global lock while it searches.)

    Parameters
    ----------
    job : Job
    number : int
        Number of processes.
    timeout : float
        Seconds without progress after which a worker is killed. Progress is reported after every
        minute of sound, and at the end of a recording.
    max_memory : float
        GB that a worker may use on top of graph and model. A search that reaches that limit is
        repeated with narrower beams, and the transcript has a note. Not on CUDA.
    on_item_error, on_progress : callable
        See :meth:`Job.prepare`.

    Attributes
    ----------
    report : str
        On words of a grammar or of hotwords whose pronunciation was guessed; or empty.
    """

    def __init__(
        self,
        job: Job,
        number: int,
        timeout: float = TIMEOUT,
        max_memory: float = MAX_MEMORY,
        on_item_error: OnItemError = stop,
        on_progress: OnProgress = lambda _: None,
    ):
        for name, value in {"number": number, "timeout": timeout, "max_memory": max_memory}.items():
            if not value > 0:
                raise OptionError(f"{name} must be above 0, not {value}")
        if job.batch < 0:
            raise OptionError(f"batch must not be below 0, as {job.batch} is")
        self._batch, self._number = job.batch, number
        self._all_channels = job.options.channel == "all"
        if job.grammar is not None or job.hotwords is not None:
            job.prepare(on_item_error, on_progress)
        from asr_hlg.transcribe.supervisor import Supervisor

        self._supervisor = Supervisor(partial(_start, job, max_memory), number, timeout)
        self.report: str = self._supervisor.startup_result

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.close()

    @property
    def retried(self) -> int:
        """Number of recordings that were tried a second time so far."""
        return self._supervisor.retried

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that run now."""
        return self._supervisor.pids

    def transcribe(
        self, paths: Iterable[str | Path | Recording], on_error: OnError | None = None
    ) -> Iterator[Transcript]:
        """Transcribe recordings as :meth:`Transcriber.transcribe` does, in the same order."""
        for recording, result in self.run(find_recordings(paths, self._all_channels)):
            if isinstance(result, Transcript):
                yield result
            elif on_error is None:
                raise result
            else:
                on_error(recording, result)

    def run(
        self, recordings: Iterable[Recording], in_order: bool = True
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        """Pairs of a recording and its transcript or error, in order or as they are done."""
        from asr_hlg.transcribe.supervisor import results_in_order

        run = self._run_batches if self._batch else self._supervisor.run
        return results_in_order(run, recordings) if in_order else run(recordings)

    def _run_batches(
        self, recordings: Iterable[Recording]
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        """Results as they are done; recordings of a batch that failed are tried one by one.

        Where there is one process, it computes posteriors of the next batch during the search.
        Several processes do so for each other.
        """
        divided, singles = batches(recordings, self._batch), list[list[Recording]]()
        known_next = with_following(divided) if self._number == 1 else _alone(divided)
        for tasks in known_next, _alone(singles):
            for (batch, _), results in self._supervisor.run(tasks):
                if not isinstance(results, AsrHlgError):
                    yield from zip(batch, results, strict=True)
                elif len(batch) > 1:
                    singles += [[recording] for recording in batch]
                else:
                    yield batch[0], results


def _start(job: Job, max_memory: float) -> tuple[Work, str]:
    """Prepare a worker process: returns the function that does a task, and the job's report."""
    threads.limit(1)
    transcriber, report = job.transcriber()
    if job.device == "cpu":
        _limit_memory(max_memory)
    return partial(_together, transcriber) if job.batch else transcriber.transcribe_one, report


_Task = tuple[list[Recording], list[Recording]]
"""A batch, and the next one where it is known that this process gets it."""


def _together(
    transcriber: Transcriber, task: _Task, report_progress: ReportProgress
) -> list[Transcript | AsrHlgError]:
    """Transcribe a batch in a worker process."""
    batch, following = task
    return transcriber.transcribe_together(batch, report_progress, following)


def _alone(batches: Iterable[list[Recording]]) -> Iterator[_Task]:
    """Batches without the next one."""
    return ((batch, []) for batch in batches)


def _limit_memory(gigabytes: float) -> None:
    """Limit further allocations to so many GB; mapped files do not count."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except OSError:
        return  # not Linux; on other systems the limit does not count all allocations
    limit = pages * resource.getpagesize() + int(gigabytes * 1e9)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
