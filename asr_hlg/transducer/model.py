"""The transducer's network: an encoder, a prediction network, and a joiner of the two.

For frame t of the encoder and u tokens said so far,

    p(k | t, u) = softmax( output( tanh( encoder[t] + prediction[u] ) ) )[k]

is the probability that the next thing to say is token k, or nothing more in this frame (∅, id 0):
Graves, "Sequence Transduction with Recurrent Neural Networks" (2012). Other than in CTC, a frame's
probabilities depend on what was said before.

>>> network = Transducer(TransducerConfig(tokens=("<blk>", "k", "ae", "t"), encoder="tdnn"))
>>> features, lengths = network.encode(torch.zeros(1, 100, 80), torch.tensor([100]))
>>> network.join(network.encoded(features), network.predicted(torch.tensor([[1, 2]]))).shape
torch.Size([1, 34, 3, 4])
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_hlg.acoustic.config import check
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.nets import Network, network_class
from asr_hlg.errors import ModelError
from asr_hlg.settings import section
from asr_hlg.transducer.prediction import Lstm, State, Stateless
from asr_hlg.transducer.targets import LATTICES


@dataclass(frozen=True)
class TransducerConfig:
    """The shape of a :class:`Transducer`.

    Attributes
    ----------
    tokens : tuple of str
        What it says; id 0 is ∅, by the name of ``<blk>``.
    encoder : str
        A kind of network in :data:`asr_hlg.acoustic.nets.KINDS`.
    encoder_fields : dict
        Fields of its configuration that differ from their defaults.
    stack : int
        Frames of the encoder that are put side by side to one of the transducer: fewer frames to
        search through, and to sum over in training.
    prediction : str
        ``stateless`` sees ``context`` tokens, ``lstm`` all of them.
    context, num_layers : int
        Of the one and of the other.
    prediction_dim, joiner_dim : int
        Width of the prediction network, and of what is added up.
    dropout : float
        Of encoder and prediction network's outputs, in training.
    lattice : str
        ``modified``: a frame says one token or none, as the searches have it. ``regular``:
        it may say several (Graves' own lattice); searches then take the best one of a frame.
    """

    tokens: tuple[str, ...]
    encoder: str = "conformer"
    encoder_fields: dict = field(default_factory=dict)
    stack: int = 1
    prediction: str = "stateless"
    context: int = 2
    num_layers: int = 1
    prediction_dim: int = 128
    joiner_dim: int = 256
    dropout: float = 0.1
    lattice: str = "modified"

    def __post_init__(self):
        check(len(self.tokens) > 1, "a transducer needs ∅ and a token")
        kinds = "stateless", "lstm"
        check(self.prediction in kinds, f"prediction is one of {kinds}, not {self.prediction!r}")
        check(self.lattice in LATTICES, f"lattice is one of {LATTICES}, not {self.lattice!r}")
        sizes = self.context, self.num_layers, self.prediction_dim, self.joiner_dim, self.stack
        check(min(sizes) > 0, "sizes are positive")
        check(0 <= self.dropout < 1, f"dropout is a probability below 1, not {self.dropout}")

    def encoder_config(self) -> Any:
        """The encoder's own configuration."""
        fields = {**self.encoder_fields, "tokens": self.encoder_fields.get("tokens", self.tokens)}
        return section(
            network_class(self.encoder).config_class, fields, "encoder", error=ModelError
        )

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.encoder_config().sample_rate

    @property
    def fbank(self) -> FbankOptions | None:
        """The filter banks that the encoder takes; None if it takes waveforms."""
        return self.encoder_config().fbank

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of the transducer to the next."""
        return self.stack * self.encoder_config().frame_shift


class Transducer(Network):
    """Sound or filter banks, and what was said so far, to log-probabilities of what comes next.

    Its :meth:`forward` is the encoder alone: losses (:mod:`asr_hlg.transducer.loss`) and searches
    ask for the parts of the joint (t, u) table that they need.
    """

    kind = "transducer"
    config_class = TransducerConfig

    def __init__(self, config: TransducerConfig):
        super().__init__(config)
        num_tokens = len(config.tokens)
        self.encoder = network_class(config.encoder)(config.encoder_config())
        # What follows the encoder is the joiner, not the encoder's own linear layer.
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
        # For the first pass of the pruned loss only: scores that just add up.
        self.encoder_simple = nn.Linear(self.encoder_dim, num_tokens)
        self.prediction_simple = nn.Linear(config.prediction_dim, num_tokens)

    @classmethod
    def on(cls, encoder: Network, tokens: Sequence[str], **fields: Any) -> Transducer:
        """A transducer on a copy of an encoder that has already been trained.

        Parameters
        ----------
        encoder : Network
            Such as :func:`asr_hlg.acoustic.hama.conformer`.
        tokens : sequence of str
            Its own tokens need not be these.
        **fields
            Of :class:`TransducerConfig`, but for the encoder's.
        """
        described = dataclasses.asdict(encoder.config)
        config = {**fields, "tokens": tokens, "encoder": encoder.kind, "encoder_fields": described}
        transducer = cls(section(TransducerConfig, config, "transducer", error=ModelError))
        kept = transducer.encoder.state_dict()
        weights = encoder.state_dict()
        transducer.encoder.load_state_dict({name: weights[name] for name in kept})
        return transducer

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs, padded, to encoder frames ``(B, T, encoder_dim)`` and how many ``(B,)``."""
        if inputs.shape[1] == 0:  # which convolutions do not take
            inputs = inputs.new_zeros(len(inputs), 1, *inputs.shape[2:])
        features, lengths = self.encoder.encode(inputs, lengths)
        stack = self.config.stack
        if stack > 1:
            position = torch.arange(features.shape[1], device=features.device)
            padding = position >= lengths[:, None].to(position)
            features = features.masked_fill(padding[..., None], 0.0)
            features = F.pad(features, (0, 0, 0, -features.shape[1] % stack))
            # Sizes that an export keeps variable.
            frames = features.shape[1] // stack
            features = features.reshape(features.shape[0], frames, self.encoder_dim)
        return self.dropout(features), self._stacked(lengths)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`encode`."""
        return self.encode(inputs, lengths)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        return self._stacked(self.encoder.output_lengths(lengths))

    def _stacked(self, lengths: Tensor) -> Tensor:
        return torch.div(lengths + self.config.stack - 1, self.config.stack, rounding_mode="floor")

    def encoded(self, features: Tensor) -> Tensor:
        """The encoder's summand, ``(B, T, joiner_dim)``."""
        return self.encoder_joiner(features)

    def predicted(self, tokens: Tensor) -> Tensor:
        """The prediction's summand for transcripts ``(B, U)``, ``(B, U + 1, joiner_dim)``."""
        return self.prediction_joiner(self.dropout(self.prediction(tokens)))

    def join(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits of every frame and number of tokens said, ``(B, T, U + 1, num_tokens)``."""
        return self.logits(encoded[:, :, None] + predicted[:, None])

    def logits(self, joined: Tensor) -> Tensor:
        """Sums of the two, ``(…, joiner_dim)``, to logits ``(…, num_tokens)``."""
        return self.output(torch.tanh(joined))

    def log_probs(self, encoded: Tensor, state: State) -> Tensor:
        """Log-probabilities of what hypotheses say next, ``(hypotheses, num_tokens)``.

        ``encoded``, ``(hypotheses, joiner_dim)``, is the encoder's summand of the frame that each
        has come to.
        """
        predicted = self.prediction_joiner(self.prediction.output(state))
        return self.logits(encoded + predicted).log_softmax(-1)
