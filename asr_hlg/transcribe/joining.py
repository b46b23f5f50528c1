"""One transcript from those of the pieces that a recording was cut into."""

from __future__ import annotations

import heapq

from asr_hlg.output.transcript import Alternative, Transcript


def join(id: str, duration: float, parts: list[Transcript]) -> Transcript:
    """One transcript from those of consecutive pieces."""
    alternatives = parts[0].alternatives
    for part in parts[1:]:
        alternatives = best_pairs(alternatives, part.alternatives)
    return Transcript(
        id,
        " ".join(part.text for part in parts if part.text),
        [word for part in parts for word in part.words],
        sum(part.score for part in parts),
        duration,
        alternatives,
        [note for part in parts for note in part.notes],
    )


def best_pairs(left: list[Alternative], right: list[Alternative]) -> list[Alternative]:
    """The best sequences of one piece followed by those of the next, as many as either has."""
    pairs = (
        Alternative(
            f"{a.text} {b.text}".strip(),
            a.score + b.score,
            a.acoustic_score + b.acoustic_score,
            a.graph_score + b.graph_score,
        )
        for a in left
        for b in right
    )
    return heapq.nlargest(max(len(left), len(right)), pairs, key=lambda pair: pair.score)
