"""Forced alignment of recordings with their transcripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np

from asr_hlg.acoustic import AcousticModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align.aligner import Aligner
from asr_hlg.align.alignment import Alignment
from asr_hlg.align.matching import match
from asr_hlg.align.optional import Costs
from asr_hlg.align.refining import refine
from asr_hlg.align.script import Script
from asr_hlg.align.times import TimeModel
from asr_hlg.audio import Recording
from asr_hlg.audio.resampling import Samples
from asr_hlg.audio.stretches import Stretch, StretchSplitter
from asr_hlg.errors import AsrHlgError


def align_recordings(
    aligner: Aligner,
    model: AcousticModel,
    recordings: Iterable[Recording],
    texts: Mapping[str, str | Script],
    channel: int | None = None,
    times: TimeModel | None = None,
    on_error: Callable[[Recording, AsrHlgError], None] | None = None,
    *,
    costs: Costs | None = None,
    states: bool = False,
) -> Iterator[Alignment]:
    """Align recordings with their transcripts, one after the other.

    Parameters
    ----------
    aligner : Aligner
    model : AcousticModel
        Computes the posteriors.
    recordings : iterable of Recording
        Of any length: a recording is read in stretches, and its posteriors are kept.
    texts : mapping
        The transcript of every recording, by id. A string is words that blanks separate, which
        must have pronunciations; of a script, words without one are taken for not spoken.
    channel : int, optional
        Channel to align, from 0; by default the average of all.
    times : TimeModel, optional
        Finds the times of words and phones anew; by default those of the model's frames stay.
    on_error : callable, optional
        Called with a recording that cannot be aligned and the reason, after which the next
        recording follows. By default the error is raised.
    costs : Costs, optional
        Of words that the recording lacks, and of sound that the text lacks.
    states : bool
        Whether the alignments have the states of the phones, which needs ``times``.
    """
    for recording in recordings:
        try:
            if recording.id not in texts:
                raise AsrHlgError("there is no transcript with this id")
            text = texts[recording.id]
            if isinstance(text, str):
                aligner.check_words(text.split())
            script = Script.of_words(text) if isinstance(text, str) else text
            posteriors, sound = read_posteriors(model, recording, channel)
            alignment = match(aligner, recording.id, posteriors, script, costs)
            if times is not None:
                blocks = partial(sound.blocks, times.network.sample_rate)
                alignment = refine(alignment, blocks, times, aligner.lexicon.spellings, states)
            yield replace(alignment, duration=sound.duration, sound=recording.path.name)
        except AsrHlgError as error:
            if on_error is None:
                raise
            on_error(recording, error)


@dataclass(frozen=True)
class ReadSound:
    """A recording that has been read once, and whose samples are kept if they are few.

    Attributes
    ----------
    recording : Recording
    channel : int or None
    duration : float
        Seconds.
    sample_rate : int
        Of the samples, in Hz.
    samples : np.ndarray or None
        float32 ``(num_samples,)``; None for a recording of more than one block.
    """

    recording: Recording
    channel: int | None
    duration: float
    sample_rate: int
    samples: Samples | None

    def blocks(self, sample_rate: int) -> Iterator[Samples]:
        """The recording in blocks, at any sample rate; it is read again if need be."""
        if self.samples is not None and sample_rate == self.sample_rate:
            return iter([self.samples])
        return self.recording.blocks(sample_rate, self.channel)


def read_posteriors(
    model: AcousticModel, recording: Recording, channel: int | None
) -> tuple[Posteriors, ReadSound]:
    """Posteriors of a recording, those of a long one computed in stretches, and its sound."""
    rate = model.sample_rate
    blocks = recording.blocks(rate, channel)
    first, second = next(blocks), next(blocks, None)
    if second is None:
        sound = ReadSound(recording, channel, len(first) / rate, rate, first)
        return model.posteriors([first], rate), sound
    splitter = StretchSplitter(rate, model.frame_shift)
    parts: list[Posteriors] = []
    num_samples = 0

    def compute(stretch: Stretch) -> None:
        found = model.posteriors([stretch.samples], rate)
        parts.append(found.frames(stretch.frame_span.start, stretch.frame_span.stop))

    for block in chain([first, second], blocks):
        num_samples += len(block)
        for stretch in splitter.add(block):
            compute(stretch)
    compute(splitter.finish())
    scores = np.concatenate([part.array[0] for part in parts])[None]
    shift, tokens, priors = parts[0].frame_shift, parts[0].tokens, parts[0].priors
    whole = Posteriors(scores, [scores.shape[1]], shift, tokens, priors)
    return whole, ReadSound(recording, channel, num_samples / rate, rate, None)
