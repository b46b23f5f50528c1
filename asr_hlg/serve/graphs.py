"""The graphs that a server has, and their variants with hotwords, phrases or n-best lists.

>>> graphs = Graphs(ServeOptions(graphs=("en", "graphs/light")))
>>> graphs.names
['en', 'light']
>>> graphs.live("en", hotwords=("siobhan",)).stream(16000)
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr_hlg.acoustic import AcousticModel
from asr_hlg.errors import AsrHlgError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.adapt import hotwords as hotword_list
from asr_hlg.graph.adapt.hotwords import Hotword
from asr_hlg.graph.adapt.runtime import with_grammar
from asr_hlg.graph.store import acoustic_model
from asr_hlg.rescore.passes import PassOptions, default_whisper
from asr_hlg.serve.limits import Refused
from asr_hlg.serve.options import ServeOptions
from asr_hlg.transcribe import TranscribeOptions, Transcriber
from asr_hlg.transcribe.kaldi_graphs import folder_of, graph_of_phrases
from asr_hlg.transcribe.options import Search
from asr_hlg.transcribe.transcriber import load_network, network_name

MAX_VARIANTS = 8
"""Changed graphs that are kept in memory: those that were used last."""

MAX_PHRASES, MAX_PHRASE = 500, 200
"""Phrases in a list, and characters in a phrase."""

_KNOWN_CLIENTS = re.compile(r"whisper-1|gpt-[\w.-]*transcribe[\w.-]*")
"""Models that clients of OpenAI's API name without being asked."""

Phrases = tuple[str, ...]


@dataclass
class _Served:
    """A graph with its acoustic models, and the transcribers for the unchanged graph.

    ``networks`` are the models of live speech and of recordings, often the same.
    """

    name: str
    folder: Path
    graph: DecodingGraph
    networks: tuple[AcousticModel, AcousticModel]
    passes: PassOptions
    live: Transcriber = field(init=False)
    recordings: Transcriber = field(init=False)


class Graphs:
    """Graphs by name, loaded when the object is made.

    Methods that give transcribers may take seconds for a variant that is new; they are for threads
    other than that of the event loop.

    Parameters
    ----------
    options : ServeOptions
    """

    def __init__(self, options: ServeOptions):
        self._options = options
        self._lock = threading.Lock()
        self._variants: OrderedDict[tuple[object, ...], Transcriber] = OrderedDict()
        self._served: dict[str, _Served] = {}
        networks: dict[str, AcousticModel] = {}
        for spec in options.graphs:
            folder = folder_of(spec)
            name = folder.resolve().name
            if name in self._served:
                raise AsrHlgError(f"two graphs have the name {name}", remedy="rename a folder")
            self._served[name] = self._load(name, folder, networks)

    def _load(self, name: str, folder: Path, networks: dict[str, AcousticModel]) -> _Served:
        options = self._options
        graph = DecodingGraph.load(folder, options.device)
        whisper, is_installed = default_whisper(graph.meta, device=options.device)
        is_used = is_installed and not options.fast
        passes = PassOptions(whisper=whisper if is_used else None, lm_graph=str(folder))
        live, recordings = _for_live(graph), _for_recordings(passes)
        used = []
        for each in (live, recordings):
            key = options.model or network_name(folder, options.device, each)
            if key not in networks:
                networks[key] = load_network(folder, options.device, key)
            used.append(networks[key])
        served = _Served(name, folder, graph, (used[0], used[1]), passes)
        served.live = self._transcriber(served, graph, live)
        served.recordings = self._transcriber(served, graph, recordings)
        served.live.warm_up()
        return served

    def _transcriber(
        self, served: _Served, graph: DecodingGraph, options: TranscribeOptions
    ) -> Transcriber:
        device, has_whisper = self._options.device, options.passes and options.passes.whisper
        network = served.networks[1 if has_whisper else 0]
        return Transcriber.from_graph(served.folder, device, network, options, graph=graph)

    @property
    def names(self) -> list[str]:
        """Names of the graphs; the first is the default."""
        return list(self._served)

    def name(self, given: str | None) -> str:
        """Name of the graph that a client means: the default one if it names none.

        Names of OpenAI's models stand for the default graph. `Refused` for other unknown names.
        """
        if given is None or given in self._served:
            return given or self.names[0]
        if _KNOWN_CLIENTS.fullmatch(given):
            return self.names[0]
        known = ", ".join(self.names)
        raise Refused(
            f"there is no graph of this name here; known: {known}", 404, "model_not_found", "model"
        )

    def folder(self, name: str) -> Path:
        """Folder of a graph."""
        return self._served[name].folder

    def live(
        self, name: str, hotwords: Phrases = (), phrases: Phrases = (), nbest: int = 1
    ) -> Transcriber:
        """Transcriber for live speech, without a second pass.

        Parameters
        ----------
        name : str
            One of `names`.
        hotwords : tuple of str
            Phrases that are made more probable.
        phrases : tuple of str
            If there are any, only these are recognised, one or more after the other.
        nbest : int
            Number of alternatives in transcripts.
        """
        served = self._served[name]
        if not hotwords and not phrases and nbest <= 1:
            return served.live
        key = ("live", name, hotwords, phrases, nbest)
        return self._variant(key, lambda: self._live_variant(served, hotwords, phrases, nbest))

    def recordings(self, name: str, hotwords: Phrases = ()) -> Transcriber:
        """Transcriber for whole recordings, with the second pass of the graph's recipe."""
        served = self._served[name]
        if not hotwords:
            return served.recordings
        key = ("recordings", name, hotwords)
        return self._variant(key, lambda: self._recordings_variant(served, hotwords))

    def _variant(self, key: tuple[object, ...], make: Callable[[], Transcriber]) -> Transcriber:
        """A variant that is kept, or a new one; one at a time is made."""
        with self._lock:
            if key not in self._variants:
                self._variants[key] = make()
                while len(self._variants) > MAX_VARIANTS:
                    self._variants.popitem(last=False)
            self._variants.move_to_end(key)
            return self._variants[key]

    def _live_variant(
        self, served: _Served, hotwords: Phrases, phrases: Phrases, nbest: int
    ) -> Transcriber:
        graph = served.graph
        if phrases and _is_of_kaldi(graph):
            model = Path(acoustic_model(served.folder, graph.meta))
            graph = DecodingGraph.load(graph_of_phrases(model, phrases, lambda _: None))
        elif phrases:
            text = _grammar(phrases)
            graph, _ = with_grammar(served.folder, text, on_error=lambda _: None)
            graph = graph.to(self._options.device)
        graph = _boosted(graph, hotwords)
        return self._transcriber(served, graph, replace(_for_live(graph), nbest=nbest))

    def _recordings_variant(self, served: _Served, hotwords: Phrases) -> Transcriber:
        graph = _boosted(served.graph, hotwords)
        if served.passes.whisper is None:
            return self._transcriber(served, graph, _for_recordings(served.passes))
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write("".join(f"{phrase}\n" for phrase in hotwords))
            file.flush()
            passes = PassOptions(
                whisper=served.passes.whisper, lm_graph=str(served.folder), hotwords=file.name
            )
            return self._transcriber(served, graph, _for_recordings(passes))


def _is_of_kaldi(graph: DecodingGraph) -> bool:
    return bool(graph.meta.get("imported", {}).get("kind") == "kaldi")


def _for_live(graph: DecodingGraph) -> TranscribeOptions:
    """With a graph of Kaldi's, words and confidences are those of Vosk."""
    search: Search = "mbr" if _is_of_kaldi(graph) else "viterbi"
    return TranscribeOptions(search=search, passes=PassOptions())


def _for_recordings(passes: PassOptions) -> TranscribeOptions:
    return TranscribeOptions(passes=passes, written="second-pass")


def _boosted(graph: DecodingGraph, hotwords: Phrases) -> DecodingGraph:
    """Graph with hotwords; those that it cannot have are left out."""
    if not hotwords:
        return graph
    parsed = [Hotword(tuple(phrase.split())) for phrase in hotwords]
    return hotword_list.apply(graph, parsed, on_error=lambda _: None)[0]


def _grammar(phrases: Phrases) -> str:
    """Grammar of one or more of some phrases after each other."""
    quoted = [" ".join(f'"{word}"' for word in phrase.split()) for phrase in phrases]
    return f"({' | '.join(quoted)})+\n"


def checked_phrases(given: Sequence[object], param: str) -> Phrases:
    """Phrases of a client: without repetitions, marks that stand for unknown words, and blanks.

    Raises
    ------
    Refused
        For too many or too long phrases, values that are not strings, and quotation marks.
    """
    if len(given) > MAX_PHRASES:
        raise Refused(f"{param} has more than {MAX_PHRASES} phrases", param=param)
    phrases = []
    for phrase in given:
        if not isinstance(phrase, str) or len(phrase) > MAX_PHRASE:
            raise Refused(f"{param} holds strings of at most {MAX_PHRASE} characters", param=param)
        if '"' in phrase or not phrase.isprintable():
            raise Refused(f"{param} has a phrase with a quotation mark or control code")
        words = [word for word in phrase.split() if not re.fullmatch(r"\[.*\]|<.*>|#\d+", word)]
        phrases.append(" ".join(words))
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase))
