"""Hybrid models from transcripts alone: alignment and training take turns.

The first round trains without alignments, by the full sum over them, or on recordings divided
evenly among their states; each round after it trains on what the network of the round before
aligns (see :mod:`asr_hlg.align.realign`). A config asks for it with its rounds::

    [hybrid]
    start = "full_sum"             # or "uniform"
    rounds = [5, 15]               # epochs of each
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor
from tqdm import tqdm

from asr_hlg import data
from asr_hlg.acoustic import nets
from asr_hlg.acoustic.network import Network
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align.forced import Aligner
from asr_hlg.align.realign import flat_start, realign, share_changed
from asr_hlg.errors import DataError, OptionError
from asr_hlg.graph import topology
from asr_hlg.graph.recipe import Recipe
from asr_hlg.train import checks, parallel
from asr_hlg.train.config import LossSection, NetworkSection, TrainingConfig
from asr_hlg.train.evaluate import heard
from asr_hlg.train.result import NAME, Result
from asr_hlg.train.run import MODEL, Say, make_network, train


def train_hybrid(
    config: TrainingConfig, folder: Path, device: str = "cpu", report: Say | None = None
) -> Result:
    """Train by cross-entropy on alignments that improve from round to round.

    Parameters
    ----------
    config : TrainingConfig
        With ``[hybrid]``; its graph has the topology hmm or chain.
    folder : Path
        Gets ``round-1/``, ``round-2/``, …, each a training of its own, and the last one's model
        and result. A round that is finished there is not done again.
    device : str
    report : callable, optional
        Takes lines for the user; default: standard error.

    Returns
    -------
    Result
        Of the last round, with the time of all rounds.
    """
    assert config.hybrid is not None
    if parallel.under_torchrun():
        raise OptionError(
            "rounds of alignment run in one process", path=config.path, remedy="without torchrun"
        )
    say = report or (lambda line: tqdm.write(line, file=sys.stderr))
    aligning = _Aligning(config)
    labels: dict[str, Tensor] = {}
    results: list[Result] = []
    rounds = config.hybrid.rounds
    place = folder
    for number, epochs in enumerate(rounds, start=1):
        before, place = place, folder / f"round-{number}"
        if (place / NAME).is_file():
            results.append(Result.read(place / NAME))
            continue
        own = replace(
            config,
            task=f"{config.task} round {number}",  # kept apart from finished models in tables
            training=replace(config.training, epochs=epochs),
            hybrid=None,
        )
        if number > 1:
            own = replace(own, network=NetworkSection(init=str(before / MODEL)))
        if number < len(rounds):
            own = replace(own, test=())
        if number == 1 and config.hybrid.start == "full_sum":
            own = replace(own, loss=LossSection("hmm"))
        else:
            old = labels
            labels = aligning.flat(say) if number == 1 else aligning.by_network(before / MODEL)
            if old:
                say(f"round {number}: {share_changed(old, labels):.1%} of frames aligned anew")
            own = replace(own, data=replace(own.data, train=[aligning.write(labels, place)]))
        results.append(train(own, place, device, say))
    shutil.copyfile(place / MODEL, folder / MODEL)
    result = replace(
        results[-1],
        task=config.task,
        model=folder.resolve().name,
        epochs=sum(result.epochs for result in results),
        wall_seconds=sum(result.wall_seconds for result in results),
        cpu_seconds=sum(result.cpu_seconds for result in results),
    )
    result.write(folder)
    return result


class _Aligning:
    """The training cuts of a config, and what their alignments need."""

    def __init__(self, config: TrainingConfig):
        recipe = Recipe.read(config.graph)
        self.network, self.lexicon, self.H = make_network(config, recipe)
        if topology.is_ctc(self.H):
            raise OptionError(
                f"{config.graph} has the topology of CTC, which needs no alignments",
                path=config.path,
                remedy='leave [hybrid] out and take the loss "ctc", or the topology "hmm"',
            )
        self.num_states = recipe.topology.num_states if recipe.topology.kind == "hmm" else 2
        self.columns = self.network.config.tokens
        self.frame_shift = self.network.config.frame_shift
        self.cuts = list(checks.read_cuts(config.data.train))
        self.drop_short = config.data.drop_short

    def flat(self, report: Say) -> dict[str, Tensor]:
        """Every recording divided evenly among its states."""
        labels, short = {}, []
        for cut, frames in zip(self.cuts, checks.frames(self.network, self.cuts), strict=True):
            try:
                labels[cut.id] = flat_start(
                    self.lexicon, data.text_of(cut), frames, self.num_states
                )
            except DataError as error:
                if not self.drop_short:
                    raise DataError(f"{cut.id}: {error.message}", remedy=error.remedy) from None
                short.append(cut.id)
        if short:
            report(f"left out {len(short)} utterances too short for their states: {short[0]}, …")
        return labels

    def by_network(self, path: Path) -> dict[str, Tensor]:
        """What a trained network hears where; utterances that it cannot align keep out."""
        aligner = Aligner(self.H, self.lexicon, self.columns)
        return realign(
            aligner, _one_by_one(nets.load(path), self.cuts), on_error=lambda id, error: None
        )

    def write(self, labels: dict[str, Tensor], folder: Path) -> Path:
        """The cuts that have labels, with them, as a manifest."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "aligned.jsonl.gz"
        CutSet(
            data.with_alignment(cut, labels[cut.id].tolist(), self.columns, self.frame_shift)
            for cut in self.cuts
            if cut.id in labels
        ).to_file(path)
        return path


def _one_by_one(network: Network, cuts: Iterable[Cut]) -> Iterator[tuple[str, Posteriors, str]]:
    """Id, posteriors and transcript of every cut."""
    ordered = sorted(cuts, key=lambda cut: (cut.duration, cut.id))
    for batch, together in heard(network, tqdm(ordered, desc="align", unit="cut", disable=None)):
        for row, cut in enumerate(batch):
            one = slice(row, row + 1)
            posteriors = replace(
                together, log_probs=together.log_probs[one], lengths=together.lengths[one]
            )
            yield cut.id, posteriors, data.text_of(cut)
