"""The stages of a transcription in their order, each a file of this folder.

===============================================  ============================  ====================
:mod:`~asr_hlg.transcribe.sound`                 Recording → Stretch           read and resample
:mod:`~asr_hlg.transcribe.posteriors`            Stretch → Frames              acoustic model
:mod:`~asr_hlg.transcribe.pieces`                Frames → Piece                cut at pauses
:mod:`~asr_hlg.transcribe.lattices`              Piece → DecodedPiece          search the graph
:mod:`asr_hlg.rescore.passes`                    Hypotheses → Hypotheses       larger models
:mod:`~asr_hlg.transcribe.transcript`            DecodedPieces → Transcript    read and join words
===============================================  ============================  ====================

Every stage takes an immutable record and gives the next one. The first three can also be driven by
samples as they come: :class:`~asr_hlg.audio.stretches.StretchSplitter`,
:meth:`~asr_hlg.transcribe.posteriors.ComputedPosteriors.of_stretch` and
:class:`~asr_hlg.transcribe.pieces.PieceCutter`, followed by :meth:`Pipeline.transcribe_piece`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from asr_hlg.audio import Recording
from asr_hlg.errors import AsrHlgError, SilenceError, WorkerError
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.passes import SecondPass
from asr_hlg.search import Decoder
from asr_hlg.transcribe.ahead import PosteriorsAhead
from asr_hlg.transcribe.batches import with_following
from asr_hlg.transcribe.lattices import DecodedPiece, lattice_archive, search, search_together
from asr_hlg.transcribe.options import ReportProgress, TranscribeOptions
from asr_hlg.transcribe.pieces import Piece, cut
from asr_hlg.transcribe.posteriors import Frames
from asr_hlg.transcribe.transcript import join, read

_MAX_NARROWINGS = 4  # of the beams, before memory counts as too short


@dataclass(frozen=True)
class Pipeline:
    """Stages for one graph and one acoustic model.

    Attributes
    ----------
    source : PosteriorsAhead
    decoder : Decoder
    passes : sequence of SecondPass
    options : TranscribeOptions
    sample_rate : int
        Of the acoustic model, in Hz.
    """

    source: PosteriorsAhead
    decoder: Decoder
    passes: Sequence[SecondPass]
    options: TranscribeOptions
    sample_rate: int

    def transcribe(self, recording: Recording, report_progress: ReportProgress) -> Transcript:
        """Transcribe one recording piece by piece; one of silence has no words."""
        pieces = cut(self.source.frames(recording))
        try:
            return self._join(recording, map(self.transcribe_piece, pieces), report_progress)
        except SilenceError as error:
            return self._without_words(recording, error)

    def transcribe_piece(self, piece: Piece) -> tuple[DecodedPiece, Transcript]:
        """Decode a piece, with narrower beams where memory is short, and read its words."""
        decoder = self.decoder
        notes: tuple[str, ...] = ()
        for _ in range(1 + _MAX_NARROWINGS):
            try:
                return self.read_words(search(decoder, piece, notes))
            except Exception as error:
                if not _is_out_of_memory(error):
                    raise
            decoder = decoder.narrower()
            beams = decoder.options
            notes = (
                f"from {piece.start:.1f} s on searched with beam {beams.search_beam:g} and "
                f"max_active {beams.max_active}: memory ran short",
            )
        raise WorkerError(
            "the memory that a worker may use does not suffice, even with narrow beams",
            remedy="give it more with --max-memory",
        )

    def read_words(self, decoded: DecodedPiece) -> tuple[DecodedPiece, Transcript]:
        """Run the second passes on a decoded piece and read its words."""
        for rescore in self.passes:
            decoded = replace(decoded, hypotheses=rescore(decoded.hypotheses))
        return decoded, read(decoded, self.options, self.sample_rate)

    def _join(
        self,
        recording: Recording,
        parts: Iterable[tuple[DecodedPiece, Transcript]],
        report_progress: ReportProgress,
    ) -> Transcript:
        """Join the transcripts of a recording's pieces, and keep their lattices if required."""
        transcripts = []
        with lattice_archive(self.options.lattices, recording.id) as keep_lattice:
            for decoded, transcript in parts:
                keep_lattice(decoded)
                transcripts.append(transcript)
                report_progress()
        return _of_recording(recording, transcripts, recording.notes)

    def transcribe_together(
        self,
        recordings: Sequence[Recording],
        report_progress: ReportProgress,
        following: Sequence[Recording] = (),
    ) -> list[Transcript | AsrHlgError]:
        """Transcribe recordings as one batch, as halves of it if that fails or memory is too short.

        A thread computes the posteriors of ``following``, the next batch, while this is searched.
        """
        try:
            return self._transcribe_batch(recordings, report_progress, following)
        except AsrHlgError:
            pass  # which recording it concerns shows when it is alone
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            _free_cached_memory()
        if len(recordings) < 2:
            return [self._transcript_or_error(each, report_progress) for each in recordings]
        middle = len(recordings) // 2
        first, second = recordings[:middle], recordings[middle:]
        results = self.transcribe_together(first, report_progress)
        return results + self.transcribe_together(second, report_progress, following)

    def transcribe_batches(
        self, batches: Iterable[list[Recording]], report_progress: ReportProgress
    ) -> Iterator[tuple[list[Recording], list[Transcript | AsrHlgError]]]:
        """Batches and their results, the posteriors of the next computed during each search."""
        try:
            for batch, following in with_following(batches):
                yield batch, self.transcribe_together(batch, report_progress, following)
        finally:
            self.source.wait()

    def _transcribe_batch(
        self,
        recordings: Sequence[Recording],
        report_progress: ReportProgress,
        following: Sequence[Recording],
    ) -> list[Transcript | AsrHlgError]:
        """The same stages, with posteriors and lattices of many recordings computed together."""
        batch = self.source.batch(recordings, report_progress)
        self.source.begin(following, report_progress)
        report_progress()
        pieces = [list(cut([item])) if isinstance(item, Frames) else [] for item in batch]
        decoded = iter(search_together(self.decoder, list(chain.from_iterable(pieces))))
        report_progress()
        results: list[Transcript | AsrHlgError] = []
        for recording, item, own_pieces in zip(recordings, batch, pieces, strict=True):
            if isinstance(item, Frames):
                parts = map(self.read_words, islice(decoded, len(own_pieces)))
                results.append(self._join(recording, parts, report_progress))
            elif item is None:
                results.append(self._transcript_or_error(recording, report_progress))
            elif isinstance(item, SilenceError):
                results.append(self._without_words(recording, item))
            else:
                results.append(item)
        return results

    def _without_words(self, recording: Recording, reason: SilenceError) -> Transcript:
        """Transcript of a silent recording."""
        nothing = Transcript("", "", [], 0.0, recording.expected_duration())
        return _of_recording(recording, [nothing], [reason.message])

    def _transcript_or_error(
        self, recording: Recording, report_progress: ReportProgress
    ) -> Transcript | AsrHlgError:
        """Transcript of one recording, or the error that it ended in."""
        try:
            return self.transcribe(recording, report_progress)
        except AsrHlgError as error:
            return error


def _of_recording(
    recording: Recording, parts: Sequence[Transcript], notes: Sequence[str]
) -> Transcript:
    """Transcript of a recording from those of its pieces, with its names."""
    return replace(
        join(recording.id, parts, notes),
        recording=recording.name,
        channel=recording.channel_name,
    )


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means lack of memory, for which every library has another class."""
    words = ("memory", "ALLOC_FAILED")  # the latter of cuBLAS and cuDNN
    return isinstance(error, MemoryError) or (
        not isinstance(error, AsrHlgError) and any(word in str(error) for word in words)
    )


def _free_cached_memory() -> None:
    """Give memory of the GPU that torch keeps for later to other libraries."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
