"""Acoustic models: waveforms to the log-probability of every token in every frame.

>>> model = load("hama")
>>> posteriors = model.posteriors([waveform], sample_rate=16000)
>>> posteriors.log_probs.shape, posteriors.frame_shift
(torch.Size([1, 332, 41]), 0.02)

:mod:`asr_hlg.acoustic.loading` lists the model files that :func:`load` reads.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.acoustic.config import ConformerConfig
    from asr_hlg.acoustic.conformer import Conformer
    from asr_hlg.acoustic.loading import load
    from asr_hlg.acoustic.model import AcousticModel, NetworkModel
    from asr_hlg.acoustic.posteriors import Posteriors
    from asr_hlg.acoustic.precomputed import PrecomputedModel
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.acoustic.config": ["ConformerConfig"],
            "asr_hlg.acoustic.conformer": ["Conformer"],
            "asr_hlg.acoustic.loading": ["load"],
            "asr_hlg.acoustic.model": ["AcousticModel", "NetworkModel"],
            "asr_hlg.acoustic.posteriors": ["Posteriors"],
            "asr_hlg.acoustic.precomputed": ["PrecomputedModel"],
        },
    )

__all__ = [
    "AcousticModel",
    "Conformer",
    "ConformerConfig",
    "NetworkModel",
    "Posteriors",
    "PrecomputedModel",
    "load",
]
