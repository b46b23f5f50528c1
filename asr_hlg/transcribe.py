"""The pipeline: recordings in, transcripts out, in order, on as many cores as there are.

transcriber = Transcriber.from_graph("graphs/en")
for transcript in transcriber.transcribe(["a.wav", "recordings/"]):
    print(transcript.id, transcript.text)
"""

from __future__ import annotations

import heapq
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from asr_hlg import acoustic
from asr_hlg.acoustic import AcousticModel
from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice
from asr_hlg.lattice import Path as LatticePath
from asr_hlg.lattice import io as lattice_io
from asr_hlg.posteriors import Posteriors
from asr_hlg.rescore.passes import PassOptions, SecondPasses
from asr_hlg.search import SearchOptions, decode
from asr_hlg.segment import cut
from asr_hlg.transcript import Alternative, Transcript

Search = Literal["viterbi", "forward", "mbr"]
OnError = Callable[[Recording, AsrHlgError], None]


@dataclass(frozen=True)
class TranscribeOptions:
    """What to draw from the lattices.

    Attributes
    ----------
    search : {"viterbi", "forward", "mbr"}
        The best path; the word sequence with the largest total probability; or the one with the
        fewest expected word errors.
    nbest : int
        How many different word sequences to list for every recording; 1 lists none besides the
        answer.
    channel : int, optional
        Which channel of a recording to hear, from 0; by default all are averaged.
    passes : PassOptions
        Second passes with larger models. Where Whisper ranks, ``search`` says what it ranks:
        best alignments, or sums over alignments.
    lattices : str, optional
        A folder for the lattices: a Kaldi archive for every recording, whose pieces, where it was
        cut, are ``ID-1``, ``ID-2``, …
    """

    search: Search = "viterbi"
    nbest: int = 1
    channel: int | None = None
    passes: PassOptions = field(default_factory=PassOptions)
    lattices: str | None = None

    def __post_init__(self):
        if self.search not in ("viterbi", "forward", "mbr"):
            raise OptionError(
                f"unknown search {self.search!r}", remedy="viterbi, forward and mbr are known"
            )
        if self.nbest < 1:
            raise OptionError(f"nbest must be at least 1, not {self.nbest}")
        if self.search == "mbr" and self.passes.whisper is not None:
            raise OptionError(
                "Whisper ranks whole sentences, minimum Bayes risk single words",
                remedy="use the search viterbi or forward with Whisper",
            )


class Transcriber:
    """A graph and an acoustic model that transcribe recordings together."""

    def __init__(
        self,
        graph: DecodingGraph,
        model: AcousticModel,
        search: SearchOptions | None = None,
        options: TranscribeOptions | None = None,
        passes: SecondPasses | None = None,
    ):
        self.graph = graph
        self.model = model
        self.search = search or graph.search_options()
        self.options = options or TranscribeOptions()
        self.passes = passes

    @classmethod
    def from_graph(
        cls,
        path: str | Path,
        device: str = "cpu",
        model: str | Path | None = None,
        options: TranscribeOptions | None = None,
        **search,
    ) -> Transcriber:
        """Load a graph folder and the acoustic model that its recipe names.

        Parameters
        ----------
        path : str or Path
            A graph folder.
        device : str
            ``cpu``, ``cuda`` or ``cuda:N``: where model and search run.
        model : str or Path, optional
            Another acoustic model, as :func:`asr_hlg.acoustic.load` takes it.
        options : TranscribeOptions, optional
        **search
            Fields of :class:`SearchOptions` that differ from the recipe's.
        """
        graph = DecodingGraph.load(path, device)
        spec = model or graph.meta.get("recipe", {}).get("acoustic_model", "hama")
        passes = SecondPasses((options or TranscribeOptions()).passes, path, graph, device)
        network = acoustic.load(spec, device)
        return cls(graph, network, graph.search_options(**search), options, passes)

    def transcribe(
        self, paths: Iterable[str | Path | Recording], on_error: OnError | None = None
    ) -> Iterator[Transcript]:
        """Transcribe recordings one after the other.

        Parameters
        ----------
        paths : iterable
            What :func:`asr_hlg.audio.recordings` takes: files, folders, lists, manifests; or
            recordings themselves.
        on_error : callable, optional
            Called with a recording that fails and its error, after which the next one follows.
            Without it the error is raised.
        """
        for recording in recordings(paths):
            try:
                yield self.transcribe_one(recording)
            except AsrHlgError as error:
                if on_error is None:
                    raise
                on_error(recording, error)

    def transcribe_one(self, recording: Recording) -> Transcript:
        """Transcribe one recording."""
        samples = recording.load(self.model.sample_rate, self.options.channel)
        duration = len(samples) / self.model.sample_rate
        posteriors = self.model.posteriors([samples], self.model.sample_rate)
        pieces = cut(posteriors)
        parts = []
        for number, (begin, end) in enumerate(pieces, start=1):
            lattice = self._lattice(posteriors, begin, end)
            if self.options.lattices is not None:
                name = recording.id if len(pieces) == 1 else f"{recording.id}-{number}"
                path = Path(self.options.lattices) / f"{recording.id.replace('/', '_')}.ark"
                lattice_io.write(lattice, [name], path, append=number > 1)
            parts.append(self._piece(lattice, samples, begin, end))
        return _join(recording.id, duration, parts)

    def _lattice(self, posteriors: Posteriors, begin: int, end: int) -> Lattice:
        """Search the frames [begin, end) of a recording."""
        piece = replace(
            posteriors,
            log_probs=posteriors.log_probs[:, begin:end],
            lengths=torch.tensor([end - begin], dtype=torch.int32),
        )
        lattice = decode(self.graph, piece, self.search)
        return lattice if self.passes is None else self.passes.lattice(lattice)

    def _piece(self, lattice: Lattice, samples: torch.Tensor, begin: int, end: int) -> Transcript:
        """The transcript of the frames [begin, end), with times from the recording's start."""
        samples_per_frame = lattice.frame_shift * self.model.sample_rate
        first, last = round(begin * samples_per_frame), round(end * samples_per_frame)
        answer, ranked = self._answer(lattice, samples[first:last])
        offset = begin * lattice.frame_shift
        words = [
            replace(word, start=word.start + offset, end=word.end + offset)
            for word in lattice.words([answer])[0]
        ]
        alternatives = [
            Alternative(path.text, path.score, path.acoustic_score, path.graph_score)
            for path in ranked[: self.options.nbest]
        ]
        return Transcript("", answer.text, words, answer.score, alternatives=alternatives)

    def _answer(
        self, lattice: Lattice, samples: torch.Tensor
    ) -> tuple[LatticePath, list[LatticePath]]:
        """What was said, and the n-best list if one is wanted."""
        options = self.options
        ranked: list[LatticePath] = []
        if self.passes is not None and self.passes.ranks_lists:
            wanted = max(options.nbest, options.passes.whisper_nbest)
            paths = lattice.nbest(wanted, forward=options.search == "forward")[0]
            ranked = self.passes.rank(paths, samples, self.model.sample_rate)
            return ranked[0], ranked if options.nbest > 1 else []
        if options.nbest > 1:
            ranked = lattice.nbest(options.nbest, forward=options.search == "forward")[0]
        if options.search == "forward":
            return lattice.forward_path()[0], ranked
        if options.search == "mbr":
            return lattice.mbr_path()[0], ranked
        return lattice.best_path()[0], ranked


@dataclass(frozen=True)
class Job:
    """What a worker process needs to build its own :class:`Transcriber`."""

    graph: str
    model: str | None = None
    options: TranscribeOptions = TranscribeOptions()
    search: Mapping[str, Any] = field(default_factory=dict)

    def transcriber(self, device: str = "cpu") -> Transcriber:
        return Transcriber.from_graph(self.graph, device, self.model, self.options, **self.search)


class Workers:
    """Processes that transcribe on the CPU side by side; the graph's arrays are shared.

    k2 holds Python's interpreter lock while it searches, so threads would wait for each other.

        with Workers(Job("graphs/en"), number=2) as workers:
            for transcript in workers.transcribe(recordings(["a.wav"])):
                ...
    """

    def __init__(self, job: Job, number: int):
        # A fresh interpreter for each: a fork would copy torch's thread pool in mid-flight.
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(number)
        self.number = number
        self._pool = ProcessPoolExecutor(number, context, _start_worker, (job, barrier))
        try:
            for future in [self._pool.submit(_ready) for _ in range(number)]:
                future.result()
        except BrokenProcessPool:
            # The worker's own message was lost with it; the same steps here raise it again.
            job.transcriber()
            raise AsrHlgError(
                "a worker process ended while it loaded the graph", remedy="give it more memory"
            ) from None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def transcribe(
        self, paths: Iterable[str | Path | Recording], on_error: OnError | None = None
    ) -> Iterator[Transcript]:
        """As :meth:`Transcriber.transcribe`, in the same order."""
        pending: deque[tuple[Recording, Future]] = deque()
        for recording in recordings(paths):
            pending.append((recording, self._pool.submit(_transcribe, recording)))
            # A few ahead of each worker keep it busy; more would only hold memory.
            if len(pending) > 8 * self.number:
                yield from _finished(*pending.popleft(), on_error)
        while pending:
            yield from _finished(*pending.popleft(), on_error)


def _finished(
    recording: Recording, future: Future, on_error: OnError | None
) -> Iterator[Transcript]:
    try:
        yield future.result()
    except BrokenProcessPool:
        raise AsrHlgError(
            f"a worker process died at or near {recording.id}",
            path=recording.path,
            remedy="often too little memory: try fewer --workers or a smaller --search-beam",
        ) from None
    except AsrHlgError as error:
        if on_error is None:
            raise
        on_error(recording, error)


_worker: Transcriber
_barrier: Any


def _start_worker(job: Job, barrier) -> None:
    global _worker, _barrier
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    torch.set_num_threads(1)
    _worker, _barrier = job.transcriber(), barrier


def _ready() -> None:
    """Wait until every worker has come here, so that each takes one of these calls."""
    _barrier.wait()


def _transcribe(recording: Recording) -> Transcript:
    return _worker.transcribe_one(recording)


def _join(id: str, duration: float, parts: list[Transcript]) -> Transcript:
    """One transcript from those of consecutive pieces."""
    alternatives = parts[0].alternatives
    for part in parts[1:]:
        alternatives = _best_pairs(alternatives, part.alternatives)
    return Transcript(
        id,
        " ".join(part.text for part in parts if part.text),
        [word for part in parts for word in part.words],
        sum(part.score for part in parts),
        duration,
        alternatives,
    )


def _best_pairs(left: list[Alternative], right: list[Alternative]) -> list[Alternative]:
    """The best sequences of one piece followed by those of the next, as many as either has."""
    pairs = (
        Alternative(
            f"{a.text} {b.text}".strip(),
            a.score + b.score,
            a.acoustic_score + b.acoustic_score,
            a.graph_score + b.graph_score,
        )
        for a in left
        for b in right
    )
    return heapq.nlargest(max(len(left), len(right)), pairs, key=lambda pair: pair.score)
