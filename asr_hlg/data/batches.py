"""Batches of cuts for a network, in a random order that can be repeated and resumed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from lhotse import CutSet, MonoCut
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from asr_hlg.acoustic import features
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.data.alignment import FrameLabels, frame_labels, from_zero
from asr_hlg.data.augmentation import Augmentation, in_memory
from asr_hlg.data.augmentation import noises as generated_noises
from asr_hlg.data.sources import samples_of, text_of
from asr_hlg.errors import AsrHlgError, DataError, OptionError
from asr_hlg.settings import Bounded, Count, NonNegative, Positive, Size

_BUFFER = 20_000
"""Size of the buffer, in cuts, from which batches are drawn; larger sets stream through it."""


@dataclass(frozen=True)
class Batch:
    """A padded batch of utterances.

    Attributes
    ----------
    ids : tuple of str
    inputs : Tensor
        float32, padded with zeros: waveforms ``(B, samples)`` in [-1, 1], or filter banks
        ``(B, frames, num_filters)``.
    lengths : Tensor
        int64 ``(B,)``: number of samples or frames of each utterance.
    texts : tuple of str
        Transcripts: words separated by blanks.
    alignments : tuple of Tensor, optional
        int64 ``(output frames,)`` each: the label of every output frame of the network.
    """

    ids: tuple[str, ...]
    inputs: Tensor
    lengths: Tensor
    texts: tuple[str, ...]
    alignments: tuple[Tensor, ...] | None = None

    def to(self, device: str | torch.device) -> Batch:
        """Move the tensors to a device."""
        alignments = self.alignments
        return replace(
            self,
            inputs=self.inputs.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            alignments=alignments and tuple(labels.to(device) for labels in alignments),
        )


@dataclass(frozen=True)
class LoaderOptions(Bounded):
    """Options of batching.

    Attributes
    ----------
    max_duration : float
        Seconds of sound in a batch, padding included, over all processes. A batch is full when
        another cut as long as its last one would exceed this.
    shuffle : bool
        Shuffle in every epoch; otherwise each bucket keeps the order of the cut set.
    seed : int
        Seed of the order and of augmentation.
    buckets : int
        Number of buckets of cuts with similar durations. A batch comes from one bucket, so more
        buckets mean less padding, and less variety in a batch.
    workers : int
        Processes that load ahead; 0 loads in this process.
    memory : float
        GiB of decoded and resampled sound that may be kept in memory: 1 holds almost 5 hours at
        16 kHz. Larger sets are read anew in every epoch.
    """

    max_duration: Positive = 60.0
    shuffle: bool = True
    seed: Count = 0
    buckets: Size = 10
    workers: Count = 0
    memory: NonNegative = 1.0


def loader(
    cuts: CutSet,
    fbank: FbankOptions | None,
    options: LoaderOptions | None = None,
    augmentation: Augmentation | None = None,
    *,
    sample_rate: int = 16000,
    labels: FrameLabels | None = None,
    noises: CutSet | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Loader:
    """Make a loader of a cut set; small sets are read into memory, and checked in doing so.

    Parameters
    ----------
    cuts : CutSet
        Each with a transcript; see :func:`asr_hlg.data.cuts`.
    fbank : FbankOptions, optional
        Options of filter banks; ``None`` gives waveforms.
    options : LoaderOptions, optional
    augmentation : Augmentation, optional
        Default: none.
    sample_rate : int
        Hz, to which sound is resampled.
    labels : FrameLabels, optional
        Makes the ``alignments`` of batches from the alignments of the cuts.
    noises : CutSet, optional
        Recordings of noise to mix in; by default white and pink noise.
    rank, world_size : int
        Number of this process and number of processes. Each has a share of every batch; together
        the shares are the batch that a single process would have.

    Raises
    ------
    DataError
        If the set is empty, a cut has no transcript or, in a set that fits into memory, a
        recording cannot be read.
    """
    options = options or LoaderOptions()
    augmentation = augmentation or Augmentation()
    if not 0 <= rank < world_size:
        raise OptionError(f"rank {rank} is not one of {world_size} processes")
    if augmentation.noise:
        noises = generated_noises(sample_rate) if noises is None else noises.resample(sample_rate)
    utterances = _Utterances(
        fbank, sample_rate, augmentation, options.seed, labels, list(noises or ())
    )
    cuts = _load_into_memory(cuts, sample_rate, options.memory)
    return Loader(cuts, options, utterances, rank, world_size)


@dataclass(eq=False)
class Loader:
    """Iterates over the batches of an epoch; :func:`loader` makes one."""

    cuts: CutSet
    options: LoaderOptions
    _utterances: _Utterances
    _rank: int
    _world_size: int
    _skip: int = 0

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Select an epoch, and leave out its first ``skip`` batches."""
        self._utterances.epoch = epoch
        self._skip = skip

    def __len__(self) -> int:
        """Number of batches in epoch 0; others may differ, since augmentation changes lengths."""
        return self._num_batches

    def __iter__(self) -> Iterator[Batch]:
        batches = DataLoader(
            self._utterances,
            sampler=self._parts(),
            batch_size=None,
            num_workers=self.options.workers,
            # Its own generator, since the global one is seeded by the training loop.
            generator=torch.Generator(),
        )
        for batch in batches:
            if isinstance(batch, AsrHlgError):
                raise batch
            yield batch

    def _parts(self) -> Iterator[list[Cut]]:
        for batch in islice(self._batches(self._utterances.epoch), self._skip, None):
            yield batch[self._rank :: self._world_size]

    def _batches(self, epoch: int) -> Iterator[list[Cut]]:
        """Batches for all processes together, none with fewer cuts than processes."""
        sampler = DynamicBucketingSampler(
            _Stream(self.cuts, self._utterances.augmentation, self.options, epoch),
            max_duration=self.options.max_duration,
            duration_bins=self._bins,
            shuffle=self.options.shuffle,
            buffer_size=_BUFFER,
            seed=random.Random(f"{self.options.seed} {epoch} batches").getrandbits(32),
            rank=0,
            world_size=1,
        )
        pending: list[Cut] = []
        for batch in sampler:
            if min(len(pending), len(batch)) >= self._world_size:
                yield pending
                pending = []
            pending.extend(batch)
        if len(pending) < self._world_size:
            raise DataError(
                f"{len(pending)} cuts are too few for {self._world_size} processes",
                remedy="train with fewer processes",
            )
        yield pending

    @cached_property
    def _bins(self) -> list[float]:
        """Durations that separate the buckets."""
        stream = _Stream(self.cuts, self._utterances.augmentation, self.options, epoch=0)
        first_cuts = list(islice(stream, _BUFFER // 2))
        buckets = min(self.options.buckets, len(first_cuts))
        bins = estimate_duration_buckets(first_cuts, buckets) if buckets > 1 else []
        return bins or [self.options.max_duration]

    @cached_property
    def _num_batches(self) -> int:
        return sum(1 for _ in self._batches(epoch=0))


@dataclass(frozen=True)
class _Stream:
    """Cuts of an epoch in its order, with their lengths after augmentation."""

    cuts: CutSet
    augmentation: Augmentation
    options: LoaderOptions
    epoch: int

    def __iter__(self) -> Iterator[Cut]:
        cuts: Iterable[Cut] = self.cuts
        if self.options.shuffle:
            rng = random.Random(f"{self.options.seed} {self.epoch} order")
            cuts = self.cuts.shuffle(rng, buffer_size=_BUFFER)
        return self.augmentation.change_lengths(cuts, self.options.seed, self.epoch)


@dataclass(eq=False)
class _Utterances(Dataset[Any]):
    """Makes batches of lists of cuts, in worker processes."""

    fbank: FbankOptions | None
    sample_rate: int
    augmentation: Augmentation
    seed: int
    labels: FrameLabels | None
    noises: Sequence[Cut]
    epoch: int = 0

    def __getitem__(self, cuts: list[Cut]) -> Batch | AsrHlgError:
        # Errors are returned, since the messages of errors raised in a worker contain its
        # traceback.
        try:
            return self._batch(cuts)
        except AsrHlgError as error:
            return error

    def _batch(self, cuts: list[Cut]) -> Batch:
        inputs = [self._input(cut) for cut in cuts]
        lengths = torch.tensor([len(x) for x in inputs])
        return Batch(
            ids=tuple(cut.id for cut in cuts),
            inputs=pad_sequence(inputs, batch_first=True),
            lengths=lengths,
            texts=tuple(text_of(cut) for cut in cuts),
            alignments=self._alignments(cuts, lengths),
        )

    def _input(self, cut: Cut) -> Tensor:
        augmented = self.augmentation.change_sound(cut, self.noises, self.seed, self.epoch)
        waveform = samples_of(augmented, self.sample_rate).clamp_(-1, 1)
        if self.fbank is None:
            return waveform
        try:
            return features.fbank([waveform], self.sample_rate, self.fbank)[0]
        except AsrHlgError:
            raise DataError(
                f"cut {cut.id!r} has {len(waveform)} samples, too few for a frame",
                remedy="leave it out of the training data",
            ) from None

    def _alignments(self, cuts: list[Cut], lengths: Tensor) -> tuple[Tensor, ...] | None:
        if self.labels is None:
            return None
        columns, frame_shift = self.labels.columns, self.labels.frame_shift
        return tuple(
            frame_labels(cut, columns, frame_shift, frames)
            for cut, frames in zip(cuts, self.labels.num_frames(lengths).tolist(), strict=True)
        )


def _load_into_memory(cuts: CutSet, sample_rate: int, gibibytes: float) -> CutSet:
    """Read the sound of the cuts into memory if it fits, and resample it in either case."""
    seconds_left = gibibytes * 2**30 / (4 * sample_rate)
    empty = True
    for cut in cuts:
        empty = False
        seconds_left -= cut.duration
        if seconds_left < 0:
            return cuts.resample(sample_rate)
    if empty:
        raise DataError("the cut set is empty", remedy="check the manifest and how it is filtered")
    return CutSet([_in_memory(cut, sample_rate) for cut in cuts])


def _in_memory(cut: Cut, sample_rate: int) -> Cut:
    text_of(cut)
    samples = samples_of(cut, sample_rate).numpy()
    recording = in_memory(cut.id, samples, sample_rate)
    return MonoCut(cut.id, 0.0, recording.duration, 0, from_zero(cut), recording=recording)
