"""Word errors and speed of every search of a transducer, on strings of digits.

    python benchmarks/transducer_searches.py .work/digits/transducer/model.npz

The model and the data are those of `make digits MODEL=transducer`. Prints a Markdown table; the
lexicon splits the tokens of searches without a graph into words. The last line compares
the pruned loss with the full one on the same strings.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from lhotse import CutSet

from asr_hlg import data, lm
from asr_hlg.data import Batch, LoaderOptions
from asr_hlg.errors import AsrHlgError
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.graph.build import build
from asr_hlg.graph.lexica import read_lexicon
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lexicon import Lexicon
from asr_hlg.output.scoring import Errors, score
from asr_hlg.transducer import (
    Transducer,
    TransducerDecoder,
    TransducerObjective,
    TransducerOptions,
    make_decoder,
    transcripts,
)

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "graphs" / "digit-loop-transducer.toml"
BATCH = 60.0  # seconds of sound that are recognised together


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a transducer's model.npz")
    parser.add_argument(
        "--data", type=Path, default=ROOT / ".work" / "fsdd", help="cuts of digits (.work/fsdd)"
    )
    options = parser.parse_args()
    try:
        compare(Transducer.load(options.model).eval(), options.data)
    except AsrHlgError as error:
        print(f"transducer_searches.py: {error}", file=sys.stderr)
        return 1
    return 0


def compare(network: Transducer, folder: Path) -> None:
    """Print errors and speed of every search on both sets of strings."""
    recipe = Recipe.read(RECIPE)
    lexicon = read_lexicon(recipe)
    graphs = searches(recipe, lexicon, data.cuts(folder / "train-strings.jsonl.gz"))
    print("| strings | search | word errors | × real time |\n| --- | --- | ---: | ---: |")
    pruned = full = 0.0
    objective = TransducerObjective(network, lexicon)
    for part, speaker in (("dev", "theo"), ("seen", "seen")):
        cuts = data.cuts(folder / f"{part}-strings.jsonl.gz")
        batches = batches_of(network, cuts)
        for name, (options, graph) in graphs.items():
            decoder = make_decoder(network, graph, options)
            spelling = None if graph else lexicon
            forward = options.search == "beam"
            errors, speed = recognise(decoder, spelling, cuts, batches, forward)
            rate = f"{100 * errors.rate:.1f} % ({errors.total} of {errors.length})"
            print(f"| {speaker} | {name} | {rate} | {speed:.0f} |", flush=True)
        for batch in batches:
            losses = [float(row.sum()) for row in objective.compare(batch)]
            pruned, full = pruned + losses[0], full + losses[1]
    print(f"\npruned loss {pruned:.2f}, full loss {full:.2f}: {pruned / full - 1:+.2%}")


def searches(
    recipe: Recipe, lexicon: Lexicon, cuts: CutSet
) -> dict[str, tuple[TransducerOptions, DecodingGraph | None]]:
    """Options and graph of every search, by its name in the table."""
    loop = DecodingGraph.load(build(recipe))
    G, _ = lm.to_arcs(lm.estimate(map(data.text_of, cuts), order=2), lexicon.words)
    bigram = compile_hlg(topology.transducer(lexicon.num_tokens), lexicon, G)
    return {
        "greedy": (TransducerOptions("greedy"), None),
        "beam": (TransducerOptions("beam"), None),
        "graph, any token": (TransducerOptions("graph"), None),
        "graph, digits": (TransducerOptions("graph", graph_scale=0.0), loop),
        "graph, digits, bigram × 0.2": (TransducerOptions("graph", graph_scale=0.2), bigram),
    }


@torch.no_grad()
def recognise(
    decoder: TransducerDecoder,
    lexicon: Lexicon | None,
    cuts: CutSet,
    batches: Iterable[Batch],
    forward: bool,
) -> tuple[Errors, float]:
    """Word errors on a set of cuts, and how many times faster than real time they were decoded."""
    network = decoder.network
    durations = {cut.id: cut.duration for cut in cuts}
    texts: dict[str, str] = {}
    seconds = 0.0
    for batch in batches:
        start = time.perf_counter()
        results = transcripts(
            decoder.decode(network.posteriors(*network.encode(batch.inputs, batch.lengths))),
            batch.ids,
            [durations[id] for id in batch.ids],
            lexicon,
            forward,
        )
        seconds += time.perf_counter() - start
        texts.update((result.id, result.text) for result in results)
    references = {cut.id: data.text_of(cut) for cut in cuts}
    return score(references, texts).words, sum(durations.values()) / seconds


def batches_of(network: Transducer, cuts: CutSet) -> list[Batch]:
    """A set of cuts as inputs of the network, unchanged."""
    options = LoaderOptions(max_duration=BATCH, shuffle=False)
    config = network.config
    return list(data.loader(cuts, config.fbank, options, sample_rate=config.sample_rate))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
