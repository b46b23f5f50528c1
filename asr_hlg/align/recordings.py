"""Forced alignment of recordings with their transcripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from asr_hlg.acoustic import AcousticModel
from asr_hlg.align.aligner import Aligner
from asr_hlg.align.alignment import Alignment
from asr_hlg.align.times import TimeModel
from asr_hlg.audio import Recording
from asr_hlg.errors import AsrHlgError


def align_recordings(
    aligner: Aligner,
    model: AcousticModel,
    recordings: Iterable[Recording],
    texts: Mapping[str, str],
    channel: int | None = None,
    times: TimeModel | None = None,
    on_error: Callable[[Recording, AsrHlgError], None] | None = None,
) -> Iterator[Alignment]:
    """Align recordings with their transcripts, one after the other.

    Parameters
    ----------
    aligner : Aligner
    model : AcousticModel
        Computes the posteriors.
    recordings : iterable of Recording
    texts : mapping
        The transcript of every recording, by id.
    channel : int, optional
        Channel to align, from 0; by default the average of all.
    times : TimeModel, optional
        Finds the times of words and phones anew; by default those of the model's frames stay.
    on_error : callable, optional
        Called with a recording that cannot be aligned and the reason, after which the next
        recording follows. By default the error is raised.
    """
    for recording in recordings:
        try:
            if recording.id not in texts:
                raise AsrHlgError("there is no transcript with this id")
            samples = recording.load(model.sample_rate, channel)
            posteriors = model.posteriors([samples], model.sample_rate)
            alignment = aligner.align(recording.id, posteriors, texts[recording.id])
            if times is not None:
                rate, sound = times.network.sample_rate, samples
                if rate != model.sample_rate:
                    sound = recording.load(rate, channel)
                words, phones = times.refine(sound, alignment.words, aligner.lexicon.spellings)
                if all(phones):
                    flat = [phone for of_word in phones for phone in of_word]
                    alignment = replace(alignment, words=words, phones=flat)
            yield replace(alignment, duration=len(samples) / model.sample_rate)
        except AsrHlgError as error:
            if on_error is None:
                raise
            on_error(recording, error)
