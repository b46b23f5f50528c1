"""One short recording, transcribed in this process, with all that it needs loaded side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from asr_hlg.audio import Recording
from asr_hlg.errors import AsrHlgError, OnItemError, stop
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe.transcriber import Transcriber
from asr_hlg.transcribe.workers import Job, Workers

if TYPE_CHECKING:
    from asr_hlg.lexicon.g2p import OnProgress

MAX_SECONDS = 60.0
"""Length of the longest recording that is transcribed in this process, unsupervised."""


class InProcess:
    """Has the methods of :class:`~asr_hlg.transcribe.Workers`, but starts no process.

    A recording at which an error is raised that is not an AsrHlgError is given to a worker process,
    which may also die of it.

    Parameters
    ----------
    job : Job
        On the CPU, without batches.
    start_workers : callable
        Starts one worker process, where this process cannot transcribe the recording.
    on_error, on_progress : callable
        As for :meth:`Job.prepare`.

    Attributes
    ----------
    report : str
        As that of :class:`~asr_hlg.transcribe.Workers`.
    """

    def __init__(
        self,
        job: Job,
        start_workers: Callable[[], Workers],
        on_error: OnItemError = stop,
        on_progress: OnProgress = lambda _: None,
    ):
        self._start_workers = start_workers
        self._transcriber, self.report = loaded(job, on_error, on_progress)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be ended."""

    def run(
        self, recordings: Iterable[Recording], in_order: bool = True
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        """Pairs of a recording and its transcript or error."""
        for recording in recordings:
            try:
                yield recording, self._transcriber.transcribe_one(recording)
            except AsrHlgError as error:
                yield recording, error
            except (Exception, MemoryError):
                with self._start_workers() as workers:
                    yield from workers.run([recording])


def fits(job: Job, recordings: Iterable[Recording]) -> bool:
    """Whether a job's recordings are one short recording on the CPU."""
    first, *others = recordings
    if others or job.device != "cpu" or job.batch:
        return False
    return first.error is not None or 0 < first.expected_duration() <= MAX_SECONDS


def loaded(job: Job, on_error: OnItemError, on_progress: OnProgress) -> tuple[Transcriber, str]:
    """A job's transcriber, and its report on words whose pronunciation was guessed.

    The network is loaded in another thread than the graph.
    """
    with ThreadPoolExecutor(1) as pool:
        network = pool.submit(job.network)
        graph, report = job.open_graph(on_error, on_progress)
        transcriber = job.transcriber_of(graph, network.result())
    return transcriber, report
