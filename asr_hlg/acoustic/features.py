"""Log-mel filter banks, for acoustic models that take features rather than waveforms.

They follow Kaldi's definition, computed by kaldifeat where it is installed and by Lhotse otherwise;
the two agree to 1e-4.

>>> [features] = fbank([waveform], sample_rate=16000)
>>> backend(), features.shape
('kaldifeat', torch.Size([664, 80]))
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from asr_hlg.errors import AudioError

if TYPE_CHECKING:
    from lhotse.features import FeatureExtractor
    from torch import Tensor


@dataclass(frozen=True)
class FbankOptions:
    """Options of filter banks; names and defaults are Kaldi's, except for 80 filters.

    Attributes
    ----------
    num_filters : int
        Mel filters: columns of the result.
    frame_length, frame_shift : float
        Seconds.
    low_freq, high_freq : float
        Lowest and highest frequency of the filters, in Hz; ``high_freq`` ≤ 0 is relative to half
        the sample rate.
    dither : float
        Amplitude of noise added to samples in [-1, 1].  0, so that results are reproducible.
    snip_edges : bool
        Drop frames that are not entirely inside the recording.  Off, so that there is one frame
        for every ``frame_shift``.
    """

    num_filters: int = 80
    frame_length: float = 0.025
    frame_shift: float = 0.01
    low_freq: float = 20.0
    high_freq: float = -400.0
    dither: float = 0.0
    snip_edges: bool = False


def backend() -> str:
    """Library that computes filter banks in this installation: ``"kaldifeat"`` or ``"lhotse"``."""
    return "kaldifeat" if importlib.util.find_spec("kaldifeat") else "lhotse"


def fbank(
    waveforms: Sequence[Tensor], sample_rate: int, options: FbankOptions | None = None
) -> list[Tensor]:
    """Compute the filter-bank energies of each utterance.

    Parameters
    ----------
    waveforms : sequence of Tensor
        float32, one dimension each, samples in [-1, 1], all on one device.
    sample_rate : int
        Hz.
    options : FbankOptions, optional
        Default: :class:`FbankOptions`.

    Returns
    -------
    list of Tensor
        float32 ``(frames, num_filters)``, natural logarithms of energies, on the waveforms'
        device.

    Raises
    ------
    AudioError
        If a waveform is too short to have a frame.
    """
    options = options or FbankOptions()
    min_samples = options.frame_length * sample_rate * (1.0 if options.snip_edges else 0.5)
    for number, waveform in enumerate(waveforms):
        if len(waveform) < min_samples:
            raise AudioError(f"waveform {number} has {len(waveform)} samples, too few for a frame")
    extractor = _extractor(backend(), options, sample_rate, str(waveforms[0].device))
    return [extractor.extract(waveform, sample_rate) for waveform in waveforms]


@lru_cache
def _extractor(
    library: str, options: FbankOptions, sample_rate: int, device: str
) -> FeatureExtractor:
    from lhotse.features import Fbank, FbankConfig
    from lhotse.features.kaldifeat import (
        KaldifeatFbank,
        KaldifeatFbankConfig,
        KaldifeatFrameOptions,
        KaldifeatMelOptions,
    )

    if library == "lhotse":
        fields = dataclasses.asdict(options)
        return Fbank(FbankConfig(sampling_rate=sample_rate, device=device, **fields))
    frames = KaldifeatFrameOptions(
        sampling_rate=sample_rate,
        frame_shift=options.frame_shift,
        frame_length=options.frame_length,
        dither=options.dither,
        snip_edges=options.snip_edges,
    )
    mel = KaldifeatMelOptions(
        num_bins=options.num_filters, low_freq=options.low_freq, high_freq=options.high_freq
    )
    return KaldifeatFbank(KaldifeatFbankConfig(frame_opts=frames, mel_opts=mel, device=device))
