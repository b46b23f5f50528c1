"""Second passes: what a first search found, judged again by a better model."""

from asr_hlg.rescore.ngram import NgramRescorer, NgramScales

__all__ = ["NgramRescorer", "NgramScales"]
