"""The neural acoustic model: a small Conformer from samples to log-probabilities of tokens.

The network of Gulati et al., "Conformer: Convolution-augmented Transformer for Speech
Recognition" (2020), without relative positions: its convolutions tell it where it is.  One class
serves the pretrained weights (:mod:`asr_hlg.acoustic.hama`), training and decoding.

>>> model = Conformer(ConformerConfig(tokens=("<blk>", "k", "ae", "t"), num_blocks=1))
>>> log_probs, lengths = model(torch.zeros(1, 16000), torch.tensor([16000]))
>>> tuple(log_probs.shape), lengths.tolist()
((1, 51, 4), [51])
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import torch
from lhotse.features.kaldi.layers import get_mel_banks
from torch import Tensor, nn
from torch.nn import functional as F

from asr_hlg.acoustic.config import check
from asr_hlg.acoustic.network import Network


@dataclass(frozen=True)
class ConformerConfig:
    """The shape of a :class:`Conformer`; the defaults are the pretrained model's.

    Attributes
    ----------
    tokens : tuple of str
        The names of the columns that the model returns.
    merge : tuple of int
        For networks that were trained on other units: output unit ``i`` of the network counts
        to column ``merge[i]``, or to none where that is -1.  Empty: units are the tokens.
    sample_rate : int
        Hz.
    window, hop : int
        Samples in a spectral frame, and from one to the next.  Frames of posteriors are
        two hops apart.
    num_mels, dim, num_blocks, num_heads, ffn_dim, kernel : int
        Mel filters, width of the network, its blocks, attention heads, hidden width of the
        feed-forward modules, and frames that a depthwise convolution sees (odd).
    dropout : float
        Probability of dropping an activation in training.
    """

    tokens: tuple[str, ...]
    merge: tuple[int, ...] = ()
    sample_rate: int = 16000
    window: int = 400
    hop: int = 160
    num_mels: int = 80
    dim: int = 144
    num_blocks: int = 4
    num_heads: int = 4
    ffn_dim: int = 576
    kernel: int = 31
    dropout: float = 0.0

    def __post_init__(self):
        sizes = (self.sample_rate, self.window, self.hop, self.num_mels, self.dim, self.num_heads)
        check(min(*sizes, self.num_blocks, self.ffn_dim) > 0, "sizes are positive")
        divides = self.dim % self.num_heads == 0
        check(divides, f"width {self.dim} does not divide into {self.num_heads} heads")
        odd = self.kernel > 0 and self.kernel % 2 == 1
        check(odd, f"a depthwise kernel has an odd number of frames, not {self.kernel}")
        fine = self.num_mels <= min(512, self.window // 2) and self.hop <= self.window
        check(fine, "mel filters are at most 512 and half the window, and hops at most a window")
        check(self.window <= self.sample_rate <= 1_000_000, "a window is a second at the most")
        units = Counter(self.merge or range(len(self.tokens)))
        del units[-1]
        check(bool(self.tokens), "a network needs at least one token")
        columns = set(range(len(self.tokens)))
        check(columns <= set(units), "merge leaves a token without an output unit")
        check(set(units) <= columns, "merge names a column that no token has")
        most = max(units.values()) * len(self.tokens)
        check(most <= 10_000_000, "merge gives one token too many units")
        check(0 <= self.dropout < 1, f"dropout is a probability below 1, not {self.dropout}")

    @property
    def num_units(self) -> int:
        """Outputs of the network itself, before ``merge``."""
        return len(self.merge) or len(self.tokens)

    @property
    def fbank(self) -> None:
        """None: the network takes waveforms."""
        return None

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame of posteriors to the next."""
        return 2 * self.hop / self.sample_rate


class LogMel(nn.Module):
    """Log-mel energies of padded waveforms; each is reflected at its own two ends.

    The spectrum is the power of a Hann-windowed Fourier transform, natural logarithm,
    energies below 1e-10 counted as 1e-10.
    """

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.window = config.window
        self.hop = config.hop
        rate = float(config.sample_rate)
        filters, _ = get_mel_banks(config.num_mels, config.window, rate, 0.0, rate / 2)
        # The library leaves out the highest bin, which no filter covers.
        self.register_buffer("filters", F.pad(filters, (0, 1)).T.contiguous().float())
        self.register_buffer("taper", torch.hann_window(config.window), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, samples), (B,)`` to energies ``(B, frames, num_mels)`` and frames ``(B,)``."""
        half = self.window // 2
        index = torch.arange(-half, waveforms.shape[1] + half, device=waveforms.device).abs()
        last = lengths[:, None] - 1
        # What is too short to be reflected that far goes on with its first sample.
        index = torch.where(index > last, 2 * last - index, index).clamp(min=0)
        power = self._power(waveforms.gather(1, index))
        energies = (power @ self.filters).clamp(min=1e-10).log()
        return energies, 1 + torch.div(lengths, self.hop, rounding_mode="floor")

    def _power(self, waveforms: Tensor) -> Tensor:
        """Squared magnitudes ``(B, frames, window // 2 + 1)`` of the Fourier transform."""
        if not torch.jit.is_scripting():  # noqa: SIM102  (the script compiler needs it outside)
            if torch.onnx.is_in_onnx_export():
                return self._power_by_definition(waveforms)
        spectrum = torch.fft.rfft(waveforms.unfold(1, self.window, self.hop) * self.taper)
        return torch.real(spectrum).square() + torch.imag(spectrum).square()

    def _power_by_definition(self, waveforms: Tensor) -> Tensor:
        """The same, slower, in operations that torch can export."""
        time = torch.arange(self.window, device=waveforms.device)
        # Whole turns are dropped while the numbers are integers, and so exact.
        turns = torch.remainder(time[: self.window // 2 + 1, None] * time, self.window)
        angles = turns * (2 * math.pi / self.window)
        kernels = torch.cat([angles.cos(), angles.sin()]) * self.taper
        spectrum = F.conv1d(waveforms[:, None], kernels[:, None], stride=self.hop)
        real, imaginary = spectrum.transpose(1, 2).chunk(2, dim=-1)
        return real.square() + imaginary.square()


class FeedForward(nn.Module):
    """Two linear maps with SiLU between them, on normalised input."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.dropout(F.silu(self.fc1(self.norm(x))))))


class SelfAttention(nn.Module):
    """Multi-head attention of every frame to every frame of its utterance, without positions."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.norm = nn.LayerNorm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``bias`` ``(B, 1, 1, frames)`` is 0 at real frames and -inf at padding."""
        batch, frames, dim = x.shape
        heads = self.qkv(self.norm(x)).view(batch, frames, 3, self.num_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        query = query / math.sqrt(dim // self.num_heads)
        scores = query @ key.transpose(-2, -1) + bias
        mixed = self.dropout(scores.softmax(-1)) @ value
        return self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, frames, dim)))


class Convolution(nn.Module):
    """Gated convolution over time, each channel by itself."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.pointwise1 = nn.Linear(config.dim, 2 * config.dim)
        self.depthwise = nn.Conv1d(
            config.dim, config.dim, config.kernel, padding=config.kernel // 2, groups=config.dim
        )
        self.pointwise2 = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """``padding`` ``(B, frames, 1)`` is true past an utterance's end."""
        x = F.glu(self.pointwise1(self.norm(x)), dim=-1)
        # Padding must be as silent as what lies outside the tensor.
        x = x.masked_fill(padding, 0.0)
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.pointwise2(F.silu(x)))


class Block(nn.Module):
    """Half a feed-forward module, attention, convolution, the other half, normalisation."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.ffn1 = FeedForward(config)
        self.attention = SelfAttention(config)
        self.convolution = Convolution(config)
        self.ffn2 = FeedForward(config)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, bias: Tensor, padding: Tensor) -> Tensor:
        x = x + 0.5 * self.ffn1(x)
        x = x + self.attention(x, bias)
        x = x + self.convolution(x, padding)
        x = x + 0.5 * self.ffn2(x)
        return self.norm(x)


class Conformer(Network):
    """Waveforms to log-probabilities of tokens; trainable, and ``torch.jit.script`` takes it.

    Parameters
    ----------
    config : ConformerConfig
        The shape of the network and the names of its outputs.
    """

    kind = "conformer"
    config_class = ConformerConfig
    # The pretrained network expects some. With the graph `en`, LJ Speech's WER falls from 8.0 % to
    # 7.6 %, and 148 instead of 194 of 250 tightly cut digits fail.
    margin = 0.32

    def __init__(self, config: ConformerConfig):
        super().__init__(config)
        self.encoder_dim = config.dim
        self.samples_per_frame = 2 * config.hop
        self.log_mel = LogMel(config)
        self.subsampling = nn.Conv1d(config.num_mels, config.dim, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_blocks))
        self.projection = nn.Linear(config.dim, config.num_units)
        self.merges = len(config.merge) > 0
        self.register_buffer("members", _members(config), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Recognise a padded batch.

        Parameters
        ----------
        waveforms : Tensor
            float32 ``(B, samples)``, in [-1, 1]; what lies past an utterance's length is ignored.
        lengths : Tensor
            int64 ``(B,)``: samples of each utterance.

        Returns
        -------
        log_probs : Tensor
            float32 ``(B, frames, num_tokens)``, normalised.
        lengths : Tensor
            int64 ``(B,)``: frames of each utterance, ``(samples // hop) // 2 + 1``.
        """
        x, lengths = self.encode(waveforms, lengths)
        return self.merged(self.projection(x)).log_softmax(-1), lengths

    def encode(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        features, lengths = self._features(waveforms, lengths)
        if not torch.jit.is_scripting():  # noqa: SIM102  (the script compiler needs it outside)
            if self.training and self.augment is not None:
                features = self.augment(features, lengths)
        position = torch.arange(features.shape[1], device=features.device)
        features = features.masked_fill((position >= lengths[:, None])[..., None], 0.0)
        # Transposed before GELU: torch 1.13 on the CPU returns garbage for its gradient where that
        # arrives transposed.
        x = F.gelu(self.subsampling(features.transpose(1, 2)).transpose(1, 2))
        lengths = torch.div(lengths + 1, 2, rounding_mode="floor")
        padding = position[: x.shape[1]] >= lengths[:, None]
        bias = torch.zeros_like(padding, dtype=x.dtype).masked_fill(padding, -math.inf)
        for block in self.blocks:
            x = block(x, bias[:, None, None], padding[..., None])
        return x, lengths

    def _features(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if not torch.jit.is_scripting():
            # Energies span more than half precision can hold.
            with torch.autocast(waveforms.device.type, enabled=False):
                return self.log_mel(waveforms, lengths)
        return self.log_mel(waveforms, lengths)

    def merged(self, units: Tensor) -> Tensor:
        """Sum the probabilities of the units that count to one token.

        Unnormalised log-probabilities in, ``(B, frames, num_units)``, and out, ``(B, frames,
        num_tokens)``.
        """
        if not self.merges:
            return units
        units = F.pad(units, (0, 1), value=-math.inf)
        return units[:, :, self.members].logsumexp(-1)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        return torch.div(lengths, self.samples_per_frame, rounding_mode="floor") + 1


def _members(config: ConformerConfig) -> Tensor:
    """The units of each token, int64 ``(num_tokens, most units)``, filled with ``num_units``."""
    groups: list[list[int]] = [[] for _ in config.tokens]
    for unit, token in enumerate(config.merge):
        if token >= 0:
            groups[token].append(unit)
    most = max(map(len, groups))
    return torch.tensor([g + [config.num_units] * (most - len(g)) for g in groups])
