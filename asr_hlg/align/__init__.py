"""Forced alignment of transcripts, and frame labels for training hybrid models.

aligner, guesses = Aligner.from_graph("graphs/en", words)
for word in aligner.align("LJ001-0002", posteriors, "in being comparatively modern").words:
print(word.text, word.start, word.end, word.confidence)
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.align.aligner import Aligner, NoGuesses
    from asr_hlg.align.alignment import Alignment
    from asr_hlg.align.labels import flat_start, realign, share_changed
    from asr_hlg.align.recordings import align_recordings
    from asr_hlg.align.script import Script
    from asr_hlg.align.times import TimeModel
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.align.aligner": ["Aligner", "NoGuesses"],
            "asr_hlg.align.alignment": ["Alignment"],
            "asr_hlg.align.labels": ["flat_start", "realign", "share_changed"],
            "asr_hlg.align.recordings": ["align_recordings"],
            "asr_hlg.align.script": ["Script"],
            "asr_hlg.align.times": ["TimeModel"],
        },
    )

__all__ = [
    "Aligner",
    "Alignment",
    "NoGuesses",
    "Script",
    "TimeModel",
    "align_recordings",
    "flat_start",
    "realign",
    "share_changed",
]
