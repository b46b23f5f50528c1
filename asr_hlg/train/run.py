"""From a config to a trained network: everything is put together, checked, trained and tested."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import k2
import torch
from lhotse import CutSet
from torch import nn
from tqdm import tqdm

from asr_hlg import data
from asr_hlg.acoustic import hama, likelihoods, nets
from asr_hlg.acoustic.network import FbankNetwork, Network
from asr_hlg.data import FrameLabels, Loader, SpecAugment
from asr_hlg.errors import OptionError
from asr_hlg.files import write_json
from asr_hlg.fst import symbols
from asr_hlg.graph import DecodingGraph, topology
from asr_hlg.graph.build import Report, build, make_topology, read_lexicon
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lexicon import Lexicon, g2p
from asr_hlg.losses import CrossEntropy, Ctc, HmmFullSum, LfMmi, phone_bigram
from asr_hlg.losses.sequence import SequenceLoss
from asr_hlg.output.scoring import Errors
from asr_hlg.train import checks, parallel
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.evaluate import Evaluation
from asr_hlg.train.loop import Trainer
from asr_hlg.train.objective import FrameObjective
from asr_hlg.train.progress import Outcome
from asr_hlg.train.result import Result

MODEL = "model.npz"
_NORMALISED_ON = 600.0  # seconds of sound from which features' mean and deviation are taken

Say = Callable[[str], None]


def train(
    config: TrainingConfig, folder: Path, device: str = "cpu", report: Say | None = None
) -> Result:
    """Train what a config describes, or go on where an interrupted training stopped.

    Parameters
    ----------
    config : TrainingConfig
    folder : Path
        Gets ``model.npz`` (for :func:`asr_hlg.acoustic.load`), ``result.json``, ``log.jsonl``,
        ``config.json`` and ``checkpoints/``.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``. Under ``torchrun``, ``cuda`` is each process's own.
    report : callable, optional
        Takes lines for the user; default: standard error.

    Raises
    ------
    AsrHlgError
        Before training if data, network, loss and graph do not go together; for what goes wrong
        later see :class:`asr_hlg.train.Trainer`.
    """
    if config.hybrid is not None:
        from asr_hlg.train.hybrid import train_hybrid  # which calls this for every round

        return train_hybrid(config, folder, device, report)
    say = report or (lambda line: tqdm.write(line, file=sys.stderr))
    with parallel.processes(device) as own:
        rank, processes = parallel.world()
        if rank > 0:
            say = lambda line: None  # noqa: E731
        parts = prepare(config, say)
        say(parts.objective.network.describe())
        dev = parts.dev
        trainer = Trainer(
            parts.objective,
            parts.batches,
            folder,
            config.training,
            config.optimiser,
            evaluate=None if dev is None else lambda _: parts.errors(dev, own),
            device=own,
            config={**config.identity(), "cuts": parts.summary},
            report=report,
        )
        outcome = trainer.run()
        return _finish(config, folder, parts, outcome, own, processes, say)


@dataclass(frozen=True)
class Parts:
    """What a config has been made into.

    Attributes
    ----------
    objective : FrameObjective
    batches : Loader
    dev : Evaluation or None
    tests : dict of str to Evaluation
    summary : dict
        How many utterances and seconds there are to train on.
    """

    objective: FrameObjective
    batches: Loader
    dev: Evaluation | None
    tests: dict[str, Evaluation]
    summary: dict[str, float]

    def errors(self, evaluation: Evaluation, device: torch.device) -> Errors:
        """Word errors of the network as it is now."""
        return evaluation(self.objective.for_decoding(), device)


def prepare(config: TrainingConfig, report: Say) -> Parts:
    """Read, make and check everything that a training needs."""
    torch.manual_seed(config.training.seed)
    recipe = Recipe.read(config.graph)
    network, lexicon, H = make_network(config, recipe)
    train_cuts = checks.read_cuts(config.data.train)
    if config.data.guess_words:
        lexicon = _completed(lexicon, train_cuts, report)
    _freeze(config, network)
    loss = make_loss(config, H, lexicon, [data.text_of(cut) for cut in train_cuts])
    if isinstance(loss, SequenceLoss):
        fastest = max(config.augment.speeds)
        train_cuts = checks.check_transcripts(
            loss, network, train_cuts, fastest, config.data.drop_short, report
        )
    else:
        labels = checks.alignments(network, train_cuts)
        network.priors = likelihoods.count_priors(
            [row.tolist() for row in labels], len(network.config.tokens)
        )
    batches = _batches(config, network, loss, train_cuts)
    if isinstance(network, FbankNetwork) and config.network.init is None:
        normalise(network, batches)
    if config.spec_augment is not None:
        network.augment = SpecAugment(config.spec_augment)
    dev = _evaluation(config, config.data.dev, config.graph, report) if config.data.dev else None
    tests = {
        test.name: _evaluation(config, test.cuts, test.graph or config.graph, report)
        for test in config.test
    }
    seconds = round(sum(cut.duration for cut in train_cuts), 3)
    summary = {"utterances": len(train_cuts), "seconds": seconds}
    report(f"training data: {len(train_cuts)} utterances, {seconds / 60:.1f} minutes")
    objective = FrameObjective(network, loss, config.loss.regularise)
    return Parts(objective, batches, dev, tests, summary)


def make_loss(config: TrainingConfig, H: k2.Fsa, lexicon: Lexicon, texts: list[str]) -> nn.Module:
    """The loss of a config, over the topology and lexicon that decoding uses."""
    section = config.loss
    is_ctc = topology.is_ctc(H)
    if section.kind == "cross_entropy":
        return CrossEntropy()
    if (section.kind == "ctc" and not is_ctc) or (section.kind == "hmm" and is_ctc):
        fits = "ctc" if section.kind == "ctc" else "hmm or chain"
        raise OptionError(
            f"the loss {section.kind} does not go with the topology of {config.graph}",
            path=config.path,
            remedy=f"give the recipe [topology] kind = {fits}, or choose another loss",
        )
    if section.kind == "ctc":
        return Ctc(H, lexicon)
    if section.kind == "lf_mmi":
        return LfMmi(H, lexicon, phone_bigram(lexicon, texts))
    scale = 1.0 if section.prior_scale is None else section.prior_scale
    momentum = 0.9 if section.prior_momentum is None else section.prior_momentum
    return HmmFullSum(H, lexicon, prior_scale=scale, prior_momentum=momentum)


def make_network(config: TrainingConfig, recipe: Recipe) -> tuple[Network, Lexicon, k2.Fsa]:
    """The network, and L and H over its tokens."""
    lexicon = read_lexicon(recipe)
    H = make_topology(recipe.topology, lexicon)
    columns = topology.column_names(H, symbols.names(lexicon.tokens)[: lexicon.num_tokens])
    section = config.network
    if section.kind is not None:
        return nets.create(section.kind, columns, **section.fields), lexicon, H
    init = cast(str, section.init)
    network = hama.conformer() if init == "hama" else nets.load(init)
    if section.fields:
        network = _with_fields(network, section.fields)
    tokens = network.config.tokens
    if topology.is_ctc(H):
        # The network may know more tokens than the lexicon needs, and in another order.
        lexicon = lexicon.with_tokens(tokens)
        return network, lexicon, make_topology(recipe.topology, lexicon)
    if tuple(tokens) != tuple(columns):
        raise OptionError(
            f"the network {init} has other outputs than the topology of {config.graph} reads",
            path=config.path,
            remedy="start from a network that was trained with this recipe",
        )
    return network, lexicon, H


def _freeze(config: TrainingConfig, network: Network) -> None:
    """Let only those weights change that the config names."""
    parts = config.network.trainable
    for name, weight in network.named_parameters():
        weight.requires_grad_(not parts or any(part in name for part in parts))
    if not any(weight.requires_grad for weight in network.parameters()):
        raise OptionError(
            f"[network] trainable: no weight's name contains {' or '.join(parts)}",
            path=config.path,
            remedy="names are those of network.named_parameters(), such as norm or output",
        )


def _completed(lexicon: Lexicon, cuts: CutSet, report: Say) -> Lexicon:
    """The lexicon with a guess for every word of the transcripts that it lacks."""
    own = lexicon.with_tokens(symbols.names(lexicon.tokens)[: lexicon.num_tokens])
    words = [word for cut in cuts for word in data.text_of(cut).split()]
    lexicon, guesses = g2p.complete(own, words)
    if guesses.pronunciations or guesses.left_out:
        report(guesses.report())
    return lexicon


def _with_fields(network: Network, fields: Mapping[str, Any]) -> Network:
    """The same network with fields of its configuration changed that shape no weights."""
    changed = type(network)(replace(network.config, **fields))
    changed.load_state_dict(network.state_dict())
    return changed


def _batches(config: TrainingConfig, network: Network, loss: nn.Module, cuts: CutSet) -> Loader:
    shape = network.config
    labels = None
    if isinstance(loss, CrossEntropy):
        labels = FrameLabels(shape.tokens, shape.frame_shift, network.output_lengths)
    rank, processes = parallel.world()
    options = config.loader
    if "seed" not in config.content.get("loader", {}):
        options = replace(options, seed=config.training.seed)
    return data.loader(
        cuts,
        shape.fbank,
        options,
        config.augment,
        sample_rate=shape.sample_rate,
        labels=labels,
        rank=rank,
        world_size=processes,
    )


def normalise(network: FbankNetwork, batches: Loader) -> None:
    """Give the network the mean and deviation of the first minutes of training data."""
    frames, left = [], _NORMALISED_ON / network.config.fbank.frame_shift
    batches.set_epoch(0)
    for batch in batches:
        for row, length in zip(batch.inputs, batch.lengths.tolist(), strict=True):
            mean = row[:length].mean(0) if network.config.utterance_mean else 0.0
            frames.append(row[:length] - mean)
        left -= int(batch.lengths.sum())
        if left <= 0:
            break
    together = torch.cat(frames).double()
    network.normalise_with(together.mean(0).float(), together.std(0).float())


def _evaluation(
    config: TrainingConfig, sources: list[Path], graph: Path, report: Say
) -> Evaluation:
    cuts = checks.read_cuts(sources)
    recipe = Recipe.read(graph)
    note = Report(note=lambda text: report(f"{recipe.path.stem}: {text}"))
    decoding = DecodingGraph.load(build(recipe, report=note))
    return Evaluation(cuts, decoding, decoding.search_options(**config.search))


def _finish(
    config: TrainingConfig,
    folder: Path,
    parts: Parts,
    outcome: Outcome,
    device: torch.device,
    processes: int,
    report: Say,
) -> Result:
    """Write the model, test it, and write the result."""
    network = parts.objective.for_decoding()
    tests = {} if outcome.dev is None else {"dev": outcome.dev}
    if parallel.world()[0] == 0:
        write_json(folder / "config.json", dict(config.content))
        network.save(folder / MODEL)
        report(f"the model is {folder / MODEL}")
        for name, evaluation in parts.tests.items():
            tests[name] = parts.errors(evaluation, device)
            report(
                f"{name}: WER {tests[name].rate:.2%}, {tests[name].total} of "
                f"{tests[name].length} words"
            )
    result = Result(
        task=config.task,
        model=folder.resolve().name,
        network=network.kind,
        loss=config.loss.kind,
        parameters=network.num_parameters,
        tests=tests,
        epochs=outcome.progress.epoch,
        wall_seconds=outcome.progress.wall_seconds,
        cpu_seconds=outcome.progress.cpu_seconds,
        device=_device_name(device),
        processes=processes,
    )
    if parallel.world()[0] == 0:
        result.write(folder)
    return result


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
