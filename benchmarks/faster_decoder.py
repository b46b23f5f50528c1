#!/usr/bin/env python3
"""Imported graphs beside kaldi-decoder's FasterDecoder on the same files: words, scores, speed.

    benchmarks/faster_decoder.py ../shared/data/ljspeech/flac --graphs en digits H --count 200

Each graph is exported as HLG.fst, imported again, and searched by both in one thread; ``H`` is the
CTC topology over the model's tokens alone, whose words are the tokens. Posteriors are computed
before, and what is measured is CPU time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np
from tqdm import tqdm

from asr_hlg import acoustic
from asr_hlg.acoustic import likelihoods
from asr_hlg.audio import recordings
from asr_hlg.fst import openfst, symbols
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.graph import DecodingGraph, topology_arcs
from asr_hlg.graph.export import export
from asr_hlg.graph.lookup import graph_folder
from asr_hlg.graph.openfst_graph import ImportOptions, import_graph
from asr_hlg.search import SearchOptions, decode


def main() -> None:
    """Decode recordings with both decoders, and print a line a graph."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--graphs", nargs="+", default=["en"])
    parser.add_argument("--model", default="hama")
    parser.add_argument("--count", type=int, default=200, help="recordings, evenly chosen")
    parser.add_argument("--beam", type=float, default=14.0)
    parser.add_argument("--max-active", type=int, default=10_000)
    parser.add_argument("--min-active", type=int, default=30)
    options = parser.parse_args()
    model = acoustic.load(options.model)
    found = list(recordings(options.recordings))
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, options.count).astype(int)]
    posteriors = [
        model.posteriors([r.load(model.sample_rate)], model.sample_rate) for r in tqdm(chosen)
    ]
    search = SearchOptions(
        search_beam=options.beam,
        max_active=options.max_active,
        min_active=options.min_active,
        floor=0.0,
    )
    for name in options.graphs:
        with tempfile.TemporaryDirectory() as folder:
            compare(name, Path(folder), model, posteriors, search)


def compare(name, folder, model, posteriors, options) -> None:  # type: ignore[no-untyped-def]
    """Decode with one graph, and print agreement and speed."""
    if name == "H":
        write_h(folder, model.tokens)
    else:
        export(DecodingGraph.load(graph_folder(name)), folder, "openfst")
    words = folder / "words.txt"
    chosen = ImportOptions(folder / "tokens.txt", words if words.is_file() else None)
    path = import_graph(folder / "HLG.fst", folder / "graph", chosen)
    graph = DecodingGraph.load(path)
    fst = kaldifst.StdConstFst.read(str(folder / "HLG.fst"))
    settings = kaldi_decoder.FasterDecoderOptions(
        beam=options.search_beam, max_active=options.max_active, min_active=options.min_active
    )
    decode(graph, posteriors[0], options)  # compiles
    equal = num_words = utterances = 0
    seconds = {"ours": 0.0, "FasterDecoder": 0.0}
    largest = 0.0
    for each in tqdm(posteriors, desc=name):
        begin = time.process_time()
        lattice = decode(graph, each, options)
        ours = lattice.best_path()[0]
        seconds["ours"] += time.process_time() - begin
        mapped = likelihoods.map_tokens(each, graph.columns)
        frames = np.ascontiguousarray(mapped.array[0, : int(mapped.lengths[0])], np.float32)
        begin = time.process_time()
        decoder = kaldi_decoder.FasterDecoder(fst, settings)
        decoder.decode(kaldi_decoder.DecodableCtc(frames))
        _, best = decoder.get_best_path()
        seconds["FasterDecoder"] += time.process_time() - begin
        _, _, labels, cost = kaldifst.get_linear_symbol_sequence(best)
        theirs = tuple(graph.word_names[label] for label in labels)
        utterances += theirs == ours.words
        num_words += len(theirs)
        equal += sum(a == b for a, b in zip(theirs, ours.words, strict=False))
        largest = max(largest, abs(ours.score + cost.value1 + cost.value2))
    sound = sum(float(each.lengths[0]) * each.frame_shift for each in posteriors)
    ratio = seconds["FasterDecoder"] / seconds["ours"]
    print(
        f"{name}: {utterances} of {len(posteriors)} utterances and {equal} of {num_words} words "
        f"equal; scores differ by {largest:.4f} at most; ours {sound / seconds['ours']:.0f} × real "
        f"time with lattices, FasterDecoder {sound / seconds['FasterDecoder']:.0f} ×, {ratio:.2f} "
        "times as fast",
        flush=True,
    )


def write_h(folder: Path, tokens: tuple[str, ...]) -> None:
    """The CTC topology over the model's tokens, labels shifted by one."""
    arcs = topology_arcs.ctc(len(tokens))
    openfst.write(folder / "HLG.fst", replace(arcs, ilabel=arcs.ilabel + 1))
    symbols.write(SymbolTable(tokens), folder / "tokens.txt")


if __name__ == "__main__":
    main()
