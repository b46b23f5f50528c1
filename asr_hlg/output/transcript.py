"""Transcript of a recording: words with times and confidences, scores, n-best alternatives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Word:
    """Recognised word with its time and confidence.

    ``start`` and ``end`` are seconds from the start of the recording; ``confidence`` is the
    word's posterior probability in its time slot, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Alternative:
    """Word sequence of an n-best list, with its acoustic score, graph score and their total.

    Scores are natural-log probabilities; ``score`` is ``acoustic_score + graph_score`` of the best
    alignment, or the log-sum over all alignments with ``--search forward``.
    """

    text: str
    score: float
    acoustic_score: float
    graph_score: float


@dataclass(frozen=True)
class Transcript:
    """Recognised words of one recording.

    ``score`` is the natural-log probability of the path (graph and scaled acoustic scores),
    ``duration`` the length of the recording in seconds. ``alternatives`` is the n-best list, best
    first, empty unless it was requested. ``notes`` name limits that made the search narrower than
    requested, and what was noticed in the sound. ``recording`` and ``channel`` name the file and
    the channel for formats that have both, such as CTM; empty for ``id`` and channel 1. ``written``
    holds the words as they are written, with capitals, punctuation and numbers in digits, if that
    was requested: each from the start of the first word that it stands for to the end of the last.
    ``phones`` holds the phones of the words, if they were requested and are known: names instead of
    texts, and the confidences of phones or of their words.
    """

    id: str
    text: str
    words: list[Word] = field(default_factory=list)
    score: float = 0.0
    duration: float = 0.0
    alternatives: list[Alternative] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recording: str = ""
    channel: str = ""
    written: list[Word] = field(default_factory=list)
    phones: list[Word] = field(default_factory=list)

    @property
    def written_text(self) -> str:
        """The written words in one line; empty if they were not requested."""
        return " ".join(word.text for word in self.written)

    def phone_transcript(self) -> Transcript:
        """The phones as the words of a transcript, for formats that have words only."""
        text = " ".join(phone.text for phone in self.phones)
        return replace(self, text=text, words=self.phones, alternatives=[], written=[], phones=[])
