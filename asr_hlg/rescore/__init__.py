"""Second passes: the hypotheses of a search are scored again by larger models."""

from asr_hlg.rescore.ngram import NgramRescorer, NgramScales

__all__ = ["NgramRescorer", "NgramScales"]
