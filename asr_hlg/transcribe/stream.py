r"""Transcription of sound while it is recorded.

    stream = transcriber.stream(sample_rate=16000)
    for samples in microphone:
        for transcript in stream.accept(samples):       # of segments that a pause has ended
            print(transcript.text)
        print(stream.partial().text, end="\\r")          # of the segment that goes on
    print(stream.final().text)

The stages are those of a recording (:mod:`asr_hlg.transcribe.pipeline`): resampling, posteriors,
search, second passes; a segment is a piece whose lattice has grown with the sound.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic import AcousticModel, PrecomputedModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.acoustic.streaming import PosteriorStream, WindowOptions
from asr_hlg.audio.recording import SAMPLE_RATES
from asr_hlg.audio.resampling import Samples, StreamResampler
from asr_hlg.errors import AudioError, OptionError
from asr_hlg.lattice import Lattice
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.hypotheses import Hypotheses
from asr_hlg.search import IncrementalDecoder
from asr_hlg.search.decoder import UtteranceDecoder
from asr_hlg.transcribe.endpoints import EndpointDetector, EndpointOptions, Flags, silent_frames
from asr_hlg.transcribe.lattices import DecodedPiece
from asr_hlg.transcribe.pieces import Piece, place_of_cut
from asr_hlg.transcribe.pipeline import Pipeline
from asr_hlg.transcribe.transcript import join

_PART = 50  # frames


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is divided, and how soon its words appear.

    Attributes
    ----------
    window : WindowOptions
        How often the acoustic model runs, and on how much sound.
    endpoints : EndpointOptions
        When a segment ends.
    id : str
        Segments have the ids ``ID-1``, ``ID-2``, ….
    """

    window: WindowOptions = field(default_factory=WindowOptions)
    endpoints: EndpointOptions = field(default_factory=EndpointOptions)
    id: str = "stream"


class Stream:
    """Transcribes one stream of sound; made by :meth:`asr_hlg.Transcriber.stream`.

    A stream is used by one thread at a time; streams of one transcriber may be used by many.

    Raises
    ------
    OptionError
        If the model's posteriors are stored, or the decoder cannot search frame by frame: a
        transducer's, and k2's.
    """

    def __init__(
        self,
        model: AcousticModel,
        pipeline: Pipeline,
        sample_rate: int,
        options: StreamOptions | None = None,
    ):
        self._options = options or StreamOptions()
        self._pipeline, self._model = pipeline, model
        _check(model, pipeline.decoder, sample_rate)
        assert isinstance(pipeline.decoder, UtteranceDecoder)
        self._resampler = StreamResampler(sample_rate, model.sample_rate)
        keeps_phones = model.silence_phones is not None
        self._decoder = IncrementalDecoder(pipeline.decoder, keeps_phones)
        self._network = PosteriorStream(model, self._options.window, self._decoder)
        self._endpoints = EndpointDetector(self._options.endpoints)
        self._number, self._begin = 1, 0  # of the segment, and its first frame
        self._samples = np.zeros(0, np.float32)  # from the segment's first on
        self._posteriors: list[Posteriors] = []  # of the segment
        self._partial: Transcript | None = None
        self._is_closed = False

    def accept(self, samples: npt.NDArray[Any]) -> list[Transcript]:
        """Take more sound; returns the transcripts of segments that ended, if they have words.

        Parameters
        ----------
        samples : np.ndarray
            ``(n,)``, any number: floating-point in [-1, 1], or int16.
        """
        if self._is_closed:
            raise OptionError("the stream is closed", remedy="begin a new one")
        return self._accept(self._resampler.add(_floats(samples)))

    def partial(self) -> Transcript:
        """The words of the segment that goes on, as far as they are known.

        Times are seconds since the start of the stream. The last words may change. A word's
        confidence is 1 as long as its segment goes on.
        """
        if self._partial is None:
            lattice = self._decoder.partial(ahead=self._network.ahead)
            [path] = lattice.best_path()
            start = self._begin * self._model.frame_shift
            words = [
                replace(word, start=word.start + start, end=word.end + start)
                for word in lattice.words([path])[0]
            ]
            duration = int(lattice.scores.lengths[0]) * self._model.frame_shift
            self._partial = Transcript(self._id(), path.text, words, path.score, duration)
        return self._partial

    def final(self) -> Transcript:
        """The transcript of the last segment, perhaps without words; closes the stream."""
        if self._is_closed:
            raise OptionError("the stream is closed", remedy="begin a new one")
        finished = self._accept(self._resampler.add(np.zeros(0, np.float32), is_last=True))
        self._is_closed = True
        for rest in self._network.finish():
            self._search(rest)
        finished.append(self._end_of_segment(self._decoder.finish(), is_last=True))
        return finished[0] if len(finished) == 1 else join(finished[-1].id, finished)

    def _accept(self, samples: Samples) -> list[Transcript]:
        """Take samples at the model's rate."""
        self._samples = np.concatenate([self._samples, samples])
        finished = []
        for posteriors in self._network.accept(samples):
            self._search(posteriors)
            ahead = self._network.ahead
            if self._endpoints.is_silent(self._has_words, self._decoder.final_gap, ahead):
                finished.append(self._end_of_segment(self._decoder.finish()))
            elif self._endpoints.is_too_long():
                finished.append(self._cut())
        return [transcript for transcript in finished if transcript.words]

    def _search(self, posteriors: Posteriors) -> None:
        self._partial = None
        self._posteriors.append(posteriors)
        self._decoder.accept(posteriors)
        self._endpoints.accept(self._silent(posteriors), posteriors.frame_shift)

    def _silent(self, posteriors: Posteriors) -> Flags:
        """Which of the frames that were searched last are silent."""
        phones = self._model.silence_phones
        if phones is None:
            return silent_frames(posteriors)
        return np.isin(self._decoder.last_frames(int(posteriors.lengths[0]))[0], phones)

    def _has_words(self) -> bool:
        return bool(self._decoder.partial().best_path()[0].words)

    def _cut(self) -> Transcript:
        """End a long segment at a pause; the frames behind it begin the next one."""
        posteriors = self._all_posteriors()
        middle = int(posteriors.lengths[0]) // 2
        first = self._sample(self._begin + middle) - self._sample(self._begin)
        last = self._sample(self._begin + int(posteriors.lengths[0])) - self._sample(self._begin)
        part = self._samples[first:last]
        end = middle + place_of_cut(posteriors.frames(middle, None), part)
        self._decoder.restart()
        self._posteriors = [posteriors.frames(0, end)]
        for begin in range(0, end, _PART):  # in parts, which takes less memory
            self._decoder.accept(posteriors.frames(begin, min(end, begin + _PART)))
        transcript = self._end_of_segment(self._decoder.finish())
        if end < int(posteriors.lengths[0]):
            self._search(posteriors.frames(end, None))
        return transcript

    def _end_of_segment(self, lattice: Lattice, is_last: bool = False) -> Transcript:
        """The transcript of the segment, whose frames are searched; begins the next one."""
        if not self._posteriors:
            return Transcript(self._id(), "")
        posteriors = self._all_posteriors()
        end = self._begin + int(posteriors.lengths[0])
        size = len(self._samples) if is_last else self._sample(end) - self._sample(self._begin)
        piece = Piece(self._number, self._begin, self._samples[:size], posteriors, is_last)
        transcript = Transcript(self._id(), "", duration=piece.duration(self._model.sample_rate))
        if lattice.best_path()[0].words:  # second passes have no business with silence
            hypotheses = Hypotheses(lattice, piece.samples, posteriors)
            _, transcript = self._pipeline.read_words(DecodedPiece(piece, hypotheses))
            transcript = join(self._id(), [transcript])
        self._number, self._begin = self._number + 1, end
        self._samples, self._posteriors = self._samples[size:], []
        self._partial = None
        self._endpoints.restart()
        return transcript

    def _all_posteriors(self) -> Posteriors:
        return Posteriors.joined(self._posteriors)

    def _sample(self, frame: int) -> int:
        return round(frame * self._model.frame_shift * self._model.sample_rate)

    def _id(self) -> str:
        return f"{self._options.id}-{self._number}"


def _check(model: AcousticModel, decoder: object, sample_rate: int) -> None:
    """Raise an OptionError if a stream cannot be transcribed with these."""
    if sample_rate not in SAMPLE_RATES:
        limits = f"{SAMPLE_RATES.start} to {SAMPLE_RATES.stop - 1}"
        raise OptionError(f"a sample rate of {sample_rate} Hz is out of range ({limits})")
    if isinstance(model, PrecomputedModel):
        raise OptionError(
            "stored posteriors are no stream", remedy="name an acoustic model with --model"
        )
    if not isinstance(decoder, UtteranceDecoder):
        kind = "a transducer" if model.is_transducer else "the engine k2"
        raise OptionError(
            f"{kind} cannot search sound while it comes",
            remedy="use a CTC or hybrid model, on the CPU, with the engine tokens or fst",
        )


def _floats(samples: npt.NDArray[Any]) -> Samples:
    """Samples as float32 in [-1, 1]."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or (samples.dtype != np.int16 and samples.dtype.kind != "f"):
        raise AudioError(
            f"samples are {samples.dtype} of shape {samples.shape}, expected int16 or "
            "floating-point samples in one dimension",
            remedy="mix channels to one",
        )
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    return samples.astype(np.float32, copy=False)
