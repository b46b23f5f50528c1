"""Stage 7, transcript: the transcripts of consecutive pieces become that of the recording."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from asr_hlg.output.transcript import Alternative, Transcript


def join(id: str, parts: Sequence[Transcript]) -> Transcript:
    """Transcript of a recording from those of its pieces, at least one."""
    alternatives = parts[0].alternatives
    for part in parts[1:]:
        alternatives = best_pairs(alternatives, part.alternatives)
    return Transcript(
        id,
        " ".join(part.text for part in parts if part.text),
        [word for part in parts for word in part.words],
        sum(part.score for part in parts),
        sum(part.duration for part in parts),
        alternatives,
        [note for part in parts for note in part.notes],
    )


def best_pairs(left: Sequence[Alternative], right: Sequence[Alternative]) -> list[Alternative]:
    """Best concatenations of an alternative of one piece and one of the next.

    As many as the longer of both lists has, best first.
    """
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
