"""Conformer network: waveforms to log-probabilities of tokens.

The network of Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition"
(2020), without relative positions: its convolutions depend on the order of frames. The same class
serves the pretrained weights (:mod:`asr_hlg.acoustic.hama`), training and decoding.

>>> model = Conformer(ConformerConfig(tokens=("<blk>", "k", "ae", "t"), num_blocks=1))
>>> log_probs, lengths = model(torch.zeros(1, 16000), torch.tensor([16000]))
>>> tuple(log_probs.shape), lengths.tolist()
((1, 51, 4), [51])
"""

from __future__ import annotations

import math

import torch
from lhotse.features.kaldi.layers import get_mel_banks
from torch import Tensor, nn
from torch.nn import functional as F

from asr_hlg.acoustic.config import ConformerConfig
from asr_hlg.acoustic.network import Network
from asr_hlg.acoustic.single_precision import LayerNorm, at_least_single


class LogMel(nn.Module):
    """Log-mel energies of padded waveforms, each mirrored at its two ends.

    The spectrum is the power of a Hann-windowed Fourier transform; energies are natural
    logarithms, with a floor of 1e-10 before the logarithm.
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
        # A waveform too short to be mirrored that far repeats its first sample instead.
        index = torch.where(index > last, 2 * last - index, index).clamp(min=0)
        power = self._power(waveforms.gather(1, index))
        energies = (power @ self.filters).clamp(min=1e-10).log()
        return energies, torch.div(lengths, self.hop, rounding_mode="floor") + 1

    def _power(self, waveforms: Tensor) -> Tensor:
        """Squared magnitudes ``(B, frames, window // 2 + 1)`` of the Fourier transform."""
        if not torch.jit.is_scripting():  # noqa: SIM102  (the script compiler needs it outside)
            if torch.onnx.is_in_onnx_export():
                return self._power_by_definition(waveforms)
        spectrum = torch.fft.rfft(waveforms.unfold(1, self.window, self.hop) * self.taper)
        return torch.real(spectrum).square() + torch.imag(spectrum).square()

    def _power_by_definition(self, waveforms: Tensor) -> Tensor:
        """Values of :meth:`_power`, computed slower, in operations that torch can export."""
        time = torch.arange(self.window, device=waveforms.device)
        # Phases are reduced modulo a whole turn while they are integers, so without rounding.
        phases = torch.remainder(time[: self.window // 2 + 1, None] * time, self.window)
        angles = phases * (2 * math.pi / self.window)
        kernels = torch.cat([torch.cos(angles), torch.sin(angles)]) * self.taper
        spectrum = F.conv1d(waveforms[:, None], kernels[:, None], stride=self.hop)
        real, imaginary = spectrum.transpose(1, 2).chunk(2, dim=-1)
        return real.square() + imaginary.square()


class FeedForward(nn.Module):
    """Feed-forward module: two linear maps with SiLU between them, on normalised input."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.norm = LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, frames, dim)`` to ``(B, frames, dim)``."""
        x = self.dropout(F.silu(self.fc1(self.norm(x))))
        x = self.dropout(self.fc2(x))
        return x


class SelfAttention(nn.Module):
    """Multi-head self-attention over the frames of an utterance, without positions."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.norm = LayerNorm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``(B, frames, dim)`` to the same; ``bias`` ``(B, 1, 1, frames)`` is -inf at padding."""
        batch, frames, dim = x.shape
        heads = self.qkv(self.norm(x)).view(batch, frames, 3, self.num_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        query = query / math.sqrt(dim // self.num_heads)
        scores = query @ key.transpose(-2, -1) + bias
        mixed = self.dropout(scores.softmax(-1)) @ value
        x = self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, frames, dim)))
        return x


class Convolution(nn.Module):
    """Convolution module: a gated depthwise convolution over time, on normalised input."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.norm = LayerNorm(config.dim)
        self.pointwise1 = nn.Linear(config.dim, 2 * config.dim)
        self.depthwise = nn.Conv1d(
            config.dim, config.dim, config.kernel, padding=config.kernel // 2, groups=config.dim
        )
        self.pointwise2 = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """``(B, frames, dim)`` to the same; ``padding`` ``(B, frames, 1)`` is true at padding."""
        x = F.glu(self.pointwise1(self.norm(x)), dim=-1)
        # Padding must be zero, as the convolution's own padding outside the tensor is.
        x = x.masked_fill(padding, 0.0)
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        x = self.dropout(self.pointwise2(F.silu(x)))
        return x


class Block(nn.Module):
    """Conformer block: half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.ffn1 = FeedForward(config)
        self.attention = SelfAttention(config)
        self.convolution = Convolution(config)
        self.ffn2 = FeedForward(config)
        self.norm = LayerNorm(config.dim)

    def forward(self, x: Tensor, bias: Tensor, padding: Tensor) -> Tensor:
        """``(B, frames, dim)`` to the same; arguments as for the modules above."""
        x = x + 0.5 * self.ffn1(x)
        x = x + self.attention(x, bias)
        x = x + self.convolution(x, padding)
        x = self.norm(x + 0.5 * self.ffn2(x))
        return x


class Conformer(Network):
    """Conformer with a linear output layer: waveforms to log-probabilities of tokens."""

    kind = "conformer"
    config_class = ConformerConfig
    margin = ConformerConfig.margin
    cpu_batch = ConformerConfig.cpu_batch

    def __init__(self, config: ConformerConfig):
        super().__init__(config)
        self.encoder_dim = config.dim
        self.samples_per_frame = 2 * config.hop
        self.log_mel = LogMel(config)
        self.subsampling = nn.Conv1d(config.num_mels, config.dim, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_blocks))
        self.projection = nn.Linear(config.dim, config.num_units)
        self.merges = len(config.merge) > 0
        self.register_buffer("members", torch.tensor(config.members), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log-probabilities of a padded batch.

        Parameters
        ----------
        waveforms : Tensor
            float32 ``(B, samples)``, in [-1, 1]; samples after an utterance's end are ignored.
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
        return self.merged(at_least_single(self.projection(x))).log_softmax(-1), lengths

    def encode(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Padded waveforms to hidden features ``(B, frames, dim)`` and frames ``(B,)``."""
        features, lengths = self._features(waveforms, lengths)
        features = self.augmented(features, lengths)
        position = torch.arange(features.shape[1], device=features.device)
        features = features.masked_fill((position >= lengths[:, None])[..., None], 0.0)
        # Transposed before GELU: torch 1.13 on the CPU returns wrong gradients for it where they
        # arrive transposed.
        x = F.gelu(self.subsampling(features.transpose(1, 2)).transpose(1, 2))
        lengths = torch.div(lengths + 1, 2, rounding_mode="floor")
        padding = position[: x.shape[1]] >= lengths[:, None]
        bias = torch.zeros_like(padding, dtype=x.dtype).masked_fill(padding, -math.inf)
        for block in self.blocks:
            x = block(x, bias[:, None, None], padding[..., None])
        return x, lengths

    def _features(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel energies in single precision, since half precision cannot hold their range."""
        if not torch.jit.is_scripting():
            with torch.autocast(waveforms.device.type, enabled=False):
                features, lengths = self.log_mel(waveforms, lengths)
                return features, lengths
        features, lengths = self.log_mel(waveforms, lengths)
        return features, lengths

    def merged(self, units: Tensor) -> Tensor:
        """Sum the probabilities of the units of each token.

        Unnormalised log-probabilities ``(B, frames, num_units)`` to ``(B, frames, num_tokens)``.
        """
        if not self.merges:
            return units
        units = F.pad(units, (0, 1), value=-math.inf)
        return units[:, :, self.members].logsumexp(-1)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of output, int64, for numbers of samples."""
        return torch.div(lengths, self.samples_per_frame, rounding_mode="floor") + 1
