"""Kaldi's log-mel filter banks in numpy, for models that run without torch.

They equal :func:`asr_hlg.acoustic.features.fbank`, which training uses, to 1e-3.
"""

from __future__ import annotations

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.filter_banks import FilterOptions, Floats, filter_banks


def fbank(samples: Floats, sample_rate: int, options: FbankOptions) -> Floats:
    """Filter-bank energies of one utterance, as Kaldi's ``compute-fbank-feats``.

    Povey's window, pre-emphasis of 0.97, without dither; frames at the edges see the samples
    mirrored (``snip_edges`` off).

    Parameters
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)`` in [-1, 1].
    sample_rate : int
        Hz.
    options : FbankOptions

    Returns
    -------
    np.ndarray
        float32 ``(num_frames, num_filters)``, natural logarithms; a frame for every
        ``frame_shift``, rounded.
    """
    return filter_banks(
        samples,
        sample_rate,
        FilterOptions(
            num_filters=options.num_filters,
            frame_length=options.frame_length,
            frame_shift=options.frame_shift,
            low_freq=options.low_freq,
            high_freq=options.high_freq,
        ),
    )
