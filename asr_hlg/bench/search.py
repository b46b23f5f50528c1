"""Search engines on the same posteriors: word errors and speed, over beams and ``min_active``.

``tokens`` and ``k2`` make lattices and draw the best path from them. ``FasterDecoder`` (package
kaldi-decoder) finds the best path only, in the HLG that k2 searches.
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
ENGINES = (OURS, "k2", "FasterDecoder")


@dataclass(frozen=True)
class Row:
    """One engine with one beam and one ``min_active``, on one thread.

    ``wer`` is in percent, ``speed`` in seconds of sound for a second of the processor's time.
    """

    engine: str
    beam: float
    min_active: int
    wer: float
    speed: float


def compare(
    graph: DecodingGraph,
    heard: Mapping[str, Posteriors],
    references: Mapping[str, str],
    beams: Sequence[float],
    min_active: Sequence[int] = (),
    rounds: int = 2,
    engines: Sequence[str] = ENGINES,
) -> list[Row]:
    """Search everything with every engine and beam.

    Parameters
    ----------
    graph : DecodingGraph
    heard : mapping of str to Posteriors
        One utterance each, by id, in the graph's columns.
    references : mapping of str to str
    beams : sequence of float
        Search beams.
    min_active : sequence of int
        Fewest tokens that a frame keeps if it can; all other options are the graph's own, and so
        is this one if there is none.
    rounds : int
        How often; of several rounds each utterance's fastest counts.
    engines : sequence of str
        Of `ENGINES`; one that is not installed must be left out, see `missing`.
    """
    searches = {name: _engine(graph, name) for name in engines}
    for search in searches.values():  # compile, and read what is only mapped
        search(next(iter(heard.values())), graph.search_options())
    settings = [
        graph.search_options(search_beam=beam, min_active=least)
        for least in min_active or [graph.search_options().min_active]
        for beam in beams
    ]
    texts: dict = defaultdict(dict)
    seconds: dict = defaultdict(lambda: np.inf)
    turns = [(options, name) for _ in range(rounds) for options in settings for name in searches]
    for options, name in tqdm(turns, desc="search"):
        for id, posteriors in heard.items():
            begin = time.process_time()
            texts[name, options][id] = searches[name](posteriors, options)
            spent = time.process_time() - begin
            seconds[name, options, id] = min(spent, seconds[name, options, id])
    wanted = {id: references[id] for id in heard}
    return [
        Row(
            name,
            options.search_beam,
            options.min_active,
            100 * score(wanted, texts[name, options]).words.rate,
            duration(heard) / sum(seconds[name, options, id] for id in heard),
        )
        for name in engines
        for options in settings
    ]


def ratios(rows: Iterable[Row]) -> dict[Row, float]:
    """How much faster our search is than each row of another engine, at no more word errors.

    Rows that our search does not match at any beam are left out.
    """
    rows = list(rows)
    found = {}
    for row in rows:
        ours = [own.speed for own in rows if own.engine == OURS and own.wer <= row.wer]
        if row.engine != OURS and ours:
            found[row] = max(ours) / row.speed
    return found


def missing(engine: str) -> str:
    """The package that an engine lacks, empty if there is none."""
    needed = engine == "FasterDecoder" and find_spec("kaldi_decoder") is None
    return "kaldi-decoder" if needed else ""


def listen(
    model: AcousticModel, recordings: Sequence[Recording], columns: tuple[str, ...]
) -> dict[str, Posteriors]:
    """Posteriors of recordings by id, in a graph's columns."""
    found = {}
    for recording in tqdm(recordings, desc="acoustic model"):
        samples = recording.load(model.sample_rate)
        posteriors = model.posteriors([samples], model.sample_rate)
        found[recording.id] = likelihoods.map_tokens(posteriors, columns)
    return found


def duration(heard: Mapping[str, Posteriors]) -> float:
    """Seconds of sound."""
    return sum(int(p.lengths[0]) * p.frame_shift for p in heard.values())


def _engine(graph: DecodingGraph, name: str) -> Engine:
    if name == "FasterDecoder":
        return _faster_decoder(graph)

    def search(posteriors: Posteriors, options: SearchOptions) -> str:
        chosen: Any = {"engine": name}
        return decode(graph, posteriors, replace(options, **chosen)).best_path()[0].text

    return search


def _faster_decoder(graph: DecodingGraph) -> Engine:
    """kaldi-decoder's search in the graph's own HLG."""
    import kaldi_decoder
    import kaldifst

    hlg, sayings = _for_kaldi(graph)
    fst = kaldifst.StdConstFst(hlg.to_openfst())
    names = graph.word_names
    texts = [" ".join(names[word] for word in saying) for saying in sayings]

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
        found, path = decoder.get_best_path()
        if not found:
            return ""
        _, _, said, _ = kaldifst.get_linear_symbol_sequence(path)
        return " ".join(texts[label] for label in said)

    return search


def _for_kaldi(graph: DecodingGraph) -> tuple[Arcs, list[tuple[int, ...]]]:
    """HLG with one output label for all words of an arc, and what each of the labels says.

    Input labels are columns + 1, since 0 is ε there.
    """
    fsa = graph.fsa
    splits, ids = fsa.aux_labels.shape.row_splits(1).numpy(), fsa.aux_labels.values.numpy()
    sayings: dict[tuple[int, ...], int] = {(): 0}
    labels = np.zeros(len(splits) - 1, dtype=np.int32)
    for arc in np.flatnonzero(np.diff(splits)):
        words = tuple(word for word in ids[splits[arc] : splits[arc + 1]].tolist() if word > 0)
        labels[arc] = sayings.setdefault(words, len(sayings))
    arcs = fsa.arcs.values().numpy()
    scores = np.ascontiguousarray(arcs[:, 3]).view(np.float32)
    final = np.full(int(fsa.shape[0]) - 1, -np.inf, dtype=np.float32)
    ends = arcs[:, 2] == -1
    final[arcs[ends, 0]] = scores[ends]
    inner = arcs[~ends]
    hlg = Arcs(inner[:, 0], inner[:, 1], inner[:, 2] + 1, labels[~ends], scores[~ends], final)
    return hlg, list(sayings)
