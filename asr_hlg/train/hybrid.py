"""Hybrid models from transcripts alone, by alternating alignment and training.

The first round trains on alignments that divide every recording evenly among the states of its
transcript, or without alignments by the full sum over all of them; every later round trains on the
Viterbi alignments of the network of the round before (see :mod:`asr_hlg.align.labels`). The config
gives the rounds::

    [hybrid]
    start = "full_sum"             # or "uniform"
    rounds = [5, 15]               # epochs of each

With ``[tree]``, a decision tree ties states in context from one of the rounds on; see
:mod:`asr_hlg.train.tree`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor
from tqdm import tqdm

from asr_hlg import data
from asr_hlg.acoustic import nets
from asr_hlg.acoustic.network import Network
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align import Aligner, flat_start, realign, share_changed
from asr_hlg.align.labels import frame_paths
from asr_hlg.audio import Recording
from asr_hlg.errors import DataError, OptionError
from asr_hlg.files import replaced
from asr_hlg.fst import symbols
from asr_hlg.graph import topology
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.tied_states import TiedStates
from asr_hlg.train import checks, decision_tree, tree
from asr_hlg.train.config import LossSection, TrainingConfig
from asr_hlg.train.evaluate import acoustic_model, posteriors_of
from asr_hlg.train.options import HybridSection, TreeSection
from asr_hlg.train.prepare import ReportLine, make_network
from asr_hlg.train.result import Result
from asr_hlg.train.single import MODEL
from asr_hlg.train.stages import train_in_turn


def train_hybrid(config: TrainingConfig, folder: Path, device: str, report: ReportLine) -> Result:
    """Train by cross-entropy on alignments that improve from round to round.

    Parameters
    ----------
    config : TrainingConfig
        With ``[hybrid]``; its graph has the topology hmm or chain.
    folder : Path
        Gets ``round-1/``, ``round-2/``, …, each a training by itself, and the last one's model
        and result. A finished round is not repeated.
    device, report :
        As for :func:`asr_hlg.train.run.train`.

    Returns
    -------
    Result
        Of the last round, with the epochs and the time of all rounds.
    """
    assert config.hybrid is not None
    folders = [folder / f"round-{number + 1}" for number in range(len(config.hybrid.rounds))]
    rounds = _Rounds(config, config.hybrid, folders, report)
    return train_in_turn(config, folder, folders, rounds.config_of, device, report)


class _Rounds:
    """The configs of all rounds, and the alignments on which each trains."""

    def __init__(
        self,
        config: TrainingConfig,
        hybrid: HybridSection,
        folders: list[Path],
        report: ReportLine,
    ):
        self.config, self.hybrid, self.folders, self.report = config, hybrid, folders, report
        recipe = Recipe.read(config.graph)
        self.tree_file = folders[0].parent / "tree.txt"
        self.network, self.lexicon, self.H = make_network(config, recipe)
        if topology.is_ctc(self.H):
            raise OptionError(
                f"{config.graph} has the topology of CTC, which needs no alignments",
                path=config.path,
                remedy='leave [hybrid] out and take the loss "ctc", or the topology "hmm"',
            )
        self.num_states = recipe.topology.states_per_phone
        self.columns = self.network.config.tokens
        self.cuts = list(checks.read_cuts(config.data.train))
        self.labels: dict[str, Tensor] = {}

    def config_of(self, number: int) -> TrainingConfig:
        """The config of a round, counted from 0, for which the training data is aligned."""
        training = replace(self.config.training, epochs=self.hybrid.rounds[number])
        config = replace(self.config, training=training, hybrid=None)
        if number == 0 and self.hybrid.start == "full_sum":
            return replace(config, loss=LossSection("hmm"))
        if number == 0:
            labels = self._divide_evenly()
        else:
            model = self.folders[number - 1] / MODEL
            section = self.config.tree
            if section is not None and number + 1 >= section.round:
                config = replace(config, tree_file=self.tree_file)
            if section is not None and number + 1 == section.round:
                model, labels = self._grow(model, section, self.folders[number])
            else:
                labels = self._align(model, config)
            config = config.starting_from(model)
        if self.labels and self._same_columns(number):
            changed = share_changed(self.labels, labels)
            self.report(f"round {number + 1}: the labels of {changed:.1%} of frames changed")
        self.labels = labels
        manifest = self._write(labels, self.folders[number])
        return replace(config, data=replace(config.data, train=[manifest]))

    def _divide_evenly(self) -> dict[str, Tensor]:
        """Labels that give every state of a transcript equally many frames."""
        labels, short = {}, []
        frames = checks.frames(self.network, self.cuts)
        for cut, num_frames in zip(self.cuts, frames, strict=True):
            text = data.text_of(cut)
            try:
                labels[cut.id] = flat_start(self.lexicon, text, num_frames, self.num_states)
            except DataError as error:
                if not self.config.data.drop_short:
                    raise DataError(f"{cut.id}: {error.message}", remedy=error.remedy) from None
                short.append(cut.id)
        if short:
            self.report(
                f"left out {len(short)} utterances too short for their states: {short[0]}, …"
            )
        return labels

    def _same_columns(self, number: int) -> bool:
        """Whether a round has the pdfs of the round before."""
        return self.config.tree is None or number + 1 != self.config.tree.round

    def _align(self, model: Path, config: TrainingConfig) -> dict[str, Tensor]:
        """Viterbi alignments by a trained network; utterances without one are left out."""
        H, self.columns = topology.make_topology(config.recipe(), self.lexicon)
        aligner = Aligner(H, self.lexicon, self.columns)
        utterances = _one_by_one(nets.load(model), self.cuts)
        return realign(aligner, utterances, on_error=lambda id, error: None)

    def _grow(
        self, model: Path, options: TreeSection, folder: Path
    ) -> tuple[Path, dict[str, Tensor]]:
        """Grow the tree; the network with its outputs to start from, and its labels."""
        network = nets.load(model)
        aligner = Aligner(self.H, self.lexicon, self.columns)
        paths = frame_paths(aligner, _one_by_one(network, self.cuts))
        cuts = {cut.id: cut for cut in self.cuts}
        rate = network.config.sample_rate
        aligned = (
            tree.Aligned(tree.cepstra(_waveform(cuts[id], rate), network, len(path.labels)), path)
            for id, path in paths.items()
        )
        phones = [symbols.EPS, *symbols.names(self.lexicon.tokens)[1 : self.lexicon.num_tokens]]
        silence = self.lexicon.silence
        text = decision_tree.grow(
            tree.collect(aligned, self.num_states),
            phones,
            self.num_states,
            decision_tree.read_questions(options.questions, phones, silence),
            options,
            independent=[] if silence is None else [phones.index(silence)],
        )
        with replaced(self.tree_file) as part:
            part.write_text(text, encoding="utf-8")
        states = TiedStates.read(self.tree_file, phones, self.num_states, options.context)
        self.report(f"{len(states.pdfs) - 1} pdfs in context: {self.tree_file}")
        self.columns = states.pdfs
        folder.mkdir(parents=True, exist_ok=True)
        initial = folder / "initial.npz"
        tree.with_outputs(network, states).save(initial)
        return initial, {id: tree.tied_labels(path, states) for id, path in paths.items()}

    def _write(self, labels: dict[str, Tensor], folder: Path) -> Path:
        """Write a manifest of the cuts that have labels, with their labels."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "aligned.jsonl.gz"
        frame_shift = self.network.config.frame_shift
        CutSet(
            data.with_alignment(cut, labels[cut.id].tolist(), self.columns, frame_shift)
            for cut in self.cuts
            if cut.id in labels
        ).to_file(path)
        return path


def _waveform(cut: Cut, rate: int) -> Tensor:
    return torch.as_tensor(Recording(cut.id, Path(cut.id), manifest_entry=cut).load(rate))


def _one_by_one(network: Network, cuts: Iterable[Cut]) -> Iterator[tuple[str, Posteriors, str]]:
    """Id, posteriors and transcript of every cut."""
    ordered = sorted(cuts, key=lambda cut: (cut.duration, cut.id))
    bar = tqdm(ordered, desc="align", unit="cut", disable=None)
    for batch, posteriors in posteriors_of(acoustic_model(network), bar):
        for row, cut in enumerate(batch):
            yield cut.id, posteriors.utterance(row), data.text_of(cut)
