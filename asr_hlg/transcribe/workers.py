"""Many recordings at a time: processes that share a graph, and outlive whatever they are fed."""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.graph.adapt.runtime import open_graph
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe.batches import batches
from asr_hlg.transcribe.options import TranscribeOptions
from asr_hlg.transcribe.supervisor import Supervisor, Work
from asr_hlg.transcribe.transcriber import OnError, Transcriber

TIMEOUT = 120.0
"""Seconds that a minute of a recording may take by default."""

MAX_MEMORY = 4.0
"""GB that a worker may use by default, on top of graph and model."""


@dataclass(frozen=True)
class Job:
    """What a worker process needs to build its own :class:`Transcriber`.

    Attributes
    ----------
    graph : str
        A graph folder.
    model : str, optional
        Another acoustic model than the recipe's.
    options : TranscribeOptions
    search : mapping
        Fields of :class:`SearchOptions`, or of a transducer's
        :class:`~asr_hlg.transducer.GraphOptions`, that differ from the recipe's.
    grammar, hotwords : str, optional
        Files with changes to the graph, see :func:`asr_hlg.graph.adapt.runtime.open_graph`. Every
        worker makes them in its own memory; an unchanged graph is mapped, and shared by all.
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

    def transcriber(self) -> tuple[Transcriber, str]:
        """The transcriber, warmed up; and a report on words whose pronunciation was guessed."""
        graph, guesses = open_graph(
            self.graph, self.device, grammar_file=self.grammar, hotword_file=self.hotwords
        )
        transcriber = Transcriber.from_graph(
            self.graph, self.device, self.model, self.options, graph=graph, **self.search
        )
        transcriber.warm_up()
        return transcriber, guesses.report() if guesses.pronunciations else ""


class Workers:
    """Processes that transcribe side by side; the graph's arrays are shared.

        with Workers(Job("graphs/en"), number=2) as workers:
            for transcript in workers.transcribe(recordings(["a.wav"])):
                ...

    A worker that dies, hangs or raises what is no AsrHlgError is replaced, and its recording tried
    once more in the fresh one; then it counts as failed, and the others go on. (k2 holds Python's
    interpreter lock while it searches, so threads would wait for each other.)

    Parameters
    ----------
    job : Job
    number : int
        Of processes.
    timeout : float
        Seconds without progress after which a worker is killed: a minute of a recording, or what
        there is of it, must not take longer.
    max_memory : float
        GB that a worker may use on top of graph and model; where a search comes to that limit, its
        beams are narrowed and the transcript says so. Not on CUDA.

    Attributes
    ----------
    report : str
        On words of a grammar or of hotwords whose pronunciation was guessed.
    """

    def __init__(
        self, job: Job, number: int, timeout: float = TIMEOUT, max_memory: float = MAX_MEMORY
    ):
        for name, value in {"number": number, "timeout": timeout, "max_memory": max_memory}.items():
            if not value > 0:
                raise OptionError(f"{name} must be above 0, not {value}")
        if job.batch < 0:
            raise OptionError(f"batch must not be below 0, as {job.batch} is")
        self._batch = job.batch
        self._supervisor = Supervisor(partial(_start, job, max_memory), number, timeout)
        self.report: str = self._supervisor.startup_result

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.close()

    @property
    def retried(self) -> int:
        """Recordings that were tried a second time so far."""
        return self._supervisor.retried

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return self._supervisor.pids

    def transcribe(
        self, paths: Iterable[str | Path | Recording], on_error: OnError | None = None
    ) -> Iterator[Transcript]:
        """As :meth:`Transcriber.transcribe`, in the same order."""
        for recording, result in self.run(recordings(paths)):
            if isinstance(result, Transcript):
                yield result
            elif on_error is None:
                raise result
            else:
                on_error(recording, result)

    def run(
        self, found: Iterable[Recording], in_order: bool = True
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        """Every recording with its transcript or with what went wrong, in order or as done."""
        if not self._batch:
            return self._supervisor.run(found, in_order)
        return self._in_order(found) if in_order else self._run_batches(found)

    def _run_batches(
        self, found: Iterable[Recording]
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        """As done; recordings whose batch failed twice are tried one by one in the end."""
        alone: list[list[Recording]] = []
        for tasks in batches(found, self._batch), alone:
            for batch, results in self._supervisor.run(tasks, in_order=False):
                if not isinstance(results, AsrHlgError):
                    yield from zip(batch, results, strict=True)
                elif len(batch) > 1:
                    alone += [[recording] for recording in batch]
                else:
                    yield batch[0], results

    def _in_order(
        self, found: Iterable[Recording]
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        order: deque[str] = deque()
        done: dict[str, tuple[Recording, Transcript | AsrHlgError]] = {}

        def noted() -> Iterator[Recording]:
            for recording in found:
                order.append(recording.id)
                yield recording

        for recording, result in self._run_batches(noted()):
            done[recording.id] = recording, result
            while order and order[0] in done:
                yield done.pop(order.popleft())


def _start(job: Job, max_memory: float) -> tuple[Work, str]:
    torch.set_num_threads(1)
    transcriber, report = job.transcriber()
    if torch.device(job.device).type == "cpu":
        _limit_memory(max_memory)

    return transcriber.transcribe_together if job.batch else transcriber.transcribe_one, report


def _limit_memory(gigabytes: float) -> None:
    """Let allocations fail that go so far beyond what is in use now; mapped files do not count."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except OSError:
        return  # not Linux, whose limit alone counts all allocations
    wanted = pages * resource.getpagesize() + int(gigabytes * 1e9)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
