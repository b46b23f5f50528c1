"""Word errors and speed of search engines on the same posteriors, over beams and ``min_active``.

``tokens`` and ``k2`` make lattices, whose best path is taken. ``FasterDecoder`` (of the package
kaldi-decoder) finds only the best path, in the HLG that k2 searches.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from tqdm import tqdm

from asr_hlg.acoustic import AcousticModel, likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph
from asr_hlg.output.scoring import score
from asr_hlg.search import SearchOptions, decode

Engine = Callable[[Posteriors, SearchOptions], str]

OURS = "tokens"
ENGINES = (OURS, "fst", "k2", "FasterDecoder")


@dataclass(frozen=True)
class Row:
    """Result of one engine with one beam and one ``min_active``, on one thread.

    ``wer`` is in percent, ``speed`` in seconds of sound per second of CPU time.
    """

    engine: str
    beam: float
    min_active: int
    wer: float
    speed: float


def compare(
    graph: DecodingGraph,
    posteriors: Mapping[str, Posteriors],
    references: Mapping[str, str],
    beams: Sequence[float],
    min_active: Sequence[int] = (),
    rounds: int = 2,
    engines: Sequence[str] = ENGINES,
) -> list[Row]:
    """Decode all utterances with every engine, beam and ``min_active``.

    Parameters
    ----------
    graph : DecodingGraph
    posteriors : mapping of str to Posteriors
        One utterance each, by id, in the graph's columns.
    references : mapping of str to str
    beams : sequence of float
        Search beams.
    min_active : sequence of int
        Values of the option of that name, by default that of the graph's recipe, as all other
        options.
    rounds : int
        Repetitions; the fastest one of every utterance counts.
    engines : sequence of str
        Members of `ENGINES` that are installed, see `missing`.
    """
    searches = {name: _engine(graph, name) for name in engines}
    for search in searches.values():  # compile the kernels, and read the mapped arrays
        search(next(iter(posteriors.values())), SearchOptions.from_graph(graph))
    settings = [
        SearchOptions.from_graph(graph, search_beam=beam, min_active=number)
        for number in min_active or [SearchOptions.from_graph(graph).min_active]
        for beam in beams
    ]
    texts: dict[tuple[str, SearchOptions], dict[str, str]] = defaultdict(dict)
    seconds: dict[tuple[str, SearchOptions, str], float] = defaultdict(lambda: np.inf)
    turns = [(options, name) for _ in range(rounds) for options in settings for name in searches]
    for options, name in tqdm(turns, desc="search"):
        for id, utterance in posteriors.items():
            begin = time.process_time()
            texts[name, options][id] = searches[name](utterance, options)
            spent = time.process_time() - begin
            seconds[name, options, id] = min(spent, seconds[name, options, id])
    scored = {id: references[id] for id in posteriors}
    return [
        Row(
            name,
            options.search_beam,
            options.min_active,
            100 * score(scored, texts[name, options]).words.rate,
            duration(posteriors) / sum(seconds[name, options, id] for id in posteriors),
        )
        for name in searches
        for options in settings
    ]


def ratios(rows: Iterable[Row]) -> dict[Row, float]:
    """Ratio of our speed to that of every row of another engine, at no more word errors.

    Rows are left out if our search has more word errors at every beam.
    """
    rows = list(rows)
    faster = {}
    for row in rows:
        ours = [our.speed for our in rows if our.engine == OURS and our.wer <= row.wer]
        if row.engine != OURS and ours:
            faster[row] = max(ours) / row.speed
    return faster


def missing(engine: str) -> str:
    """Package that an engine needs and that is not installed; empty if there is none."""
    needed = engine == "FasterDecoder" and find_spec("kaldi_decoder") is None
    return "kaldi-decoder" if needed else ""


def compute_posteriors(
    model: AcousticModel, recordings: Sequence[Recording], columns: tuple[str, ...]
) -> dict[str, Posteriors]:
    """Posteriors of recordings by id, in a graph's columns."""
    by_id = {}
    for recording in tqdm(recordings, desc="acoustic model"):
        samples = recording.load(model.sample_rate)
        posteriors = model.posteriors([samples], model.sample_rate)
        by_id[recording.id] = likelihoods.map_tokens(posteriors, columns)
    return by_id


def duration(posteriors: Mapping[str, Posteriors]) -> float:
    """Seconds of sound that the posteriors span."""
    return sum(int(p.lengths[0]) * p.frame_shift for p in posteriors.values())


def _engine(graph: DecodingGraph, name: str) -> Engine:
    """Function from posteriors and options to text, for the engine of that name."""
    if name == "FasterDecoder":
        return _faster_decoder(graph)

    def search(posteriors: Posteriors, options: SearchOptions) -> str:
        chosen: Any = {"engine": name}
        return decode(graph, posteriors, replace(options, **chosen)).best_path()[0].text

    return search


def _faster_decoder(graph: DecodingGraph) -> Engine:
    """Search of kaldi-decoder in the HLG of the graph."""
    import kaldi_decoder
    import kaldifst

    hlg, outputs = _for_kaldi(graph)
    fst = kaldifst.StdConstFst(hlg.to_openfst())
    names = graph.word_names
    texts = [" ".join(names[word] for word in words) for words in outputs]

    def search(posteriors: Posteriors, options: SearchOptions) -> str:
        scaled = likelihoods.scale(
            posteriors,
            acoustic_scale=options.acoustic_scale,
            blank_penalty=options.blank_penalty,
            floor=options.floor,
        )
        settings = kaldi_decoder.FasterDecoderOptions(
            beam=options.search_beam, max_active=options.max_active, min_active=options.min_active
        )
        decoder = kaldi_decoder.FasterDecoder(fst, settings)
        decoder.decode(kaldi_decoder.DecodableCtc(scaled.log_probs[0].numpy()))
        succeeded, path = decoder.get_best_path()
        if not succeeded:
            return ""
        _, _, labels, _ = kaldifst.get_linear_symbol_sequence(path)
        return " ".join(texts[label] for label in labels)

    return search


def _for_kaldi(graph: DecodingGraph) -> tuple[Arcs, list[tuple[int, ...]]]:
    """HLG with one output label for all words of an arc, and the words of every such label.

    Input labels are columns + 1, since label 0 is ε in OpenFst.
    """
    fsa = graph.fsa
    splits, ids = fsa.aux_labels.shape.row_splits(1).numpy(), fsa.aux_labels.values.numpy()
    outputs: dict[tuple[int, ...], int] = {(): 0}
    labels = np.zeros(len(splits) - 1, dtype=np.int32)
    for arc in np.flatnonzero(np.diff(splits)):
        words = tuple(word for word in ids[splits[arc] : splits[arc + 1]].tolist() if word > 0)
        labels[arc] = outputs.setdefault(words, len(outputs))
    arcs = fsa.arcs.values().numpy()
    scores = np.ascontiguousarray(arcs[:, 3]).view(np.float32)
    final = np.full(int(fsa.shape[0]) - 1, -np.inf, dtype=np.float32)
    ends = arcs[:, 2] == -1
    final[arcs[ends, 0]] = scores[ends]
    inner = arcs[~ends]
    hlg = Arcs(inner[:, 0], inner[:, 1], inner[:, 2] + 1, labels[~ends], scores[~ends], final)
    return hlg, list(outputs)
