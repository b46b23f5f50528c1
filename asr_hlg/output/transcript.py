"""Transcripts: what the decoder says was spoken, when, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Word:
    """One spoken word.

    ``start`` and ``end`` are seconds from the start of the recording; ``confidence`` is the
    word's posterior probability in its time slot, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Alternative:
    """Another word sequence for a recording: its total score and the two shares of it.

    Scores are natural logs; ``score`` is ``acoustic_score + graph_score`` of the best alignment,
    or the sum over all alignments where the search was asked for that.
    """

    text: str
    score: float
    acoustic_score: float
    graph_score: float


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording.

    ``score`` is the natural-log score of the path (graph and scaled acoustics together),
    ``duration`` the recording's length in seconds. ``alternatives`` are the n best word
    sequences, best first, where they were asked for. ``notes`` say where a limit was met and the
    search was not as exact as asked for.
    """

    id: str
    text: str
    words: list[Word] = field(default_factory=list)
    score: float = 0.0
    duration: float = 0.0
    alternatives: list[Alternative] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
