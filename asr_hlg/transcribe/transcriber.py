"""One recording at a time: hear it, cut it, search it, and say what was said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from asr_hlg import acoustic
from asr_hlg.acoustic import AcousticModel, PrecomputedModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AsrHlgError, WorkerError
from asr_hlg.graph import DecodingGraph, store
from asr_hlg.lattice import Lattice
from asr_hlg.lattice import Path as LatticePath
from asr_hlg.lattice import io as lattice_io
from asr_hlg.output.transcript import Alternative, Transcript
from asr_hlg.output.writers import file_name
from asr_hlg.rescore.passes import SecondPasses
from asr_hlg.search import Decoder, warm_up
from asr_hlg.transcribe.joining import join
from asr_hlg.transcribe.options import TranscribeOptions
from asr_hlg.transcribe.pieces import Heard, Piece, pieces, recognise
from asr_hlg.transducer import Recogniser, decoder_for

OnError = Callable[[Recording, AsrHlgError], None]

_NARROWER = 4  # tries with ever narrower beams before memory counts as too short


class Transcriber:
    """A graph and an acoustic model that transcribe recordings together.

    Parameters
    ----------
    graph : DecodingGraph
    model : AcousticModel
    decoder : Decoder, optional
        By default the one for this graph and model, with the options of the graph's recipe.
    options : TranscribeOptions, optional
    passes : SecondPasses, optional
    """

    def __init__(
        self,
        graph: DecodingGraph,
        model: AcousticModel,
        decoder: Decoder | None = None,
        options: TranscribeOptions | None = None,
        passes: SecondPasses | None = None,
    ):
        self.graph = graph
        self.model = model
        self.decoder = decoder or decoder_for(model, graph)
        self.options = options or TranscribeOptions()
        self.passes = passes

    @classmethod
    def from_graph(
        cls,
        path: str | Path,
        device: str = "cpu",
        model: str | Path | None = None,
        options: TranscribeOptions | None = None,
        *,
        graph: DecodingGraph | None = None,
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
            Another acoustic model, as :func:`asr_hlg.acoustic.load` takes it, or a transducer.
        options : TranscribeOptions, optional
        graph : DecodingGraph, optional
            What was made of that folder's graph, to be searched in its place: see
            :func:`asr_hlg.graph.adapt.runtime.open_graph`.
        **search
            Fields of :class:`SearchOptions`, or of a transducer's
            :class:`~asr_hlg.transducer.GraphOptions`, that differ from the recipe's.

        Raises
        ------
        GraphError
            If one of graph and model is for transducers and the other is not.
        """
        graph = graph or DecodingGraph.load(path, device)
        spec = model or store.acoustic_model(Path(path), graph.meta)
        network = acoustic.load(spec, device, transducer=Recogniser.load)
        decoder = decoder_for(network, graph, **search)
        wanted = (options or TranscribeOptions()).passes
        passes = SecondPasses(wanted, path, graph, device, decoder.options.graph_scale)
        return cls(graph, network, decoder, options, passes)

    def warm_up(self) -> None:
        """Search some noise, so that no recording waits for code and tables to be loaded."""
        warm_up(self.decoder)

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

    def transcribe_one(
        self, recording: Recording, alive: Callable[[], None] = lambda: None
    ) -> Transcript:
        """Transcribe one recording; ``alive`` is called after each minute or less of it."""
        parts, seconds = [], 0.0
        with _LatticeFile(self.options.lattices, recording.id) as file:
            for piece in pieces(self._hear(recording)):
                parts.append(self._transcribe_piece(piece, file))
                frames = piece.begin + int(piece.posteriors.lengths[0])
                seconds += len(piece.samples) / self.model.sample_rate
                alive()
        return join(recording.id, seconds or frames * self.model.frame_shift, parts)

    def transcribe_together(
        self, found: Sequence[Recording], alive: Callable[[], None] = lambda: None
    ) -> list[Transcript | AsrHlgError]:
        """Transcribe recordings as one batch, as a GPU likes it; errors stand in their places.

        Those of more than a minute are transcribed one by one, and so are all where memory does
        not suffice for the batch. ``alive`` is called as the work goes on.
        """
        if not isinstance(self.model, PrecomputedModel):
            try:
                return self._transcribe_batch(found, alive)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
        return [self._transcript_or_error(recording, alive) for recording in found]

    def _transcribe_batch(
        self, found: Sequence[Recording], alive: Callable[[], None]
    ) -> list[Transcript | AsrHlgError]:
        with ThreadPoolExecutor() as pool:
            read = list(pool.map(self._read_short, found))
        alive()
        found_lattices = self._lattices([s for s in read if isinstance(s, Tensor)], alive)
        results: list[Transcript | AsrHlgError] = []
        for recording, sound in zip(found, read, strict=True):
            if sound is None:
                results.append(self._transcript_or_error(recording, alive))
            elif isinstance(sound, AsrHlgError):
                results.append(sound)
            else:
                parts = []
                with _LatticeFile(self.options.lattices, recording.id) as file:
                    for lattice, piece in next(found_lattices):
                        parts.append(self._words(lattice, piece))
                        file.add(lattice, piece)
                seconds = len(sound) / self.model.sample_rate
                results.append(join(recording.id, seconds, parts))
                alive()
        return results

    def _read_short(self, recording: Recording) -> Tensor | AsrHlgError | None:
        """The sound of a recording, None where that is more than a block."""
        options = self.options
        blocks = recording.blocks(self.model.sample_rate, options.channel, options.max_duration)
        try:
            sound, more = next(blocks), next(blocks, None)
        except AsrHlgError as error:
            return error
        return sound if more is None else None

    def _lattices(
        self, sounds: list[Tensor], alive: Callable[[], None]
    ) -> Iterator[list[tuple[Lattice, Piece]]]:
        """The pieces of every sound with their lattices, all from one batch."""
        if not sounds:
            return
        heard = self.model.posteriors(sounds, self.model.sample_rate)
        alive()
        cut = [list(pieces([(sound, heard.utterance(row))])) for row, sound in enumerate(sounds)]
        every = [piece for own in cut for piece in own]
        lattice = self._lattice(Posteriors.collate([p.posteriors for p in every]), self.decoder)
        alive()
        rows = map(lattice.row, range(len(every)))
        for own in cut:
            yield [(next(rows), piece) for piece in own]

    def _transcript_or_error(
        self, recording: Recording, alive: Callable[[], None]
    ) -> Transcript | AsrHlgError:
        try:
            return self.transcribe_one(recording, alive)
        except AsrHlgError as error:
            return error

    def _hear(self, recording: Recording) -> Iterator[Heard]:
        """The sound of a recording and its posteriors; no sound where these are stored ones."""
        if isinstance(self.model, PrecomputedModel):
            yield torch.zeros(0), self.model.posteriors_for([recording.id])
            return
        channel, longest = self.options.channel, self.options.max_duration
        yield from recognise(recording.blocks(self.model.sample_rate, channel, longest), self.model)

    def _transcribe_piece(self, piece: Piece, file: _LatticeFile) -> Transcript:
        """The transcript of a piece, with narrower beams where memory does not suffice."""
        decoder = self.decoder
        note: list[str] = []
        for _ in range(1 + _NARROWER):
            try:
                lattice = self._lattice(piece.posteriors, decoder)
                transcript = replace(self._words(lattice, piece), notes=note)
                file.add(lattice, piece)
                return transcript
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
            decoder = decoder.narrower()
            note = [
                f"from {piece.begin * self.model.frame_shift:.1f} s on searched with beam "
                f"{decoder.options.search_beam:g} and max_active {decoder.options.max_active}: "
                "memory ran short"
            ]
        raise WorkerError(
            "the memory that a worker may use does not suffice, even with narrow beams",
            remedy="give it more with --max-memory",
        )

    def _lattice(self, posteriors: Posteriors, decoder: Decoder) -> Lattice:
        lattice = decoder.decode(posteriors)
        return lattice if self.passes is None else self.passes.lattice(lattice)

    def _words(self, lattice: Lattice, piece: Piece) -> Transcript:
        """What a piece's lattice says, with times from the recording's start."""
        answer, ranked = self._answer(lattice, piece.samples)
        offset = piece.begin * lattice.frame_shift
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


class _LatticeFile:
    """The lattices of one recording: in a folder that keeps them, they appear all at once."""

    def __init__(self, folder: str | None, id: str):
        self._id = id
        self._path = None if folder is None else Path(folder) / (file_name(id) + ".ark")

    def __enter__(self) -> _LatticeFile:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._path is not None and kind is None:
            with open(self._part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._part, self._path)
        elif self._path is not None:
            self._part.unlink(missing_ok=True)

    def add(self, lattice: Lattice, piece: Piece) -> None:
        if self._path is not None:
            whole = piece.number == 1 and piece.last
            name = self._id if whole else f"{self._id}-{piece.number}"
            lattice_io.write(lattice, [name], self._part, append=piece.number > 1)

    @property
    def _part(self) -> Path:
        assert self._path is not None
        return self._path.with_name(self._path.name + ".part")


def _out_of_memory(error: Exception) -> bool:
    """Whether it says so: torch has no class of its own for it on the CPU."""
    return isinstance(error, MemoryError) or "memory" in str(error)
