"""Options of a transcription, without those of the search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from asr_hlg.errors import OptionError
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe.defaults import MAX_DURATION

Search = Literal["viterbi", "forward", "mbr"]
Written = Literal["never", "second-pass", "always"]

ReportProgress = Callable[[], None]
"""Called after each minute or less of sound, so that a supervisor notices when work stops."""


@dataclass(frozen=True)
class TranscribeOptions:
    """What is read from the lattices, and which recordings are accepted.

    Attributes
    ----------
    search : {"viterbi", "forward", "mbr"}
        The best path; the word sequence whose alignments have the largest total probability; or
        the one with the fewest expected word errors (minimum Bayes risk).
    nbest : int
        How many different word sequences to list for every recording; 1 lists none.
    channel : int or "all", optional
        Which channel of a recording to use, from 0; by default all are averaged. With ``"all"``,
        recordings are listed once for each of their channels.
    passes : PassOptions, optional
        Second passes with larger models; ``PassOptions()`` is none. By default recordings get the
        one that the graph's recipe names, if it is installed, and streams none; so it is in
        ``asr-hlg transcribe``.
    lattices : str, optional
        A folder for the lattices, one Kaldi archive per recording; the pieces of a long recording
        have the names ``ID-1``, ``ID-2``, …
    written : {"never", "second-pass", "always"}
        Whether transcripts also hold their words as they are written. Capitals and punctuation are
        those of Whisper's second pass; without it only numbers, dates and the like are changed.
        "second-pass" is for recordings, or pieces of them, where Whisper ran.
    times : {"hmm", "ctc"}
        How the times of words are found: by a hybrid HMM of English with frames of 10 ms
        (:mod:`asr_hlg.align.times`) where it has the phones of the graph, or by the frames in
        which the acoustic model has its phones.
    phones : bool
        Whether transcripts also hold the phones of their words, where the hybrid HMM found them.
    max_duration : float
        Longer recordings, in seconds, are refused.
    """

    search: Search = "viterbi"
    nbest: int = 1
    channel: int | Literal["all"] | None = None
    passes: PassOptions | None = None
    lattices: str | None = None
    written: Written = "never"
    max_duration: float = MAX_DURATION
    times: Literal["hmm", "ctc"] = "hmm"
    phones: bool = False

    @property
    def channel_number(self) -> int | None:
        """The channel of every recording that is none of a recording's channels itself."""
        return None if self.channel == "all" else self.channel

    def __post_init__(self) -> None:
        if self.search not in ("viterbi", "forward", "mbr"):
            raise OptionError(
                f"unknown search {self.search!r}", remedy="viterbi, forward and mbr are known"
            )
        if self.written not in ("never", "second-pass", "always"):
            raise OptionError(
                f"unknown value {self.written!r} of written",
                remedy="never, second-pass and always are known",
            )
        if self.phones and self.times != "hmm":
            raise OptionError(
                "phones are found by the hybrid HMM", remedy="leave out --phones or --times ctc"
            )
        if self.nbest < 1:
            raise OptionError(f"nbest must be at least 1, not {self.nbest}")
        if not self.max_duration > 0:
            raise OptionError(f"max_duration must be above 0, not {self.max_duration}")
        if self.search == "mbr" and self.passes is not None and self.passes.whisper is not None:
            raise OptionError(
                "Whisper ranks whole sentences, minimum Bayes risk single words",
                remedy="use the search viterbi or forward with Whisper",
            )
