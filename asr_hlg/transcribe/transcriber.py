"""A graph and an acoustic model that turn recordings into transcripts.

>>> transcriber = Transcriber.from_graph("en")
>>> for transcript in transcriber.transcribe(["a.wav", "recordings/"]):
...     print(transcript.id, transcript.text)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr_hlg.acoustic import AcousticModel, load
from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AsrHlgError
from asr_hlg.graph import DecodingGraph, metadata, store
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.passes import (
    PassOptions,
    SecondPass,
    default_whisper,
    first_pass_model,
    second_passes,
)
from asr_hlg.search import Decoder, warm_up
from asr_hlg.transcribe.ahead import PosteriorsAhead
from asr_hlg.transcribe.kaldi_graphs import attach_search, folder_of
from asr_hlg.transcribe.options import ReportProgress, TranscribeOptions
from asr_hlg.transcribe.pipeline import Pipeline
from asr_hlg.transcribe.posteriors import posterior_source
from asr_hlg.transcribe.stream import Stream, StreamOptions
from asr_hlg.transducer.decoding import decoder_for

OnError = Callable[[Recording, AsrHlgError], None]


def load_network(
    folder: str | Path,
    device: str = "cpu",
    model: str | Path | None = None,
    options: TranscribeOptions | None = None,
) -> AcousticModel:
    """Load an acoustic model, by default the one that the recipe of a graph names.

    Arguments are as for :meth:`Transcriber.from_graph`.
    """
    path = folder_of(folder)
    spec = model or network_name(path, device, options)
    return load(spec, device, transducer=_load_transducer)


def network_name(folder: Path, device: str, options: TranscribeOptions | None = None) -> str:
    """Acoustic model that the recipe of a graph names for the passes of a transcription."""
    meta = metadata.read(folder)
    passes = _passes(meta, device, options or TranscribeOptions())
    return first_pass_model(meta, passes) or store.acoustic_model(folder, meta)


def _passes(meta: Mapping[str, Any], device: str, options: TranscribeOptions) -> PassOptions:
    """Second passes of the options, else the one of the graph's recipe, if it is installed."""
    if options.passes is not None:
        return options.passes
    whisper, is_installed = default_whisper(meta, options.search, device)
    return PassOptions(whisper=whisper if is_installed else None)


def _load_transducer(path: Path, device: str) -> AcousticModel:
    from asr_hlg.transducer.recogniser import Recogniser  # imports torch and k2

    return Recogniser.load(path, device)


class Transcriber:
    """Transcribes recordings in this process.

    Parameters
    ----------
    graph : DecodingGraph
    model : AcousticModel
    decoder : Decoder, optional
        By default the one for this graph and model, with the options of the graph's recipe.
    options : TranscribeOptions, optional
    passes : sequence of SecondPass, optional
        Applied in their order to the hypotheses of the search.
    """

    def __init__(
        self,
        graph: DecodingGraph,
        model: AcousticModel,
        decoder: Decoder | None = None,
        options: TranscribeOptions | None = None,
        passes: Sequence[SecondPass] = (),
    ):
        self.graph = graph
        self.model = model
        self.decoder = decoder or decoder_for(model, graph)
        self.options = options or TranscribeOptions()
        attach_search(model, self.decoder, self.options.search)
        self.pipeline = Pipeline(
            PosteriorsAhead(posterior_source(model, self.options), model.device),
            self.decoder,
            passes,
            self.options,
            model.sample_rate,
        )
        self._live = self.pipeline

    @classmethod
    def from_graph(
        cls,
        path: str | Path,
        device: str = "cpu",
        model: str | Path | AcousticModel | None = None,
        options: TranscribeOptions | None = None,
        *,
        graph: DecodingGraph | None = None,
        **search: Any,
    ) -> Transcriber:
        """Load a graph, the acoustic model that its recipe names, and its second pass.

        The second pass runs if it is installed, as in ``asr-hlg transcribe``;
        ``options=TranscribeOptions(passes=PassOptions())`` leaves it out, as ``--fast`` does.

        Parameters
        ----------
        path : str or Path
            A graph folder, or a name such as ``en``, whose graph is compiled when it is first
            used: see :mod:`asr_hlg.graph.lookup`; or a Kaldi model's folder, whose graph is
            imported when it is first used.
        device : str
            ``cpu``, ``cuda`` or ``cuda:N``: where model and search run.
        model : str, Path or AcousticModel, optional
            Another acoustic model, as :func:`asr_hlg.acoustic.load` takes it, or a transducer; or
            one that is loaded.
        options : TranscribeOptions, optional
        graph : DecodingGraph, optional
            A changed form of that folder's graph, which is searched in its place: see
            :func:`asr_hlg.graph.adapt.runtime.open_graph`.
        **search
            Fields of :class:`~asr_hlg.search.SearchOptions`, or of a transducer's
            :class:`~asr_hlg.transducer.GraphOptions`, that differ from the recipe's.

        Raises
        ------
        GraphError
            If one of graph and model is for transducers and the other is not.
        """
        options = options or TranscribeOptions()
        path = folder_of(path)
        graph = graph or DecodingGraph.load(path, device)
        if model is None or isinstance(model, (str, Path)):
            model = load_network(path, device, model, options)
        network = model
        decoder = decoder_for(network, graph, **search)
        passes = second_passes(
            _passes(graph.meta, device, options),
            path,
            graph,
            sample_rate=network.sample_rate,
            device=device,
            graph_scale=decoder.options.graph_scale,
            nbest=options.nbest,
            forward=options.search == "forward",
        )
        made = cls(graph, network, decoder, options, passes)
        if options.passes is None:
            made._live = replace(made.pipeline, passes=())
        return made

    def warm_up(self) -> None:
        """Decode random posteriors once, so that compiling and loading delay no recording."""
        warm_up(self.decoder)

    def stream(self, sample_rate: int, options: StreamOptions | None = None) -> Stream:
        """Begin to transcribe sound while it is recorded.

        Second passes run only if the transcriber's options ask for them, since words would wait.

        Parameters
        ----------
        sample_rate : int
            Of the samples that will come, in Hz.
        options : StreamOptions, optional

        Raises
        ------
        OptionError
            If the acoustic model or the decoder cannot work on a stream.
        """
        return Stream(self.model, self._live, sample_rate, options)

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
        for recording in recordings(paths, self.options.channel == "all"):
            try:
                yield self.transcribe_one(recording)
            except AsrHlgError as error:
                if on_error is None:
                    raise
                on_error(recording, error)

    def transcribe_one(
        self, recording: Recording, report_progress: ReportProgress = lambda: None
    ) -> Transcript:
        """Transcribe one recording; progress is reported after each minute or less of it."""
        return self.pipeline.transcribe(recording, report_progress)

    def transcribe_together(
        self,
        recordings: Sequence[Recording],
        report_progress: ReportProgress = lambda: None,
        following: Sequence[Recording] = (),
    ) -> list[Transcript | AsrHlgError]:
        """Transcribe recordings as one batch, which is faster on a GPU.

        Those of more than a minute are transcribed one by one. A batch for which memory is too
        short is halved, until it fits. Returns an error in place of a transcript that failed.

        Parameters
        ----------
        recordings : sequence of Recording
        report_progress : callable
        following : sequence of Recording
            The next batch: a thread computes its posteriors while this one is searched.
        """
        return self.pipeline.transcribe_together(recordings, report_progress, following)

    def transcribe_batches(
        self, batches: Iterable[list[Recording]], report_progress: ReportProgress = lambda: None
    ) -> Iterator[tuple[list[Recording], list[Transcript | AsrHlgError]]]:
        """Transcribe batches, the posteriors of each while the one before it is searched.

        >>> from asr_hlg.transcribe.batches import batches
        >>> for batch, results in transcriber.transcribe_batches(batches(recordings, 600)):

        Yields batches and their results, as of :meth:`transcribe_together`.
        """
        return self.pipeline.transcribe_batches(batches, report_progress)
