"""Kaldi's MFCCs and filter banks in numpy, as ``compute-mfcc-feats`` without dither gives them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.conf import options_from
from asr_hlg.acoustic.kaldi.reader import Floats
from asr_hlg.errors import ModelError

_BLOCK = 1000  # frames that are transformed together
_MOST_WEIGHTS = 1 << 22  # of the filters, about
_SMALLEST = float(np.finfo(np.float32).eps)
_IGNORED = ("dither", "allow-upsample", "allow-downsample", "vtln-low", "vtln-high", "debug-mel",
            "max-feature-vectors")  # fmt: skip


@dataclass(frozen=True)
class FeatureOptions:
    """Options of ``mfcc.conf`` and ``fbank.conf``, with Kaldi's defaults.

    Attributes
    ----------
    kind : str
        ``mfcc`` or ``fbank``.
    sample_frequency : float
        Hz.
    frame_length, frame_shift : float
        Milliseconds.
    num_mel_bins, num_ceps : int
    low_freq, high_freq : float
        Hz; a ``high_freq`` of 0 or less is counted from half the sample rate.
    """

    kind: str = "mfcc"
    sample_frequency: float = 16000.0
    frame_length: float = 25.0
    frame_shift: float = 10.0
    preemphasis_coefficient: float = 0.97
    remove_dc_offset: bool = True
    window_type: str = "povey"
    blackman_coeff: float = 0.42
    round_to_power_of_two: bool = True
    snip_edges: bool = True
    num_mel_bins: int = 23
    num_ceps: int = 13
    low_freq: float = 20.0
    high_freq: float = 0.0
    cepstral_lifter: float = 22.0
    use_energy: bool = True
    raw_energy: bool = True
    energy_floor: float = 0.0
    htk_compat: bool = False
    use_log_fbank: bool = True
    use_power: bool = True

    @property
    def shift(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_frequency * 0.001 * self.frame_shift)

    @property
    def length(self) -> int:
        """Samples of a frame."""
        return int(self.sample_frequency * 0.001 * self.frame_length)

    @property
    def width(self) -> int:
        """Columns of the features."""
        if self.kind == "mfcc":
            return self.num_ceps
        return self.num_mel_bins + int(self.use_energy)


def read_feature_options(folder: Path) -> FeatureOptions:
    """Options in ``mfcc.conf`` or ``fbank.conf`` of a folder.

    Raises
    ------
    ModelError
        If there is neither, an option is unknown, or the model needs pitch or PLP.
    """
    for name in ("pitch.conf", "online_pitch.conf"):
        if (folder / name).is_file():
            raise ModelError(
                "the model needs pitch features, which are not computed",
                path=folder / name,
                remedy="use a model without pitch",
            )
    for kind in ("mfcc", "fbank"):
        path = folder / f"{kind}.conf"
        if path.is_file():
            defaults = FeatureOptions(kind, use_energy=kind == "mfcc")
            options = options_from(defaults, path, _IGNORED)
            _check(options, path)
            return options
    if (folder / "plp.conf").is_file():
        raise ModelError(
            "the model needs PLP features, which are not computed",
            path=folder / "plp.conf",
            remedy="use a model with MFCCs or filter banks",
        )
    raise ModelError(
        "has neither mfcc.conf nor fbank.conf",
        path=folder,
        remedy="copy the file with which the features of the training were computed",
    )


def num_frames(num_samples: int, options: FeatureOptions, finished: bool = True) -> int:
    """Number of frames of a number of samples, at the end of the recording or before it."""
    shift, length = options.shift, options.length
    if options.snip_edges:
        return 0 if num_samples < length else 1 + (num_samples - length) // shift
    frames = (num_samples + shift // 2) // shift
    if not finished:
        begin = shift // 2 - length // 2
        frames = max(0, min(frames, (num_samples - length - begin) // shift + 1))
    return frames


def compute(samples: Floats, options: FeatureOptions) -> Floats:
    """Features of a recording.

    Parameters
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)`` in [-32768, 32767], as Kaldi reads 16-bit samples.
    options : FeatureOptions

    Returns
    -------
    np.ndarray
        float32 ``(num_frames, width)``.
    """
    frames, energies = num_frames(len(samples), options), _tables(options)
    result = np.empty((frames, options.width), np.float32)
    if not frames:
        return result
    rows = _framed(samples, frames, options)
    for begin in range(0, frames, _BLOCK):
        block = rows[begin : begin + _BLOCK].astype(np.float32)
        result[begin : begin + _BLOCK] = _of_block(block, options, *energies)
    return result


def _framed(samples: Floats, frames: int, options: FeatureOptions) -> Floats:
    """Samples of each frame, ``(frames, length)``."""
    shift, length = options.shift, options.length
    left = 0 if options.snip_edges else length // 2 - shift // 2
    right = max(0, (frames - 1) * shift - left + length - len(samples))
    padded = np.pad(samples, (left, right), mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::shift][:frames]


def _of_block(
    block: Floats, options: FeatureOptions, window: Floats, mel: Floats, cosines: Floats
) -> Floats:
    if options.remove_dc_offset:
        block = block - block.mean(axis=1, keepdims=True, dtype=np.float32)
    energy = np.log(np.maximum((block * block).sum(1), _SMALLEST))
    emphasis = options.preemphasis_coefficient
    if emphasis:
        block[:, 1:] -= emphasis * block[:, :-1]
        block[:, 0] *= 1 - emphasis
    block = block * window
    if not options.raw_energy:
        energy = np.log(np.maximum((block * block).sum(1), _SMALLEST))
    if options.energy_floor > 0:
        energy = np.maximum(energy, np.log(options.energy_floor))
    spectrum = np.fft.rfft(block, 2 * (mel.shape[1] - 1))
    power = spectrum.real**2 + spectrum.imag**2
    if options.kind == "fbank" and not options.use_power:
        power = np.sqrt(power)
    banks = power.astype(np.float32) @ mel.T
    if options.kind == "mfcc" or options.use_log_fbank:
        banks = np.log(np.maximum(banks, _SMALLEST))
    if options.kind == "mfcc":
        return _cepstra(banks, energy, options, cosines)
    if not options.use_energy:
        return banks
    parts = [banks, energy[:, None]] if options.htk_compat else [energy[:, None], banks]
    return np.concatenate(parts, axis=1)


def _cepstra(banks: Floats, energy: Floats, options: FeatureOptions, cosines: Floats) -> Floats:
    """MFCCs of log-mel energies ``(frames, bins)``."""
    cepstra: Floats = banks @ cosines
    if options.use_energy:
        cepstra[:, 0] = energy
    if options.htk_compat:  # C0, or the energy, comes last
        last = cepstra[:, :1] if options.use_energy else cepstra[:, :1] * np.sqrt(2)
        cepstra = np.concatenate([cepstra[:, 1:], last], axis=1)
    return cepstra


@lru_cache
def _tables(options: FeatureOptions) -> tuple[Floats, Floats, Floats]:
    """Window ``(length,)``, filters ``(bins, size / 2 + 1)``, and liftered DCT ``(bins, ceps)``."""
    length, bins = options.length, options.num_mel_bins
    size = 1 << (length - 1).bit_length() if options.round_to_power_of_two else length
    high = options.high_freq
    high = high if high > 0 else options.sample_frequency / 2 + high
    low_mel, high_mel = _mel(options.low_freq), _mel(high)
    edges = low_mel + np.arange(bins + 2) * (high_mel - low_mel) / (bins + 1)
    grid = _mel(np.arange(size // 2 + 1) * options.sample_frequency / size)
    rising = (grid - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - grid) / (edges[2:] - edges[1:-1])[:, None]
    mel = np.maximum(0.0, np.minimum(rising, falling))
    mel[:, -1] = 0.0  # Kaldi leaves the last bin out
    order, place = np.arange(options.num_ceps), np.arange(bins)[:, None] + 0.5
    cosines = np.sqrt(2 / bins) * np.cos(np.pi / bins * place * order)
    cosines[:, 0] = np.sqrt(1 / bins)
    lifter = options.cepstral_lifter
    if lifter:
        cosines *= 1 + 0.5 * lifter * np.sin(np.pi * order / lifter)
    window = _window(options)
    return window.astype(np.float32), mel.astype(np.float32), cosines.astype(np.float32)


def _window(options: FeatureOptions) -> npt.NDArray[np.float64]:
    length = options.length
    phase = 2 * np.pi * np.arange(length) / (length - 1)
    kind, cosine = options.window_type, np.cos(phase)
    if kind == "povey":
        return np.asarray((0.5 - 0.5 * cosine) ** 0.85)
    if kind == "hanning":
        return np.asarray(0.5 - 0.5 * cosine)
    if kind == "hamming":
        return np.asarray(0.54 - 0.46 * cosine)
    if kind == "sine":
        return np.asarray(np.sin(0.5 * phase))
    if kind == "blackman":
        coefficient = options.blackman_coeff
        return np.asarray(coefficient - 0.5 * cosine + (0.5 - coefficient) * np.cos(2 * phase))
    return np.ones(length)


def _mel(frequency: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mel scale of frequencies in Hz."""
    result: npt.NDArray[np.float64] = 1127.0 * np.log1p(np.asarray(frequency) / 700.0)
    return result


def _check(options: FeatureOptions, path: Path) -> None:
    nyquist = options.sample_frequency / 2
    high = options.high_freq if options.high_freq > 0 else nyquist + options.high_freq
    windows = ("povey", "hanning", "hamming", "sine", "blackman", "rectangular")
    for wrong, message in (
        (not 1000 <= options.sample_frequency <= 200_000, "--sample-frequency is out of range"),
        (not 1 <= options.frame_shift <= options.frame_length <= 1000, "the frames' length or shift"
         " is out of range"),
        (not 3 <= options.num_mel_bins <= 1000, "--num-mel-bins is out of range"),
        (not 1 <= options.num_ceps <= options.num_mel_bins or options.kind == "fbank",
         "--num-ceps exceeds --num-mel-bins") if options.kind == "mfcc" else (False, ""),
        (not 0 <= options.low_freq < high <= nyquist, "--low-freq and --high-freq contradict"),
        (options.window_type not in windows, f"the window {options.window_type!r} is unknown"),
    ):  # fmt: skip
        if wrong:
            raise ModelError(message, path=path, remedy="correct the option")
    if options.length * options.num_mel_bins > _MOST_WEIGHTS:
        raise ModelError(
            "the frames are too long for so many --num-mel-bins", path=path,
            remedy="correct the options",
        )  # fmt: skip
