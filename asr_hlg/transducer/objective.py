"""Training objective of transducers: the pruned loss in two passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.errors import ModelError, OptionError
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses import TranscriptLoss
from asr_hlg.settings import Bounded, Bounds, Count, NonNegative, Share
from asr_hlg.transducer import loss
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.targets import Targets

if TYPE_CHECKING:
    from asr_hlg.data import Batch


@dataclass(frozen=True)
class PrunedLossOptions(Bounded):
    """Options of the pruned loss and the weights of its two passes.

    The defaults are those of Kuang et al. (2022), except for the length of the warm-up.

    Attributes
    ----------
    prune_range : int
        Columns of the table, that is, numbers of emitted tokens, that the second pass evaluates in
        every frame.
    simple_scale : float
        Weight of the first pass's loss after the warm-up.
    am_scale, lm_scale : float
        Shares of the encoder alone and of the prediction network alone in the first pass.
    warm_up : int
        Number of steps in which the weights of the two passes go from 1 and 0.1 to
        ``simple_scale`` and 1, since the first pass of an untrained network selects random columns.
    """

    prune_range: Annotated[int, Bounds("at least 2", lambda value: value >= 2)] = 5
    simple_scale: NonNegative = 0.5
    am_scale: Share = 0.0
    lm_scale: Share = 0.25
    warm_up: Count = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.am_scale + self.lm_scale > 1:
            raise OptionError("the sum of am_scale and lm_scale must be at most 1")

    def weights(self, step: int) -> tuple[float, float]:
        """Weights of the simple and of the pruned loss after that many steps."""
        done = min(1.0, step / self.warm_up) if self.warm_up else 1.0
        return 1 - done * (1 - self.simple_scale), 0.1 + 0.9 * done


class TransducerObjective(TranscriptLoss):
    """Transducer with the pruned loss, for :class:`asr_hlg.train.Trainer`.

    The target tokens of a word are its first pronunciation.

    Attributes
    ----------
    network : Transducer
    inputs_per_frame : float
        Samples, or filter-bank frames, to one frame of the transducer.
    steps : Tensor
        int64: number of training batches so far, from which the weights follow; a buffer, so it
        is part of checkpoints.
    """

    steps: Tensor

    def __init__(
        self, network: Transducer, lexicon: Lexicon, options: PrunedLossOptions | None = None
    ):
        super().__init__()
        self.network = network
        self.options = options or PrunedLossOptions()
        self._lexicon = lexicon
        self._position = {name: k for k, name in enumerate(network.config.tokens)}
        missing = [
            token
            for entry in lexicon.entries
            for tokens in lexicon.spellings(entry.word)
            for token in tokens
            if token not in self._position
        ]
        if missing:
            raise ModelError(f"the transducer lacks {missing[0]!r}, which the lexicon needs")
        self.inputs_per_frame = network.config.frame_shift * network.inputs_per_second()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Tensor:
        """Weighted sum of both passes, ``(B,)`` nats; in evaluation with the final weights."""
        step = self.options.warm_up
        if self.training:
            step = int(self.steps)
            self.steps += 1
        simple_weight, pruned_weight = self.options.weights(step)
        features, targets = self._encoded(batch)
        simple, pruned = self._two_passes(features, targets)
        return simple_weight * simple + pruned_weight * pruned

    @torch.no_grad()
    def compare(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The pruned loss and the full one, ``(B,)`` each, in nats."""
        features, targets = self._encoded(batch)
        _, pruned = self._two_passes(features, targets)
        network = self.network
        logits = network.join(network.encoded(features), network.predicted(targets.tokens))
        return pruned, loss.full(logits.float(), targets)

    def targets(self, texts: Sequence[str], num_frames: Tensor) -> Targets:
        """Targets of transcripts, on the device of ``num_frames``."""
        rows = [torch.tensor(self.tokens(text), dtype=torch.int64) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        padded = pad_sequence(rows, batch_first=True, padding_value=1)
        device = num_frames.device
        lattice = self.network.config.lattice
        return Targets(padded.to(device), lengths.to(device), num_frames.long(), lattice)

    def tokens(self, text: str) -> list[int]:
        """Token ids of a transcript.

        Raises
        ------
        LexiconError
            If the lexicon lacks a word.
        """
        spellings = (self._lexicon.spellings(word)[0] for word in text.split())
        return [self._position[token] for spelling in spellings for token in spelling]

    def min_frames(self, text: str) -> int:
        """Number of frames that an alignment of a transcript needs."""
        num_tokens = len(self.tokens(text))
        return num_tokens if self.network.config.lattice == "modified" else min(1, num_tokens)

    def _encoded(self, batch: Batch) -> tuple[Tensor, Targets]:
        features, lengths = self.network.encode(batch.inputs, batch.lengths)
        return features, self.targets(batch.texts, lengths)

    def _two_passes(self, features: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        network, options = self.network, self.options
        prediction = network.dropout(network.prediction(targets.tokens))
        simple, ranges = loss.prune_ranges(
            network.encoder_simple(features),
            network.prediction_simple(prediction),
            targets,
            options.prune_range,
            options.am_scale,
            options.lm_scale,
        )
        pruned = loss.pruned(
            network.encoded(features),
            network.prediction_joiner(prediction),
            ranges,
            network.logits,
            targets,
        )
        return simple, pruned
