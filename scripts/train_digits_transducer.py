"""A transducer for strings of digits: trained, and recognised by every search.

    python scripts/train_digits_transducer.py                    on the pretrained Conformer
    python scripts/train_digits_transducer.py --from-scratch     on a bidirectional LSTM

Its tokens are the phones of lang/digits/lexicon.txt, a frame takes 40 ms. It learns from four
speakers; theo, on whose strings the searches are compared, is a fifth. What a search without a
graph says is read as words by the lexicon, as far as it goes.

Model (for asr_hlg.transducer.Transducer.load) and results go to .work/digits-transducer/; a
training that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import prepare_fsdd
import torch
from lhotse import CutSet

from asr_hlg import data, lm
from asr_hlg.acoustic import hama
from asr_hlg.acoustic.network import FbankNetwork
from asr_hlg.data import Augmentation, Batch, LoaderOptions, SpecAugment, SpecAugmentOptions
from asr_hlg.errors import AsrHlgError
from asr_hlg.fst import symbols
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.graph.build import build, read_lexicon
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lexicon import Lexicon
from asr_hlg.output.scoring import Errors, score
from asr_hlg.train import OptimiserOptions, Outcome, Trainer, TrainingOptions
from asr_hlg.train.checks import frames, read_cuts
from asr_hlg.train.result import Result
from asr_hlg.train.run import normalise
from asr_hlg.transducer import (
    Decoder,
    PrunedLossOptions,
    Transducer,
    TransducerConfig,
    TransducerObjective,
    TransducerOptions,
    transcripts,
)

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "graphs" / "digit-loop-transducer.toml"
WORK = ROOT / ".work"
TASK = "digits-transducer"
COMPARED = 40  # strings on which the pruned loss is compared with the full one, every epoch
BATCH = 60.0  # seconds that are recognised together

AUGMENTATION = Augmentation(
    speeds=(0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2),
    volumes=(0.3, 2.0),
    noise=0.5,
    snr=(10.0, 40.0),
)
QUIET = (0.05, 2.0)
"""Volumes for an encoder that has never heard other recordings: theo's are 14 dB quieter."""
LOSS = PrunedLossOptions(prune_range=8, warm_up=100)
MASKS = SpecAugmentOptions(frequency_width=12, time_masks=2, time_width=10, time_share=0.1)


@dataclass(frozen=True)
class Stage:
    """A part of the training: ``encoder`` says whether the encoder learns too."""

    name: str
    encoder: bool
    epochs: int
    learning_rate: float
    batch: float


PRETRAINED = (
    # What is new first, on the encoder as it is: in haste, which would spoil the encoder.
    Stage("joiner", False, 2, 3e-3, 8.0),
    Stage("all", True, 8, 2e-4, 16.0),
)
SCRATCH = (Stage("all", True, 30, 2e-3, 8.0),)


def main() -> int:
    """Prepare what is not there yet, train, and try every search."""
    options = _parser().parse_args()
    name = "scratch" if options.from_scratch else "conformer"
    try:
        if not (options.data / "train.jsonl.gz").is_file():
            prepare_fsdd.prepare(options.wav, options.data)
        train(Recipe.read(RECIPE), options, options.folder or WORK / TASK / name)
    except AsrHlgError as error:
        print(f"train_digits_transducer.py: {error}", file=sys.stderr)
        return 1
    return 0


def train(recipe: Recipe, options: argparse.Namespace, folder: Path) -> Result:
    """Train, save, and try every search."""
    torch.manual_seed(options.seed)
    lexicon = read_lexicon(recipe)
    network = make_network(lexicon, options.from_scratch)
    print(network.describe(), flush=True)
    cuts = read_cuts([options.data / f"{name}.jsonl.gz" for name in ("train", "train-strings")])
    objective = TransducerObjective(network, lexicon, LOSS)
    texts = [data.text_of(cut) for cut in cuts]
    lengths = frames(network, cuts, max(AUGMENTATION.speeds))
    long_enough = _alignable(objective, cuts, texts, lengths)
    outcomes = [
        _stage(stage, objective, long_enough, lexicon, options, folder)
        for stage in (SCRATCH if options.from_scratch else PRETRAINED)
    ]
    network.save(folder / "model.npz")
    graphs = make_graphs(recipe, lexicon, texts)
    tests = {}
    for part in ("dev", "seen"):
        cuts = strings(options.data, part)
        for name, (search, graph) in graphs.items():
            errors, speed = recognise(network, graph, search, cuts, lexicon)
            speaker = "theo" if part == "dev" else "seen"
            tests[f"{speaker}, {name}"] = errors
            print(f"{speaker:5} {name:28} WER {errors.rate:6.2%}  {speed}", flush=True)
    result = Result(
        TASK,
        folder.name,
        f"{network.kind} on {network.config.encoder}",
        "pruned RNN-T",
        network.num_parameters,
        tests,
        sum(outcome.progress.epoch for outcome in outcomes),
        sum(outcome.progress.wall_seconds for outcome in outcomes),
        sum(outcome.progress.cpu_seconds for outcome in outcomes),
    )
    print(f"results are in {result.write(folder)}")
    return result


def _stage(
    stage: Stage,
    objective: TransducerObjective,
    cuts: CutSet,
    lexicon: Lexicon,
    options: argparse.Namespace,
    folder: Path,
) -> Outcome:
    """One training of some of the weights."""
    network = objective.network
    network.encoder.requires_grad_(stage.encoder)
    config = network.config
    loader = LoaderOptions(max_duration=stage.batch, seed=options.seed)
    changes = replace(AUGMENTATION, volumes=QUIET) if options.from_scratch else AUGMENTATION
    batches = data.loader(cuts, config.fbank, loader, changes, sample_rate=config.sample_rate)
    if isinstance(network.encoder, FbankNetwork):
        normalise(network.encoder, batches)
    network.encoder.augment = SpecAugment(MASKS)
    epochs = options.epochs or stage.epochs
    trainer = Trainer(
        objective,
        batches,
        folder / stage.name,
        TrainingOptions(epochs=epochs, seed=options.seed, average=min(3, epochs // 2) or 1),
        OptimiserOptions(learning_rate=stage.learning_rate, warm_up=0.03),
        evaluate=Check(strings(options.data, "seen", COMPARED), lexicon),
        config={"stage": asdict(stage), "from_scratch": options.from_scratch},
    )
    print(f"{stage.name}: a learning rate of {stage.learning_rate:g}", flush=True)
    return trainer.run()


def make_network(lexicon: Lexicon, from_scratch: bool) -> Transducer:
    """A transducer of the lexicon's tokens, with a frame every 40 ms."""
    tokens = tuple(symbols.names(lexicon.tokens)[: lexicon.num_tokens])
    if not from_scratch:
        return Transducer.on(hama.conformer(), tokens, stack=2)
    shape = {"hidden": 160, "num_feed_forward": 1, "dim": 160, "num_layers": 2, "dropout": 0.2}
    # The recordings have nothing above 4 kHz.
    fields = {"fbank": {"num_filters": 40, "high_freq": 3800.0}, **shape}
    return Transducer(TransducerConfig(tokens, "blstm", fields, stack=2))


def make_graphs(
    recipe: Recipe, lexicon: Lexicon, texts: list[str]
) -> dict[str, tuple[TransducerOptions, DecodingGraph | None]]:
    """Every search by its name, with the graph that it follows."""
    loop = DecodingGraph.load(build(recipe))
    G, _ = lm.to_arcs(lm.estimate(texts, order=2), lexicon.words)
    bigram = compile_hlg(topology.transducer(lexicon.num_tokens), lexicon, G)
    return {
        "greedy": (TransducerOptions("greedy"), None),
        "beam": (TransducerOptions("beam"), None),
        "graph, any token": (TransducerOptions("graph"), None),
        # Any digit after any: nothing that the prediction network would not know.
        "graph, digits": (TransducerOptions("graph", graph_scale=0.0), loop),
        "graph, digits, bigram × 0.2": (TransducerOptions("graph", graph_scale=0.2), bigram),
    }


@dataclass
class Check:
    """After every epoch: greedy errors on unseen recordings of the training speakers.

    Also prints how far the pruned loss is from the full one there.
    """

    cuts: CutSet
    lexicon: Lexicon

    def __call__(self, objective: TransducerObjective) -> Errors:
        network = objective.network
        pruned = full = 0.0
        for batch in batches_of(network, self.cuts):
            losses = objective.compare(batch)
            pruned, full = (s + float(x.sum()) for s, x in zip((pruned, full), losses, strict=True))
        print(f"pruned loss {pruned:.2f}, full loss {full:.2f}: {pruned / full - 1:+.2%}")
        greedy = TransducerOptions("greedy")
        return recognise(network, None, greedy, self.cuts, self.lexicon)[0]


@dataclass(frozen=True)
class Speed:
    """How long a search took; ``encoder`` is the encoder's share of ``seconds``."""

    duration: float
    seconds: float
    encoder: float

    def __str__(self) -> str:
        search = self.duration / (self.seconds - self.encoder)
        return f"{self.duration / self.seconds:5.0f} × real time (search alone {search:.0f} ×)"


def recognise(
    network: Transducer,
    graph: DecodingGraph | None,
    options: TransducerOptions,
    cuts: CutSet,
    lexicon: Lexicon,
) -> tuple[Errors, Speed]:
    """Word errors on a set of cuts, and the time they took once they were read."""
    decoder = Decoder(network, graph, options)
    durations = {cut.id: cut.duration for cut in cuts}
    found: dict[str, str] = {}
    seconds = encoder = 0.0
    for batch in batches_of(network, cuts):
        start = time.perf_counter()
        with torch.no_grad():
            features = network.encode(batch.inputs, batch.lengths)
        encoder += time.perf_counter() - start
        lattice = decoder.search(*features)
        answers = transcripts(
            lattice,
            batch.ids,
            [durations[id] for id in batch.ids],
            None if graph is not None else lexicon,
            forward=options.search == "beam",
        )
        seconds += time.perf_counter() - start
        found.update((answer.id, answer.text) for answer in answers)
    references = {cut.id: data.text_of(cut) for cut in cuts}
    return score(references, found).words, Speed(sum(durations.values()), seconds, encoder)


def batches_of(network: Transducer, cuts: CutSet) -> list[Batch]:
    """A set of cuts, unchanged, ready for the network."""
    options = LoaderOptions(max_duration=BATCH, shuffle=False)
    config = network.config
    return list(data.loader(cuts, config.fbank, options, sample_rate=config.sample_rate))


def strings(folder: Path, part: str, number: int | None = None) -> CutSet:
    """The first strings of a part of the data."""
    cuts = read_cuts([folder / f"{part}-strings.jsonl.gz"])
    return CutSet(list(itertools.islice(cuts, number)))


def _alignable(
    objective: TransducerObjective, cuts: CutSet, texts: list[str], lengths: Iterable[int]
) -> CutSet:
    """The cuts that have a frame for every token, however fast they are played."""
    kept, dropped = [], []
    for cut, text, length in zip(cuts, texts, lengths, strict=True):
        fits = objective.targets([text], torch.tensor([length])).alignable()
        (kept if bool(fits) else dropped).append(cut)
    if dropped:
        names = ", ".join(cut.id for cut in dropped[:5])
        print(f"left out {len(dropped)} recordings shorter than their tokens: {names} …")
    return CutSet(kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--wav",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "fsdd" / "wav",
        help="recordings of the Free Spoken Digit Dataset (%(default)s)",
    )
    parser.add_argument(
        "--data", type=Path, default=WORK / "fsdd", help="what is made of them (.work/fsdd)"
    )
    parser.add_argument("--folder", type=Path, help="for the model (below .work)")
    parser.add_argument(
        "--from-scratch", action="store_true", help="a bidirectional LSTM, nothing pretrained"
    )
    parser.add_argument("--epochs", type=int, help="of each stage, for a quick look")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
