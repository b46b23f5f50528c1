"""Workers on many machines: a transcription as a Ray Data job.

    with RayWorkers(Job("graphs/en")) as workers:
        for recording, result in workers.run(recordings(["archive.jsonl"])):
            ...

:class:`RayWorkers` has the interface of :class:`~asr_hlg.transcribe.Workers`. Ray carries
recordings to actors and transcripts back, and replaces an actor that is lost with its machine.
Every actor starts one worker process, which is replaced if a recording makes it crash: an actor
that crashed would be replaced without end, since Ray gives its recording to the next one.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.audio import Recording
from asr_hlg.errors import AsrHlgError, OnItemError, OptionError, WorkerError, stop
from asr_hlg.lexicon.g2p import OnProgress
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe.defaults import MAX_MEMORY, TIMEOUT
from asr_hlg.transcribe.workers import Job, Workers

# Recordings are sent in blocks. Small ones balance the work at the end and cost less when an actor
# is lost; with large ones Ray has fewer of them to schedule.
_BLOCKS_PER_WORKER = 20
_MAX_BLOCK_SIZE = 64

_Block = dict[str, npt.NDArray[np.object_]]
"""Column ``item``: pickled pairs of a number and a recording, or its result."""


class RayWorkers:
    """Ray actors that transcribe, on all machines of a Ray cluster or on this one alone.

    The environment variable ``RAY_ADDRESS`` names the cluster (``auto`` on one of its machines).
    Without it a Ray instance is started here, and ended with this object; it is reachable from this
    machine only. Graph, model and recordings must have the same paths everywhere; relative ones
    count from the working folder, which all machines must have, too.

    Parameters
    ----------
    job : Job
    number : int, optional
        Number of actors; by default one for every core of the cluster, or for every GPU.
    timeout, max_memory : float
        As for :class:`~asr_hlg.transcribe.Workers`.

    Attributes
    ----------
    report : str
        On words of a grammar or of hotwords whose pronunciation was guessed; or empty.

    Raises
    ------
    OptionError
        If Ray is not installed, or the cluster has no device to run an actor on.
    AsrHlgError
        If the graph cannot be loaded.
    """

    def __init__(
        self,
        job: Job,
        number: int | None = None,
        timeout: float = TIMEOUT,
        max_memory: float = MAX_MEMORY,
        on_item_error: OnItemError = stop,
        on_progress: OnProgress = lambda _: None,
    ):
        if number is not None and number < 1:
            raise OptionError(f"number must be at least 1, not {number}")
        # Loaded here, too, so that errors appear before the cluster begins to work.
        self.report = job.prepare(on_item_error, on_progress)
        self._job, self._timeout, self._max_memory = job, timeout, max_memory
        self._ray, self._was_connected_here = _connected(number)
        processor = "CPU" if job.device == "cpu" else "GPU"
        self._resources = {f"num_{processor.lower()}s": 1}
        self._number = number or int(self._ray.cluster_resources().get(processor, 0))
        if not self._number:
            self.close()
            raise OptionError(f"no machine of the Ray cluster has a {processor}")

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect from the cluster, and end it if it was started here."""
        if self._was_connected_here:
            self._ray.shutdown()

    def run(
        self, recordings: Iterable[Recording], in_order: bool = True
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        """Pairs of a recording and its transcript or error, in order or as they are done.

        A block of recordings that was lost with its actor is transcribed again, but each recording
        is returned once.
        """
        pending = dict(enumerate(recordings))
        if not pending:
            return
        for number, result in self._results(pending, in_order):
            if number is None:  # a worker that cannot start
                raise result
            recording = pending.pop(number, None)
            if recording is not None:
                yield recording, result
        for recording in pending.values():
            yield recording, WorkerError("Ray has lost it", remedy="try it again")

    def _results(self, numbered: dict[int, Recording], in_order: bool) -> Iterator[tuple[Any, Any]]:
        """Run the Ray Data job; yields results with their numbers, or None and an error."""
        data = self._ray.data
        rows = [{"item": pickle.dumps(item)} for item in numbered.items()]
        number = min(self._number, len(rows))
        size = min(_MAX_BLOCK_SIZE, -(-len(rows) // (_BLOCKS_PER_WORKER * number)))
        results = data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
            _Actor,
            batch_size=None,  # a block
            fn_constructor_args=(os.getcwd(), self._job, self._timeout, self._max_memory),
            compute=data.ActorPoolStrategy(size=number),
            **self._resources,
        )
        results.context.execution_options.preserve_order = in_order
        try:
            for row in results.iter_rows():
                yield pickle.loads(row["item"])
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            raise WorkerError(f"Ray gave up: {lines[-1]}") from error


class _Actor:
    """Transcribes blocks of recordings on one machine of the cluster; Ray calls it.

    The work is done by one process of :class:`~asr_hlg.transcribe.Workers`, which may crash and
    loads the graph once.
    """

    def __init__(self, folder: str, job: Job, timeout: float, max_memory: float):
        # Errors of single items have been reported where the job was started.
        self._folder, self._arguments = folder, (job, 1, timeout, max_memory, lambda _: None)
        self._workers: Workers | WorkerError | None = None

    def __call__(self, block: _Block) -> _Block:
        items = [pickle.loads(item) for item in block["item"]]
        # Not in the constructor: if that fails, Ray calls it again without end.
        self._workers = self._workers or self._start()
        if isinstance(self._workers, WorkerError):
            results: list[Any] = [(None, self._workers)]
        else:
            numbers = {recording.id: number for number, recording in items}
            done = self._workers.run([recording for _, recording in items])
            results = [(numbers[recording.id], result) for recording, result in done]
        return {"item": np.array([pickle.dumps(result) for result in results], dtype=object)}

    def _start(self) -> Workers | WorkerError:
        try:
            os.chdir(self._folder)
            return Workers(*self._arguments)
        except (AsrHlgError, OSError) as error:
            return WorkerError(f"a worker on {os.uname().nodename} cannot start: {error}")


def _connected(number: int | None) -> tuple[Any, bool]:
    """Ray, connected to a cluster, and whether it was connected here."""
    address = os.environ.get("RAY_ADDRESS", "local")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage reports
    if address == "local":
        # Despite its name this makes Ray listen to this machine only, on any system.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError(
            f"Ray Data cannot be imported: {error}", remedy="pip install 'asr-hlg[ray]'"
        ) from None
    ray.data.DataContext.get_current().enable_progress_bars = False  # the command has its own
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return ray, False
    if address == "local":
        cores = number or len(os.sched_getaffinity(0))
        ray.init(address, num_cpus=cores, include_dashboard=False, logging_level=logging.ERROR)
        return ray, True
    try:
        ray.init(address, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise OptionError(
            f"no Ray cluster at RAY_ADDRESS={address}: {error}",
            remedy="start one with `ray start --head`, or unset the variable",
        ) from None
    return ray, True
