#!/usr/bin/env python3
"""Quality and cost of lattices on real speech: word errors of all criteria, and times.

    benchmarks/lattices.py ../shared/data/ljspeech/flac ../shared/data/ljspeech/text

One thread; times are those of search and of the operations on lattices, without the acoustic model.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from asr_hlg import acoustic
from asr_hlg.audio import recordings
from asr_hlg.graph import DecodingGraph, store
from asr_hlg.output import text
from asr_hlg.output.scoring import score
from asr_hlg.search import decode


def main() -> None:
    """Decode all recordings once, apply all operations to each lattice, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("text", type=Path, help="references, Kaldi order")
    parser.add_argument("--graph", type=Path, default=Path("graphs/en"))
    parser.add_argument("--nbest", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    graph = DecodingGraph.load(options.graph)
    model = acoustic.load(store.acoustic_model(options.graph, graph.meta))
    references = text.read_transcripts(options.text)

    texts: dict[str, dict[str, str]] = defaultdict(dict)
    lists: dict[str, list[str]] = {}
    seconds: dict[str, float] = defaultdict(float)
    not_below, worst_slot = 0, 0.0
    for recording in tqdm(list(recordings(options.recordings))):
        posteriors = model.posteriors([recording.load(model.sample_rate)], model.sample_rate)
        begin = time.perf_counter()
        lattice = decode(graph, posteriors)
        best = lattice.best_path()
        seconds["best path"] += time.perf_counter() - begin
        lattice.words(best)
        seconds["with times and confidences"] += time.perf_counter() - begin
        texts["viterbi"][recording.id] = best[0].text
        texts["forward"][recording.id] = _timed(seconds, "forward", lattice.forward_path)
        texts["mbr"][recording.id] = _timed(seconds, "mbr", lattice.mbr_path)
        begin = time.perf_counter()
        lists[recording.id] = [path.text for path in lattice.nbest(options.nbest)[0]]
        seconds[f"{options.nbest}-best"] += time.perf_counter() - begin
        not_below += float(lattice.forward_score()[0]) >= best[0].score
        (network,) = lattice.confusion_networks()
        worst_slot = max(worst_slot, *(sum(slot.values()) for slot in network.slots))

    scored = {name: references[name] for name in texts["viterbi"]}
    print(f"{len(scored)} recordings, graph {options.graph}")
    for name, hypotheses in texts.items():
        print(f"WER {name:<24}{score(scored, hypotheses).words.rate:8.2%}")
    oracle = score(scored, texts["viterbi"], alternatives=lists)
    assert oracle.oracle is not None
    ratio = oracle.oracle.rate / oracle.words.rate
    print(f"WER oracle of {options.nbest:<18}{oracle.oracle.rate:8.2%}  {ratio:.2f} of one-best")
    print(f"forward score ≥ Viterbi score in {not_below} of {len(scored)}")
    print(f"largest sum of a slot's posteriors {worst_slot:.6f}")
    for name, taken in seconds.items():
        print(f"seconds {name:<28}{taken:8.2f}  {taken / seconds['best path']:.2f} of best path")


def _timed(seconds: dict[str, float], name: str, search: Callable[[], list[Any]]) -> str:
    """Text of the path that a search of the lattice finds; its time is added to ``seconds``."""
    begin = time.perf_counter()
    (path,) = search()
    seconds[name] += time.perf_counter() - begin
    return path.text


if __name__ == "__main__":
    main()
