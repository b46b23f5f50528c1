"""The pipeline: recordings in, transcripts out, in order, on as many cores as there are.

transcriber = Transcriber.from_graph("graphs/en")
for transcript in transcriber.transcribe(["a.wav", "recordings/"]):
    print(transcript.id, transcript.text)
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from asr_hlg import acoustic
from asr_hlg.acoustic import AcousticModel
from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice, Path as LatticePath
from asr_hlg.posteriors import Posteriors
from asr_hlg.search import SearchOptions, decode
from asr_hlg.segment import cut
from asr_hlg.transcript import Alternative, Transcript, Word

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
    """

    search: Search = "viterbi"
    nbest: int = 1
    channel: int | None = None

    def __post_init__(self):
        if self.search not in ("viterbi", "forward", "mbr"):
            raise OptionError(
                f"unknown search {self.search!r}", remedy="viterbi, forward and mbr are known"
            )
        if self.nbest < 1:
            raise OptionError(f"nbest must be at least 1, not {self.nbest}")


class Transcriber:
    """A graph and an acoustic model that transcribe recordings together."""

    def __init__(
        self,
        graph: DecodingGraph,
        model: AcousticModel,
        search: SearchOptions | None = None,
        options: TranscribeOptions | None = None,
    ):
        self.graph = graph
        self.model = model
        self.search = search or graph.search_options()
        self.options = options or TranscribeOptions()

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
        return cls(graph, acoustic.load(spec, device), graph.search_options(**search), options)

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
        parts = [self._piece(posteriors, *piece) for piece in cut(posteriors)]
        return _join(recording.id, duration, parts)

    def _piece(self, posteriors: Posteriors, begin: int, end: int) -> Transcript:
        piece = replace(
            posteriors,
            log_probs=posteriors.log_probs[:, begin:end],
            lengths=torch.tensor([end - begin], dtype=torch.int32),
        )
        lattice = decode(self.graph, piece, self.search)
        answer = self._answer(lattice)
        words = lattice.words([answer])[0]
        offset = begin * posteriors.frame_shift
        moved = [replace(w, start=w.start + offset, end=w.end + offset) for w in words]
        alternatives = []
        if self.options.nbest > 1:
            ranked = lattice.nbest(self.options.nbest, forward=self.options.search == "forward")
            alternatives = [
                Alternative(path.text, path.score, path.acoustic_score, path.graph_score)
                for path in ranked[0]
            ]
        return Transcript("", answer.text, moved, answer.score, alternatives=alternatives)

    def _answer(self, lattice: Lattice) -> LatticePath:
        if self.options.search == "forward":
            return lattice.forward_path()[0]
        if self.options.search == "mbr":
            return lattice.mbr_path()[0]
        return lattice.best_path()[0]
