"""Training data: Lhotse cuts with transcripts, in batches for a network.

>>> train = cuts("corpus/")                       # or a Kaldi data folder, or Lhotse's manifests
>>> batches = loader(train, FbankOptions(num_filters=40), augmentation=Augmentation(noise=0.3))
>>> for epoch in range(20):
...     batches.set_epoch(epoch)
...     for batch in batches:
...         log_probs, lengths = network(batch.inputs, batch.lengths)

The same seed gives the same batches, in any number of processes, also when an epoch is resumed.
"""

from asr_hlg.data.alignment import FrameLabels, frame_labels, with_alignment
from asr_hlg.data.augmentation import Augmentation, SpecAugment, SpecAugmentOptions
from asr_hlg.data.batches import Batch, Loader, LoaderOptions, loader
from asr_hlg.data.sources import cuts, text_of
from asr_hlg.losses import UNALIGNED

__all__ = [
    "UNALIGNED",
    "Augmentation",
    "Batch",
    "FrameLabels",
    "Loader",
    "LoaderOptions",
    "SpecAugment",
    "SpecAugmentOptions",
    "cuts",
    "frame_labels",
    "loader",
    "text_of",
    "with_alignment",
]
