"""Cuts with transcripts from folders of sound files, Kaldi data folders and Lhotse manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lhotse
import torch
from lhotse import CutSet, SupervisionSegment, SupervisionSet
from lhotse.cut import Cut
from lhotse.utils import fastcopy
from torch import Tensor

from asr_hlg.audio import Recording, recordings
from asr_hlg.audio.manifest import unsafe_name_reason
from asr_hlg.errors import AudioError, DataError
from asr_hlg.output.text import read_transcripts


def cuts(source: str | Path) -> CutSet:
    """Read all utterances of a corpus with their transcripts.

    Parameters
    ----------
    source : path
        One of

        - a folder of sound files, at any depth, and a file ``text`` in it or beside it
          (``id word word …``, the id being the file's name without its ending);
        - a Kaldi data folder: ``wav.scp``, ``text`` and perhaps ``segments``; entries of
          ``wav.scp`` that are commands are refused;
        - a Lhotse manifest of cuts (``.jsonl``, ``.jsonl.gz``);
        - a Lhotse manifest of recordings, with a manifest of supervisions beside it, whose name has
          ``supervisions`` in place of ``recordings``.

    Returns
    -------
    CutSet
        In memory. For a larger one, give ``CutSet.from_jsonl_lazy(path)`` to
        :func:`asr_hlg.data.loader`.

    Raises
    ------
    DataError
        If there are no utterances, one has no transcript, or a recording cannot be opened.
    """
    source = Path(source)
    if not source.exists():
        raise DataError("no such file or folder", path=source)
    utterances: list[Cut] = []
    supervisions: SupervisionSet | None = None
    texts: dict[str, str] | None = None
    for recording in recordings(source):
        if recording.error is not None:
            error = recording.error
            raise DataError(error.message, path=error.path, line=error.line, remedy=error.remedy)
        if isinstance(recording.manifest_entry, Cut):
            utterances.append(recording.manifest_entry)
        elif recording.manifest_entry is not None:
            supervisions = supervisions or _supervisions(source)
            utterances.extend(_supervised(recording.manifest_entry, supervisions))
        else:
            texts = _transcripts(source) if texts is None else texts
            utterances.append(_transcribed(recording, texts, source))
    if not utterances:
        raise DataError("it contains no cuts", path=source, remedy="name another corpus")
    for cut in utterances:
        text_of(cut)
    return CutSet(utterances)


def text_of(cut: Cut) -> str:
    """Transcript of a cut: the texts of its supervisions, in the order of their starts.

    Raises
    ------
    DataError
        If it has no supervision, or one without a text.
    """
    supervisions = sorted(cut.supervisions, key=lambda supervision: supervision.start)
    if not supervisions or any(supervision.text is None for supervision in supervisions):
        raise DataError(
            f"cut {cut.id!r} has no transcript",
            remedy="give it a supervision with a text, or filter it out",
        )
    return " ".join(" ".join(s.text for s in supervisions).split())


def samples_of(cut: Cut, sample_rate: int) -> Tensor:
    """Samples of a cut at a sample rate, float32 ``(samples,)``.

    Raises
    ------
    DataError
        If it cannot be read or is empty.
    """
    try:
        samples = Recording(cut.id, Path(cut.id), manifest_entry=cut).load(sample_rate)
        return torch.from_numpy(samples)
    except AudioError as error:
        raise DataError(
            f"cut {cut.id!r}: {error.message}",
            remedy="repair its recording, or leave it out of the training data",
        ) from None


def _reason(error: Exception) -> str:
    """First line of the message of one of Lhotse's errors, which may be very long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _transcripts(source: Path) -> dict[str, str]:
    for path in (source / "text", source.parent / "text"):
        if path.is_file():
            return read_transcripts(path)
    raise DataError(
        "a file 'text' with the transcripts is missing in this folder",
        path=source,
        remedy="write one line 'id word word …' for each recording",
    )


def _transcribed(recording: Recording, texts: dict[str, str], source: Path) -> Cut:
    """Make a cut of a sound file, or of a segment of one, with its line of ``text``."""
    if recording.id not in texts:
        raise DataError(
            f"utterance {recording.id!r} has no transcript in 'text'",
            path=source,
            remedy="add its line, or remove the recording",
        )
    if reason := unsafe_name_reason(str(recording.path)):
        raise DataError(reason, path=recording.path, remedy="rename it")
    try:
        cut: Cut = lhotse.Recording.from_file(recording.path).to_cut()
        if recording.duration is not None:
            # The end of a segment may be slightly after that of its recording.
            length = min(recording.duration, cut.duration - recording.offset)
            cut = cut.truncate(offset=recording.offset, duration=length)
    except Exception as error:  # Lhotse's readers raise many kinds of errors
        raise DataError(
            f"{recording.id} cannot be read: {_reason(error)}",
            path=recording.path,
            remedy="remove it from the corpus, or repair it",
        ) from None
    supervision = SupervisionSegment(
        recording.id, cut.recording_id, 0.0, cut.duration, text=texts[recording.id]
    )
    return fastcopy(cut, id=recording.id, supervisions=[supervision])


def _supervisions(manifest: Path) -> SupervisionSet:
    path = manifest.with_name(manifest.name.replace("recordings", "supervisions"))
    if path == manifest or not path.is_file():
        raise DataError(
            "a manifest of recordings without a manifest of supervisions",
            path=manifest,
            remedy="name them recordings.jsonl.gz and supervisions.jsonl.gz, or make cuts of them",
        )
    try:
        return SupervisionSet.from_file(path)
    except Exception as error:  # missing or wrong fields raise many kinds of errors
        raise DataError(f"not a manifest of supervisions: {_reason(error)}", path=path) from None


def _supervised(recording: lhotse.Recording, supervisions: SupervisionSet) -> Iterator[Cut]:
    """Cuts of a recording, one for each supervision."""
    whole = CutSet.from_manifests(
        recordings=lhotse.RecordingSet.from_recordings([recording]),
        supervisions=SupervisionSet.from_segments(supervisions.find(recording.id)),
    )
    yield from whole.trim_to_supervisions(keep_overlapping=False)
