"""Transducer network: an encoder, a prediction network, and the joiner of the two.

For frame t of the encoder and u tokens emitted so far,

    p(k | t, u) = softmax( output( tanh( encoder[t] + prediction[u] ) ) )[k]

is the probability that token k is next, or, for ∅ (id 0), that the frame emits nothing more:
Graves, "Sequence Transduction with Recurrent Neural Networks" (2012). Unlike in CTC, the
probabilities of a frame depend on the tokens emitted before.

>>> network = Transducer(TransducerConfig(tokens=("<blk>", "k", "ae", "t"), encoder="tdnn"))
>>> features, lengths = network.encode(torch.zeros(1, 100, 80), torch.tensor([100]))
>>> network.join(network.encoded(features), network.predicted(torch.tensor([[1, 2]]))).shape
torch.Size([1, 34, 3, 4])
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_hlg.acoustic.config import check
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.nets import Network, network_class
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import AsrHlgError, ModelError
from asr_hlg.settings import Bounded, Fraction, Size, section
from asr_hlg.transducer.prediction import Lstm, State, Stateless
from asr_hlg.transducer.targets import LATTICES


@dataclass(frozen=True)
class TransducerConfig(Bounded):
    """Configuration of a :class:`Transducer`.

    Attributes
    ----------
    tokens : tuple of str
        Names of the outputs; id 0 is ∅, named ``<blk>``.
    encoder : str
        A kind of network in :data:`asr_hlg.acoustic.nets.KINDS`.
    encoder_fields : dict
        Fields of its configuration that differ from their defaults.
    stack : int
        Frames of the encoder that are concatenated to one frame of the transducer. More make
        search and training faster.
    prediction : str
        ``stateless`` depends on the last ``context`` tokens, ``lstm`` on all of them.
    context, num_layers : int
        Tokens of context of ``stateless``, and layers of ``lstm``.
    prediction_dim, joiner_dim : int
        Width of the prediction network, and of the sum in the joiner.
    dropout : float
        For the outputs of encoder and prediction network, in training.
    lattice : str
        Alignment lattice of the loss. ``modified``: a frame emits at most one token, as the
        searches assume. ``regular``: it may emit several (Graves 2012); the searches then emit
        only the best one of a frame.
    """

    error_class: ClassVar[type[AsrHlgError]] = ModelError

    tokens: tuple[str, ...]
    encoder: str = "conformer"
    encoder_fields: dict[str, Any] = field(default_factory=dict)
    stack: Size = 1
    prediction: str = "stateless"
    context: Size = 2
    num_layers: Size = 1
    prediction_dim: Size = 128
    joiner_dim: Size = 256
    dropout: Fraction = 0.1
    lattice: str = "modified"

    def __post_init__(self) -> None:
        check(len(self.tokens) > 1, "a transducer needs ∅ and a token")
        kinds = "stateless", "lstm"
        check(self.prediction in kinds, f"prediction is one of {kinds}, not {self.prediction!r}")
        check(self.lattice in LATTICES, f"lattice is one of {LATTICES}, not {self.lattice!r}")
        super().__post_init__()

    @cached_property
    def encoder_config(self) -> Any:
        """Configuration of the encoder."""
        fields = {**self.encoder_fields, "tokens": self.encoder_fields.get("tokens", self.tokens)}
        return section(
            network_class(self.encoder).config_class, fields, "encoder", error=ModelError
        )

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        rate: int = self.encoder_config.sample_rate
        return rate

    @property
    def fbank(self) -> FbankOptions | None:
        """Filter banks that are the encoder's input; None if it takes waveforms."""
        options: FbankOptions | None = self.encoder_config.fbank
        return options

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of the transducer to the next."""
        return self.stack * float(self.encoder_config.frame_shift)


class Transducer(Network):
    """Encoder, prediction network and joiner: log-probabilities of the next token.

    :meth:`forward` is the encoder alone. Losses (:mod:`asr_hlg.transducer.loss`) and searches
    evaluate only the nodes (t, u) that they need.
    """

    kind = "transducer"
    config_class = TransducerConfig

    def __init__(self, config: TransducerConfig) -> None:
        super().__init__(config)
        num_tokens = len(config.tokens)
        self.encoder = network_class(config.encoder)(config.encoder_config)
        # The joiner replaces the encoder's output layer.
        for name in ("output", "projection"):
            if hasattr(self.encoder, name):
                delattr(self.encoder, name)
        self.encoder_dim = config.stack * self.encoder.encoder_dim
        self.prediction: Stateless | Lstm
        if config.prediction == "stateless":
            self.prediction = Stateless(num_tokens, config.prediction_dim, config.context)
        else:
            self.prediction = Lstm(num_tokens, config.prediction_dim, config.num_layers)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder_joiner = nn.Linear(self.encoder_dim, config.joiner_dim)
        self.prediction_joiner = nn.Linear(config.prediction_dim, config.joiner_dim, bias=False)
        self.output = nn.Linear(config.joiner_dim, num_tokens)
        # Logits of the additive joiner, for the first pass of the pruned loss only.
        self.encoder_simple = nn.Linear(self.encoder_dim, num_tokens)
        self.prediction_simple = nn.Linear(config.prediction_dim, num_tokens)

    @classmethod
    def from_encoder(cls, encoder: Network, tokens: Sequence[str], **fields: Any) -> Transducer:
        """Make a transducer from a copy of a trained network as its encoder.

        Parameters
        ----------
        encoder : Network
            Such as :func:`asr_hlg.acoustic.hama.conformer`.
        tokens : sequence of str
            They may differ from the encoder's tokens.
        **fields
            Fields of :class:`TransducerConfig` that do not concern the encoder.
        """
        described = dataclasses.asdict(encoder.config)
        config = {**fields, "tokens": tokens, "encoder": encoder.kind, "encoder_fields": described}
        transducer = cls(section(TransducerConfig, config, "transducer", error=ModelError))
        kept = transducer.encoder.state_dict()
        weights = encoder.state_dict()
        transducer.encoder.load_state_dict({name: weights[name] for name in kept})
        return transducer

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder frames ``(B, T, encoder_dim)`` of padded inputs, and their numbers ``(B,)``."""
        if inputs.shape[1] == 0:  # convolutions need at least one frame
            inputs = inputs.new_zeros(len(inputs), 1, *inputs.shape[2:])
        features, lengths = self.encoder.encode(inputs, lengths)
        stack = self.config.stack
        if stack > 1:
            position = torch.arange(features.shape[1], device=features.device)
            padding = position >= lengths[:, None].to(position)
            features = features.masked_fill(padding[..., None], 0.0)
            features = F.pad(features, (0, 0, 0, -features.shape[1] % stack))
            # Written with sizes that stay variable in an exported network.
            frames = features.shape[1] // stack
            features = features.reshape(features.shape[0], frames, self.encoder_dim)
        return self.dropout(features), self._stacked(lengths)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder frames and their numbers; see :meth:`encode`."""
        return self.encode(inputs, lengths)

    @torch.no_grad()
    def posteriors(self, features: Tensor, lengths: Tensor) -> Posteriors:
        """Pack encoder frames for a decoder, with the log-probabilities before the first token.

        Parameters
        ----------
        features : Tensor
            ``(B, T, encoder_dim)`` from :meth:`encode`.
        lengths : Tensor
            int ``(B,)``.
        """
        log_probs = self.log_probs(self.encoded(features), self.prediction.start(1))
        config, lengths = self.config, lengths.to("cpu", torch.int32)
        return Posteriors(log_probs, lengths, config.frame_shift, config.tokens, features=features)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of the transducer for that many samples or filter-bank frames, int64."""
        return self._stacked(self.encoder.output_lengths(lengths))

    def _stacked(self, lengths: Tensor) -> Tensor:
        return torch.div(lengths + self.config.stack - 1, self.config.stack, rounding_mode="floor")

    def encoded(self, features: Tensor) -> Tensor:
        """Summand of the encoder in the joiner, ``(B, T, joiner_dim)``."""
        summand: Tensor = self.encoder_joiner(features)
        return summand

    def predicted(self, tokens: Tensor) -> Tensor:
        """Summand of the prediction, ``(B, U + 1, joiner_dim)``, for transcripts ``(B, U)``."""
        summand: Tensor = self.prediction_joiner(self.dropout(self.prediction(tokens)))
        return summand

    def join(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits of all nodes (t, u), ``(B, T, U + 1, num_tokens)``."""
        return self.logits(encoded[:, :, None] + predicted[:, None])

    def logits(self, joined: Tensor) -> Tensor:
        """Map sums of the two summands, ``(…, joiner_dim)``, to logits ``(…, num_tokens)``."""
        logits: Tensor = self.output(torch.tanh(joined))
        return logits

    def log_probs(self, encoded: Tensor, state: State) -> Tensor:
        """Log-probabilities of the next token, ``(hypotheses, num_tokens)``.

        ``encoded``, ``(hypotheses, joiner_dim)``, is the encoder's summand of the current frame of
        each hypothesis.
        """
        predicted = self.prediction_joiner(self.prediction.output(state))
        return self.logits(encoded + predicted).log_softmax(-1)
