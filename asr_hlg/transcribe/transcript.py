"""Stage 5, transcript: words read from the hypotheses for each piece, and the pieces joined.

>>> read(decoded, TranscribeOptions(nbest=2), sample_rate=16000).alternatives
[Alternative('the cat', ...), Alternative('the cats', ...)]
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

from asr_hlg.align.lateness import corrected
from asr_hlg.align.times import TimeModel
from asr_hlg.fst.symbols import UNKNOWN, first_disambig, names
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice, Path
from asr_hlg.output.transcript import Alternative, Transcript, Word
from asr_hlg.rescore.hypotheses import Hypotheses
from asr_hlg.rescore.pronunciations import Pronouncer
from asr_hlg.transcribe.lattices import DecodedPiece
from asr_hlg.transcribe.options import Search, TranscribeOptions

DOUBTFUL = ((8, 0.6), (4, 0.5))
"""Numbers of words, and the mean confidence of so many words or more below which a recording may
be of another language. Measured with the graph ``en``: none of 209 recordings of native speakers
are below, nor 270 of 279 short sentences of learners, many of them children; one of Korean and
five of eleven that a synthesiser spoke in other languages are."""


def read(decoded: DecodedPiece, options: TranscribeOptions, sample_rate: int) -> Transcript:
    """Transcript, without an id, of a piece; times count from the start of the recording."""
    piece, hypotheses = decoded.piece, decoded.hypotheses
    lattice, ranked = hypotheses.lattice, hypotheses.ranked
    answer = ranked[0] if ranked else _best_path(lattice, options.search)
    words: Sequence[Word] = hypotheses.words or ()
    if hypotheses.words is None:
        words = lattice.words([answer])[0]
    phones: list[Word] = []
    if options.times == "hmm":
        words, phones = _by_hmm(words, hypotheses, sample_rate)
    alternatives: Sequence[Path] = ()
    if options.nbest > 1:
        sum_alignments = options.search == "forward"
        alternatives = ranked or lattice.nbest(options.nbest, forward=sum_alignments)[0]
    timed = _shifted(_without_repeats(words), piece.start)
    is_written = options.written == "always" or (
        options.written == "second-pass" and hypotheses.written != ""
    )
    return Transcript(
        "",
        _text(answer),
        timed,
        answer.score,
        piece.duration(sample_rate),
        [
            Alternative(text, path.score, path.acoustic_score, path.graph_score)
            for text, path in _distinct(alternatives[: options.nbest])
        ],
        list(decoded.notes),
        written=_written(timed, hypotheses.written) if is_written else [],
        phones=_shifted(phones, piece.start) if options.phones else [],
    )


def _without_repeats(words: Sequence[Word]) -> list[Word]:
    """Words in which ``[unk]``, which the graph has for every phone, is one word per stretch."""
    kept: list[Word] = []
    for text, group in groupby(words, key=lambda word: word.text):
        same = list(group)
        if text == UNKNOWN:
            mean = sum(word.confidence for word in same) / len(same)
            same = [Word(text, same[0].start, same[-1].end, mean)]
        kept += same
    return kept


def _text(path: Path) -> str:
    """Words of a path, ``[unk]`` once per stretch."""
    pairs = zip(("", *path.words), path.words, strict=False)
    return " ".join(word for before, word in pairs if not before == word == UNKNOWN)


def _distinct(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Paths with their texts; of those with the same text, the first."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(_text(path), path)
    return list(found.items())


def _shifted(words: Sequence[Word], seconds: float) -> list[Word]:
    return [replace(word, start=word.start + seconds, end=word.end + seconds) for word in words]


def _by_hmm(
    words: Sequence[Word], found: Hypotheses, sample_rate: int
) -> tuple[Sequence[Word], list[Word]]:
    """Words with the times of the shipped hybrid HMM where it fits the graph and the sound.

    Also their phones. Words of a second pass that the graph lacks are pronounced by its sources
    or by rule. Where the HMM does not fit, the times of CTC are corrected.
    """
    graph = found.lattice.graph
    if graph.topology != "ctc" or not words:
        return words, []
    model = TimeModel.shipped()
    tokens = names(graph.tokens)[1 : first_disambig(graph.tokens)]
    if sample_rate != model.network.sample_rate or not model.covers(tokens):
        return corrected(words, found.samples, sample_rate), []
    refined, phones = model.refine(found.samples, words, _pronouncer(graph).spellings)
    return refined, [phone for of_word in phones for phone in of_word]


@lru_cache(maxsize=1)
def _pronouncer(graph: DecodingGraph) -> Pronouncer:
    return Pronouncer(graph)


def _best_path(lattice: Lattice, search: Search) -> Path:
    if search == "forward":
        return lattice.forward_path()[0]
    if search == "mbr":
        return lattice.mbr_path()[0]
    return lattice.best_path()[0]


def join(id: str, parts: Sequence[Transcript], notes: Sequence[str] = ()) -> Transcript:
    """Transcript of a recording from those of its pieces, at least one, and notes on its sound."""
    alternatives = parts[0].alternatives
    for part in parts[1:]:
        alternatives = best_pairs(alternatives, part.alternatives)
    words = [word for part in parts for word in part.words]
    return Transcript(
        id,
        " ".join(part.text for part in parts if part.text),
        words,
        sum(part.score for part in parts),
        sum(part.duration for part in parts),
        alternatives,
        [*notes, *doubts(words), *(note for part in parts for note in part.notes)],
        written=_join_written(parts),
        phones=[phone for part in parts for phone in part.phones],
    )


def doubts(words: Sequence[Word]) -> list[str]:
    """A note if the words are so uncertain that the recording may be of another language."""
    limit = next((limit for number, limit in DOUBTFUL if len(words) >= number), 0.0)
    mean = sum(word.confidence for word in words) / max(1, len(words))
    if mean >= limit:
        return []
    return [
        f"the mean confidence of its words is {mean:.2f}: perhaps it is not of the graph's "
        "language, or is very noisy"
    ]


def _join_written(parts: Sequence[Transcript]) -> list[Word]:
    """Written words of all pieces; without a second pass on some, theirs without capitals."""
    if not any(part.written for part in parts):
        return []
    from asr_hlg.output.written import joined

    return joined(part.written or _written(part.words) for part in parts)


def _written(words: Sequence[Word], model: str = "") -> list[Word]:
    """Words as they are written; what computes that is imported when it is needed."""
    from asr_hlg.output.written import written

    return written(words, model)


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
