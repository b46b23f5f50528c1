"""Second passes: the hypotheses of a search are scored again by larger models."""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.rescore.ngram import NgramRescorer, NgramScales
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.rescore.ngram": ["NgramRescorer", "NgramScales"],
        },
    )

__all__ = ["NgramRescorer", "NgramScales"]
