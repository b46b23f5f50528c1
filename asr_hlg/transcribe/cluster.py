"""Many machines: the workers of a transcription as a Ray Data job.

    with RayWorkers(Job("graphs/en")) as workers:
        for recording, result in workers.run(recordings(["archive.jsonl"])):
            ...

It does what :class:`~asr_hlg.transcribe.Workers` does on one machine, and is used in its place.
Ray brings recordings to actors, transcripts back, and starts an actor anew that is lost with its
machine. Every actor keeps a worker process of its own, which is replaced when a recording makes it
crash: Ray would give such a recording to one actor after the other, for ever.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asr_hlg.audio import Recording
from asr_hlg.errors import AsrHlgError, OptionError, WorkerError
from asr_hlg.graph.adapt.runtime import open_graph
from asr_hlg.output.transcript import Transcript
from asr_hlg.transcribe.workers import MAX_MEMORY, TIMEOUT, Job, Workers

# Recordings travel in blocks. Small ones even out the work at the end and cost less when an actor
# is lost; large ones are fewer for Ray to keep account of.
_BLOCKS_PER_WORKER = 20
_MAX_BLOCK_SIZE = 64

_Block = dict[str, npt.NDArray[np.object_]]
"""Column ``item``: pickled pairs of a number and a recording, or its result."""


class RayWorkers:
    """Ray actors that transcribe, on all machines of a Ray cluster or on this one alone.

    The environment variable ``RAY_ADDRESS`` names the cluster (``auto`` on one of its machines).
    Without it a Ray of its own is started here, and ended with this object; it is reachable from
    this machine only. Graph, model and recordings must be found under the same paths everywhere;
    relative ones count from the working folder, which all machines must have, too.

    Parameters
    ----------
    job : Job
    number : int, optional
        Of actors; by default one for every core of the cluster, or for every GPU.
    timeout, max_memory : float
        As for :class:`~asr_hlg.transcribe.Workers`.

    Attributes
    ----------
    report : str
        On words of a grammar or of hotwords whose pronunciation was guessed.

    Raises
    ------
    OptionError
        If Ray is not installed, or the cluster has nothing to run an actor on.
    AsrHlgError
        If the graph cannot be loaded.
    """

    def __init__(
        self,
        job: Job,
        number: int | None = None,
        timeout: float = TIMEOUT,
        max_memory: float = MAX_MEMORY,
    ):
        if number is not None and number < 1:
            raise OptionError(f"number must be at least 1, not {number}")
        # Once here: mistakes show before a cluster is kept busy.
        _, guesses = open_graph(job.graph, grammar_file=job.grammar, hotword_file=job.hotwords)
        self.report = guesses.report() if guesses.pronunciations else ""
        self._job, self._timeout, self._max_memory = job, timeout, max_memory
        self._ray, self._connected_here = _connected(number)
        kind = "CPU" if torch.device(job.device).type == "cpu" else "GPU"
        self._resources = {f"num_{kind.lower()}s": 1}
        self._number = number or int(self._ray.cluster_resources().get(kind, 0))
        if not self._number:
            self.close()
            raise OptionError(f"no machine of the Ray cluster has a {kind}")

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        if self._connected_here:
            self._ray.shutdown()

    def run(
        self, found: Iterable[Recording], in_order: bool = True
    ) -> Iterator[tuple[Recording, Transcript | AsrHlgError]]:
        """Every recording with its transcript or with what went wrong, in order or as done.

        A block of recordings that was lost with its actor is transcribed again; each recording
        comes back once all the same.
        """
        waiting = dict(enumerate(found))
        if not waiting:
            return
        for number, result in self._results(waiting, in_order):
            if isinstance(result, _Unable):
                raise WorkerError(f"a worker on {result.node} cannot start: {result.reason}")
            recording = waiting.pop(number, None)
            if recording is not None:
                yield recording, result
        for recording in waiting.values():
            yield recording, WorkerError("Ray has lost it", remedy="try it again")

    def _results(self, found: dict[int, Recording], in_order: bool) -> Iterator[tuple[int, Any]]:
        """The job itself: rows in, rows out."""
        data = self._ray.data
        rows = [{"item": pickle.dumps(item)} for item in found.items()]
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


class _Unable:
    """The answer of an actor that cannot start."""

    def __init__(self, node: str, reason: str):
        self.node, self.reason = node, reason


class _Actor:
    """Lives on some machine of the cluster; Ray calls it with one block after the other.

    It works in a process of its own, by way of :class:`~asr_hlg.transcribe.Workers`: that one may
    crash, and loads the graph once.
    """

    def __init__(self, folder: str, job: Job, timeout: float, max_memory: float):
        self._folder, self._arguments = folder, (job, 1, timeout, max_memory)
        self._workers: Workers | _Unable | None = None

    def __call__(self, block: _Block) -> _Block:
        items = [pickle.loads(item) for item in block["item"]]
        # Not in the constructor: where that fails, Ray tries again and again.
        self._workers = self._workers or self._start()
        if isinstance(self._workers, _Unable):
            results: list[Any] = [(number, self._workers) for number, _ in items]
        else:
            numbers = {recording.id: number for number, recording in items}
            done = self._workers.run([recording for _, recording in items])
            results = [(numbers[recording.id], result) for recording, result in done]
        return {"item": np.array([pickle.dumps(result) for result in results], dtype=object)}

    def _start(self) -> Workers | _Unable:
        try:
            os.chdir(self._folder)
            return Workers(*self._arguments)
        except (AsrHlgError, OSError) as error:
            return _Unable(os.uname().nodename, str(error))


def _connected(number: int | None) -> tuple[Any, bool]:
    """Ray, connected to a cluster, and whether that has to be undone."""
    address = os.environ.get("RAY_ADDRESS", "local")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would call home
    if address == "local":
        # Ray's way to say, on any system: one machine only, so listen to no other.
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
