"""Stage 2, posteriors: log-probabilities of tokens for the frames of a recording.

>>> source = posterior_source(acoustic.load("hama"), TranscribeOptions())
>>> for frames in source.frames(recording):
...     frames.posteriors

A source computes them from sound with an acoustic model, or looks stored ones up by the recording's
id; :func:`posterior_source` alone chooses between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from asr_hlg.acoustic import AcousticModel, PrecomputedModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording
from asr_hlg.audio.resampling import Samples
from asr_hlg.audio.stretches import Stretch
from asr_hlg.errors import AsrHlgError
from asr_hlg.transcribe.options import ReportProgress, TranscribeOptions
from asr_hlg.transcribe.sound import read_short, read_stretches


@dataclass(frozen=True)
class Frames:
    """Consecutive samples of a recording, and the posteriors of their frames.

    Attributes
    ----------
    samples : np.ndarray
        float32 ``(num_samples,)``; empty where posteriors are looked up.
    posteriors : Posteriors
        Of one utterance.
    """

    samples: Samples
    posteriors: Posteriors


BatchItem = Frames | AsrHlgError | None
"""A recording of a batch: its frames, its error, or None if it cannot be part of a batch."""


class PosteriorSource(Protocol):
    """Where the posteriors of a recording come from."""

    def frames(self, recording: Recording) -> Iterator[Frames]:
        """Consecutive frames that cover a recording."""

    def batch(
        self, recordings: Sequence[Recording], report_progress: ReportProgress
    ) -> list[BatchItem]:
        """Frames of recordings, computed together."""


class ComputedPosteriors:
    """Posteriors that an acoustic model computes from sound."""

    def __init__(self, model: AcousticModel, options: TranscribeOptions):
        self._model, self._options = model, options

    def frames(self, recording: Recording) -> Iterator[Frames]:
        """Consecutive frames that cover a recording, a stretch at a time."""
        model = self._model
        stretches = read_stretches(recording, self._options, model.sample_rate, model.frame_shift)
        for stretch in stretches:
            yield self.of_stretch(stretch)

    def of_stretch(self, stretch: Stretch) -> Frames:
        """Frames of a stretch, without its context."""
        posteriors = self._model.posteriors([stretch.samples], self._model.sample_rate)
        span = stretch.frame_span
        return Frames(
            stretch.samples[stretch.sample_span], posteriors.frames(span.start, span.stop)
        )

    def batch(
        self, recordings: Sequence[Recording], report_progress: ReportProgress
    ) -> list[BatchItem]:
        """Frames of recordings that are shorter than a minute; None for longer ones."""
        with ThreadPoolExecutor() as pool:
            sounds = list(pool.map(self._read, recordings))
        report_progress()
        samples = [sound for sound in sounds if isinstance(sound, np.ndarray)]
        if not samples:
            return [sound for sound in sounds if not isinstance(sound, np.ndarray)]
        posteriors = self._model.posteriors(samples, self._model.sample_rate)
        rows = iter(range(len(samples)))
        return [
            Frames(sound, posteriors.utterance(next(rows)))
            if isinstance(sound, np.ndarray)
            else sound
            for sound in sounds
        ]

    def _read(self, recording: Recording) -> Samples | AsrHlgError | None:
        try:
            return read_short(recording, self._options, self._model.sample_rate)
        except AsrHlgError as error:
            return error


class StoredPosteriors:
    """Posteriors that another program has stored, looked up by the id of the recording."""

    def __init__(self, model: PrecomputedModel):
        self._model = model

    def frames(self, recording: Recording) -> Iterator[Frames]:
        """All frames of a recording."""
        yield Frames(np.zeros(0, np.float32), self._model.posteriors_for([recording.id]))

    def batch(
        self, recordings: Sequence[Recording], report_progress: ReportProgress
    ) -> list[BatchItem]:
        """None for each: there is no computation to share."""
        return [None for _ in recordings]


def posterior_source(model: AcousticModel, options: TranscribeOptions) -> PosteriorSource:
    """The source for an acoustic model, which may be a table of stored posteriors."""
    if isinstance(model, PrecomputedModel):
        return StoredPosteriors(model)
    return ComputedPosteriors(model, options)
