"""Forced alignment of recordings with their transcripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

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
            posteriors, duration = read_posteriors(model, recording, channel)
            alignment = match(aligner, recording.id, posteriors, script, costs)
            if times is not None:
                spellings = aligner.lexicon.spellings
                alignment = refine(alignment, recording, channel, times, spellings, states)
            yield replace(alignment, duration=duration, sound=recording.path.name)
        except AsrHlgError as error:
            if on_error is None:
                raise
            on_error(recording, error)


def read_posteriors(
    model: AcousticModel, recording: Recording, channel: int | None
) -> tuple[Posteriors, float]:
    """Posteriors of a recording, computed in stretches, and its length in seconds."""
    splitter = StretchSplitter(model.sample_rate, model.frame_shift)
    parts: list[Posteriors] = []
    num_samples = 0

    def compute(stretch: Stretch) -> None:
        found = model.posteriors([stretch.samples], model.sample_rate)
        parts.append(found.frames(stretch.frame_span.start, stretch.frame_span.stop))

    for block in recording.blocks(model.sample_rate, channel):
        num_samples += len(block)
        for stretch in splitter.add(block):
            compute(stretch)
    compute(splitter.finish())
    if len(parts) == 1:
        return parts[0], num_samples / model.sample_rate
    scores = np.concatenate([part.array[0] for part in parts])[None]
    whole = Posteriors(
        scores, [scores.shape[1]], parts[0].frame_shift, parts[0].tokens, parts[0].priors
    )
    return whole, num_samples / model.sample_rate
