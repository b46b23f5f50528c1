#!/usr/bin/env python3
"""Search engines side by side: word errors, speed and memory, over beams.

    scripts/bench_search.py ../shared/data/ljspeech/flac ../shared/data/ljspeech/text

All search the same posteriors in the same graph. The engines take turns, beam by beam, and of
several rounds each utterance's fastest counts, so that whatever else the machine does disturbs
them alike.
``tokens`` and ``k2`` make lattices and draw the best path from them. ``FasterDecoder`` (package
kaldi_decoder; left out where it is not installed) finds the best path only, in the same HLG.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from asr_hlg import acoustic, hybrid, text
from asr_hlg.arcs import Arcs
from asr_hlg.audio import recordings
from asr_hlg.graph import DecodingGraph
from asr_hlg.posteriors import Posteriors
from asr_hlg.score import score
from asr_hlg.search import SearchOptions, decode

Engine = Callable[[Posteriors, SearchOptions], str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("text", type=Path, help="references, Kaldi order")
    parser.add_argument("--graph", type=Path, action="append", help="default: graphs/en")
    parser.add_argument("--beam", type=float, nargs="+", default=[8, 10, 12, 14])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="take every Nth recording only")
    parser.add_argument("--threads", type=int, default=1, help="also time tokens with so many")
    parser.add_argument("--json", type=Path, help="write all figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)

    results: dict = {"machine": machine(), "graphs": {}}
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    for folder in options.graph or [Path("graphs/en")]:
        graph = DecodingGraph.load(folder)
        heard = listen(graph, options.recordings, options.every)
        references = text.read_transcripts(options.text)
        references = {id: references[id] for id in heard}
        rows = compare(graph, heard, references, options.beam, options.rounds)
        if options.threads > 1:
            rows.append(side_by_side(graph, heard, options.threads, options.rounds))
        memory = {name: graph.info().get(key) for name, key in MEMORY.items()}
        results["graphs"][str(folder)] = {"rows": rows, "memory_mb": memory}
        print(f"\n{folder}: {len(heard)} recordings, {duration(heard) / 60:.1f} minutes")
        print(table(rows, memory))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


MEMORY = {"tokens": "packed_mb", "k2": "memory_mb"}


def machine() -> dict[str, str]:
    """What the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    found = {"cpu": f"{len(models)} × {models[0]}" if models else platform.machine()}
    for package in ("k2", "torch", "numba", "kaldi_decoder"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def listen(graph: DecodingGraph, paths: list[str], every: int) -> dict[str, Posteriors]:
    """Posteriors of all recordings by id, in the graph's columns."""
    model = acoustic.load(graph.meta["recipe"]["acoustic_model"])
    found = {}
    for recording in tqdm(list(recordings(paths))[::every], desc="acoustic model"):
        samples = recording.load(model.sample_rate)
        found[recording.id] = hybrid.map_tokens(
            model.posteriors([samples], model.sample_rate), graph.columns
        )
    return found


def duration(heard: dict[str, Posteriors]) -> float:
    return sum(int(p.lengths[0]) * p.frame_shift for p in heard.values())


def compare(
    graph: DecodingGraph,
    heard: dict[str, Posteriors],
    references: dict[str, str],
    beams: list[float],
    rounds: int,
) -> list[dict]:
    """One row for every engine and beam."""
    engines: dict[str, Engine] = {
        name: lambda posteriors, options, name=name: lattice_text(graph, posteriors, options, name)
        for name in MEMORY
    }
    if find_spec("kaldi_decoder") is None:
        print("FasterDecoder is left out: kaldi_decoder is not installed")
    else:
        engines["FasterDecoder"] = faster_decoder(graph)
    for engine in engines.values():  # compile, and read what is only mapped
        engine(next(iter(heard.values())), graph.search_options())
    texts: dict = defaultdict(dict)
    seconds: dict = defaultdict(lambda: np.inf)
    for beam in tqdm(rounds * beams, desc="search"):
        options = graph.search_options(search_beam=beam)
        for name, engine in engines.items():
            for id, posteriors in heard.items():
                begin = time.perf_counter()
                texts[name, beam][id] = engine(posteriors, options)
                spent = time.perf_counter() - begin
                seconds[name, beam, id] = min(spent, seconds[name, beam, id])
    rows = []
    for name in engines:
        for beam in beams:
            spent = sum(seconds[name, beam, id] for id in heard)
            rate = 100 * score(references, texts[name, beam]).words.rate
            speed = duration(heard) / spent
            rows.append({"engine": name, "beam": beam, "wer": rate, "speed": speed, "threads": 1})
    return rows


def lattice_text(graph: DecodingGraph, posteriors: Posteriors, options, engine: str) -> str:
    return decode(graph, posteriors, replace(options, engine=engine)).best_path()[0].text


def faster_decoder(graph: DecodingGraph) -> Engine:
    """kaldi-decoder's search in the graph's own HLG."""
    import kaldi_decoder
    import kaldifst

    # An arc's words become one output label; input labels are columns + 1, since 0 is ε there.
    fsa = graph.fsa
    splits, ids = fsa.aux_labels.shape.row_splits(1).numpy(), fsa.aux_labels.values.numpy()
    sayings: dict[tuple[int, ...], int] = {(): 0}
    rows = (
        tuple(word for word in ids[begin:end].tolist() if word > 0)
        for begin, end in zip(splits[:-1].tolist(), splits[1:].tolist(), strict=True)
    )
    labels = np.array([sayings.setdefault(row, len(sayings)) for row in rows], dtype=np.int32)
    arcs = fsa.arcs.values().numpy()
    scores = np.ascontiguousarray(arcs[:, 3]).view(np.float32)
    final = np.full(int(fsa.shape[0]) - 1, -np.inf, dtype=np.float32)
    ends = arcs[:, 2] == -1
    final[arcs[ends, 0]] = scores[ends]
    inner = arcs[~ends]
    hlg = Arcs(inner[:, 0], inner[:, 1], inner[:, 2] + 1, labels[~ends], scores[~ends], final)
    fst = kaldifst.StdConstFst(hlg.to_openfst())
    names = graph.word_names
    texts = [" ".join(names[word] for word in saying) for saying in sayings]

    def search(posteriors: Posteriors, options: SearchOptions) -> str:
        scaled = hybrid.scale(
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


def side_by_side(
    graph: DecodingGraph, heard: dict[str, Posteriors], threads: int, rounds: int
) -> dict:
    """All utterances as one batch, several at a time."""
    lengths = torch.cat([posteriors.lengths for posteriors in heard.values()])
    parts = [posteriors.log_probs[0] for posteriors in heard.values()]
    padded = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    first = next(iter(heard.values()))
    batch = Posteriors(padded, lengths, first.frame_shift, first.tokens)
    options = graph.search_options(engine="tokens")
    spent = []
    torch.set_num_threads(threads)
    for _ in range(1 + rounds):
        begin = time.perf_counter()
        decode(graph, batch, options).best_path()
        spent.append(time.perf_counter() - begin)
    torch.set_num_threads(1)
    speed = duration(heard) / min(spent)
    return {
        "engine": "tokens",
        "beam": options.search_beam,
        "wer": None,
        "speed": speed,
        "threads": threads,
    }


def table(rows: list[dict], memory: dict[str, float | None]) -> str:
    """Markdown; speed as a multiple of real time."""
    lines = [
        "| engine | threads | beam | WER % | × real time | graph MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        rate = "" if row["wer"] is None else f"{row['wer']:.2f}"
        size = memory.get(row["engine"])
        lines.append(
            f"| {row['engine']} | {row['threads']} | {row['beam']:g} | {rate} "
            f"| {row['speed']:.0f} | {'' if size is None else f'{size:.0f}'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
