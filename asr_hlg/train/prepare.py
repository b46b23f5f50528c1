"""Preparation of a training: network, loss, batches and test sets of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import k2
import torch
from lhotse import CutSet
from torch import nn

from asr_hlg import data
from asr_hlg.acoustic import hama, nets
from asr_hlg.acoustic.likelihoods import count_priors
from asr_hlg.acoustic.network import FbankNetwork, Network
from asr_hlg.data import FrameLabels, Loader, SpecAugment
from asr_hlg.errors import ModelError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.graph import DecodingGraph, topology
from asr_hlg.graph.build import Report, build
from asr_hlg.graph.lexica import read_lexicon
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.topology import make_topology
from asr_hlg.lexicon import Lexicon, g2p
from asr_hlg.losses import CrossEntropy, Ctc, HmmFullSum, LfMmi, phone_bigram
from asr_hlg.settings import section
from asr_hlg.train import checks, parallel
from asr_hlg.train.config import NetworkSection, TrainingConfig
from asr_hlg.train.evaluate import Evaluation
from asr_hlg.train.objective import FrameObjective
from asr_hlg.transducer import Transducer, TransducerConfig, TransducerObjective

_NORMALISED_ON = 600.0  # seconds of sound for the mean and deviation of features

ReportLine = Callable[[str], None]
"""Callback for a line to the user."""


@dataclass(frozen=True)
class Parts:
    """The objects that a training config describes.

    Attributes
    ----------
    objective : FrameObjective or TransducerObjective
        Network and loss.
    batches : Loader
    dev : Evaluation or None
        The dev set.
    tests : dict of str to Evaluation
        Test sets by name.
    summary : dict
        ``utterances`` and ``seconds`` of the training data.
    """

    objective: FrameObjective | TransducerObjective
    batches: Loader
    dev: Evaluation | None
    tests: dict[str, Evaluation]
    summary: dict[str, float]

    @property
    def network(self) -> Network:
        """The network in its current state, with the priors that its loss estimated, if any."""
        if isinstance(self.objective, FrameObjective):
            return self.objective.for_decoding()
        return self.objective.network


def prepare(config: TrainingConfig, report: ReportLine) -> Parts:
    """Read, make and check everything that a training needs.

    Raises
    ------
    AsrHlgError
        If data, network, loss and graph do not fit each other.
    """
    torch.manual_seed(config.training.seed)
    recipe = config.recipe()
    network, lexicon, H = make_network(config, recipe)
    train_cuts = checks.read_cuts(config.data.train)
    if config.data.guess_words:
        lexicon = _with_guessed_words(lexicon, train_cuts, report)
    _freeze(config, network)
    loss = make_loss(config, network, H, lexicon, [data.text_of(cut) for cut in train_cuts])
    if isinstance(loss, CrossEntropy):
        labels = checks.alignments(network, train_cuts)
        priors = count_priors([row.tolist() for row in labels], len(network.config.tokens))
        network.priors = torch.from_numpy(priors)
    else:
        fastest = max(config.augment.speeds)
        train_cuts = checks.check_transcripts(
            loss, network, train_cuts, fastest, config.data.drop_short, report
        )
    batches = _batches(config, network, loss, train_cuts)
    encoder = network.encoder if isinstance(network, Transducer) else network
    if isinstance(encoder, FbankNetwork) and config.network.init is None:
        normalise(encoder, batches)
    if config.spec_augment is not None:
        encoder.augment = SpecAugment(config.spec_augment)
    dev = None
    if config.data.dev:
        dev = _evaluation(config, network, config.data.dev, config.graph, report)
    tests = {
        test.name: _evaluation(config, network, test.cuts, test.graph or config.graph, report)
        for test in config.test
    }
    seconds = round(sum(cut.duration for cut in train_cuts), 3)
    report(f"training data: {len(train_cuts)} utterances, {seconds / 60:.1f} minutes")
    objective = (
        loss
        if isinstance(loss, TransducerObjective)
        else FrameObjective(network, loss, config.loss.regularise)
    )
    summary = {"utterances": len(train_cuts), "seconds": seconds}
    return Parts(objective, batches, dev, tests, summary)


Loss = CrossEntropy | Ctc | LfMmi | HmmFullSum | TransducerObjective


def make_loss(
    config: TrainingConfig, network: Network, H: k2.Fsa, lexicon: Lexicon, texts: list[str]
) -> Loss:
    """The loss of a config, over the topology and lexicon that decoding uses.

    Parameters
    ----------
    config : TrainingConfig
    network : Network
    H : k2.Fsa
        The topology of the config's recipe, over the network's columns.
    lexicon : Lexicon
    texts : list of str
        The training transcripts, from which ``lf_mmi`` estimates its phone bigram.

    Raises
    ------
    OptionError
        If the loss does not fit the topology or the network.
    """
    loss = config.loss
    if isinstance(network, Transducer) != (loss.kind == "transducer"):
        raise OptionError(
            f"the loss {loss.kind} does not fit the network {network.kind}",
            path=config.path,
            remedy="the network transducer needs the loss transducer, and vice versa",
        )
    if isinstance(network, Transducer):
        return TransducerObjective(network, lexicon, config.pruned_loss)
    if loss.kind == "cross_entropy":
        return CrossEntropy()
    if loss.kind == "ctc":
        return Ctc(H, lexicon)
    if loss.kind == "lf_mmi":
        return LfMmi(H, lexicon, phone_bigram(lexicon, texts))
    scale = 1.0 if loss.prior_scale is None else loss.prior_scale
    momentum = 0.9 if loss.prior_momentum is None else loss.prior_momentum
    return HmmFullSum(H, lexicon, prior_scale=scale, prior_momentum=momentum)


def make_network(config: TrainingConfig, recipe: Recipe) -> tuple[Network, Lexicon, k2.Fsa]:
    """The network, and L and H over its tokens.

    Raises
    ------
    OptionError
        If a trained network has other outputs than the topology reads, or the loss needs another
        topology.
    """
    lexicon = read_lexicon(recipe)
    H, columns = make_topology(recipe, lexicon)
    _check_topology(config, recipe.topology.kind, topology.is_ctc(H))
    network = _create(config.network, columns)
    tokens = network.config.tokens
    if tuple(tokens) == tuple(columns):
        return network, lexicon, H
    if topology.is_ctc(H):
        # A trained network may have more tokens than the lexicon uses, and in another order.
        lexicon = lexicon.with_tokens(tokens)
        return network, lexicon, make_topology(recipe, lexicon)[0]
    raise OptionError(
        f"the network {config.network.init} has other outputs than the topology of "
        f"{config.graph} reads",
        path=config.path,
        remedy="start from a network that was trained with this recipe",
    )


def _check_topology(config: TrainingConfig, topology_kind: str, is_ctc: bool) -> None:
    """Refuse a loss that the recipe's topology does not fit."""
    required = {"ctc": "ctc", "hmm": "hmm or chain", "transducer": "transducer"}
    loss = config.loss.kind
    fits = (topology_kind == "transducer") == (loss == "transducer")
    if not fits or (loss == "ctc" and not is_ctc) or (loss == "hmm" and is_ctc):
        raise OptionError(
            f"the loss {loss} does not fit the topology of {config.graph}",
            path=config.path,
            remedy=f"give the recipe [topology] kind = {required.get(loss, 'ctc, hmm or chain')}, "
            "or choose another loss",
        )


def _create(network: NetworkSection, columns: tuple[str, ...]) -> Network:
    """The network of a config: trained, new, or a new transducer on a trained encoder."""
    if network.kind == nets.TRANSDUCER:
        if network.init is not None:
            return Transducer.from_encoder(_load(network.init), columns, **network.fields)
        fields = {**network.fields, "tokens": columns}
        return Transducer(section(TransducerConfig, fields, "network", error=ModelError))
    if network.kind is not None:
        return nets.create(network.kind, columns, **network.fields)
    trained = _load(cast(str, network.init))
    return _with_fields(trained, network.fields) if network.fields else trained


def _load(init: str) -> Network:
    """The pretrained Conformer by its name, or a network or transducer from a file."""
    if init == "hama":
        return hama.conformer()
    return Transducer.load(init) if nets.network_kind(init) == nets.TRANSDUCER else nets.load(init)


def _with_fields(network: Network, fields: Mapping[str, Any]) -> Network:
    """A copy of a network with changes in its configuration that do not change its weights."""
    changed = type(network)(replace(network.config, **fields))
    changed.load_state_dict(network.state_dict())
    return changed


def _freeze(config: TrainingConfig, network: Network) -> None:
    """Switch off the gradients of all weights that the config's ``trainable`` does not name."""
    parts = config.network.trainable
    for name, weight in network.named_parameters():
        weight.requires_grad_(not parts or any(part in name for part in parts))
    if not any(weight.requires_grad for weight in network.parameters()):
        raise OptionError(
            f"[network] trainable: no weight's name contains {' or '.join(parts)}",
            path=config.path,
            remedy="names are those of network.named_parameters(), such as norm or output",
        )


def _with_guessed_words(lexicon: Lexicon, cuts: CutSet, report: ReportLine) -> Lexicon:
    """The lexicon with a guessed pronunciation for every word of the transcripts that it lacks."""
    without_disambiguation = lexicon.with_tokens(
        symbols.names(lexicon.tokens)[: lexicon.num_tokens]
    )
    words = [word for cut in cuts for word in data.text_of(cut).split()]
    lexicon, guesses = g2p.complete(without_disambiguation, words)
    if guesses.pronunciations or guesses.left_out:
        report(guesses.report())
    return lexicon


def _batches(config: TrainingConfig, network: Network, loss: nn.Module, cuts: CutSet) -> Loader:
    rank, processes = parallel.world()
    options = config.loader
    if "seed" not in config.content.get("loader", {}):
        options = replace(options, seed=config.training.seed)
    return data.loader(
        cuts,
        network.config.fbank,
        options,
        config.augment,
        sample_rate=network.config.sample_rate,
        labels=FrameLabels.of(network) if isinstance(loss, CrossEntropy) else None,
        rank=rank,
        world_size=processes,
    )


def normalise(network: FbankNetwork, batches: Loader) -> None:
    """Give the network the mean and deviation of the first minutes of training data."""
    frames, remaining = [], _NORMALISED_ON / network.config.fbank.frame_shift
    batches.set_epoch(0)
    for batch in batches:
        for row, length in zip(batch.inputs, batch.lengths.tolist(), strict=True):
            mean = row[:length].mean(0) if network.config.utterance_mean else 0.0
            frames.append(row[:length] - mean)
        remaining -= int(batch.lengths.sum())
        if remaining <= 0:
            break
    features = torch.cat(frames).double()
    network.normalise_with(features.mean(0).float(), features.std(0).float())


def _evaluation(
    config: TrainingConfig,
    network: Network,
    sources: list[Path],
    graph: Path,
    report: ReportLine,
) -> Evaluation:
    """A test set with the graph of a recipe, which is compiled if need be."""
    recipe = config.recipe(graph)
    note = Report(note=lambda text: report(f"{recipe.path.stem}: {text}"))
    decoding = DecodingGraph.load(build(recipe, config.graph_folder(recipe), report=note))
    evaluation = Evaluation(checks.read_cuts(sources), decoding, **config.search)
    evaluation.check(network)
    return evaluation
