"""Alignment of a script with the posteriors of its recording, which may differ from each other.

alignment = match(aligner, "talk", posteriors, Script.of_text(text))
alignment.unmatched, alignment.lines
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from asr_hlg.acoustic import likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align import anchors, windows
from asr_hlg.align.aligner import Aligner
from asr_hlg.align.alignment import Alignment, Line, Token, phone_confidences, word_confidences
from asr_hlg.align.optional import Costs, Floats, Ints, OptionalPath
from asr_hlg.align.script import Pronounced, Script, Units
from asr_hlg.errors import AsrHlgError, LexiconError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.graph import topology_arcs
from asr_hlg.lattice.path import Segment
from asr_hlg.output.transcript import Word
from asr_hlg.search import SearchOptions

MIN_SHARE = 0.15
"""Of the words, or of the recording: below it in both, they do not belong together."""

_LATE = 0.1  # seconds by which CTC may have the end of an utterance too late

MIN_RUN = 5
"""Words that follow each other in text and sound; of a shorter text half of the words."""


def match(
    aligner: Aligner, id: str, posteriors: Posteriors, script: Script, costs: Costs | None = None
) -> Alignment:
    """Align a script with a recording; words may be left out, and sound may be between them.

    Parameters
    ----------
    aligner : Aligner
    id : str
        The recording's id, for the result.
    posteriors : Posteriors
        Of one utterance of any length.
    script : Script
    costs : Costs, optional
        Of words that are skipped and sound that is unmatched.

    Raises
    ------
    LexiconError
        If no word has a pronunciation.
    AsrHlgError
        If the recording contains something else than the script.
    """
    if not topology_arcs.is_ctc(aligner.H):
        return _without_skips(aligner, id, posteriors, script)
    shift, num_frames = posteriors.frame_shift, int(posteriors.lengths[0])
    units = Units.of(script, aligner.lexicon)
    written = [token for line in script.lines for token, _ in line.tokens]
    if not written:
        return Alignment(id, "", duration=num_frames * shift)
    unknown = [token for token, ways in zip(written, units.pronounced, strict=True) if not ways]
    costs = costs or Costs()
    if unknown and (len(unknown) == len(written) or costs.skip == np.inf):
        raise LexiconError(f"no pronunciation for {', '.join(dict.fromkeys(unknown))}")
    mapped = likelihoods.map_tokens(posteriors, aligner.columns)
    path = _path(aligner, mapped, script, units, costs)
    alignment = replace(_alignment(id, path, script, units, shift), duration=num_frames * shift)
    _check(alignment, units, num_frames)
    best = mapped.array[0, :num_frames].max(axis=1).sum(dtype=np.float64)
    score = path.score + float(best)
    return replace(alignment, score=score)


def _path(
    aligner: Aligner, posteriors: Posteriors, script: Script, units: Units, costs: Costs
) -> OptionalPath:
    """The best path of all tokens: of the lines within their times, if they have any."""
    shift, num_frames = posteriors.frame_shift, int(posteriors.lengths[0])
    names = symbols.names(aligner.lexicon.tokens)[: aligner.lexicon.num_tokens]
    columns = units.columns({name: number for number, name in enumerate(names)})
    pauses = [0] + [n for n, name in enumerate(names) if n and name == aligner.lexicon.silence]
    log_probs = np.maximum(posteriors.array[0, :num_frames], np.log(SearchOptions().floor))
    inputs = windows.Inputs(log_probs, shift, columns, pauses)
    if not script.is_timed:
        return windows.align_all(inputs, costs, lambda: _cuts(aligner, posteriors, units))
    parts = []
    lines = np.array(units.lines)
    for number, line in enumerate(script.lines):
        first, last = np.searchsorted(lines, [number, number + 1]).tolist()
        start, end = line.span or (0.0, num_frames * shift)
        begin, stop = round(start / shift), min(num_frames, round((end + _LATE) / shift))
        parts.append(windows.Window(first, last, min(begin, stop), stop))
    return windows.align_parts(inputs, parts, costs)


def _cuts(aligner: Aligner, posteriors: Posteriors, units: Units) -> list[anchors.Cut]:
    """Places where the recording may be cut, in units."""
    words: list[str] = []
    firsts = []
    for ways in units.pronounced:
        firsts.append(len(words))
        words += ways[0].words if ways else ()
    graph = anchors.biased_graph(aligner.H, aligner.lexicon, words, aligner.columns)
    return windows.matching_cuts(firsts, words, anchors.recognise(graph, posteriors))


def _alignment(
    id: str, path: OptionalPath, script: Script, units: Units, shift: float
) -> Alignment:
    """Words and phones of a path, in lines."""
    ways = [
        pronounced[choice] if choice >= 0 else None
        for pronounced, choice in zip(units.pronounced, path.choice.tolist(), strict=True)
    ]
    segments, spans = _segments(ways, path.spans)
    if script.is_timed:  # lines may overlap
        confidences = iter(_own_confidences(spans, segments, path.gap))
    else:
        confidences = iter(word_confidences(spans, segments, path.gap))
    of_phones = iter(phone_confidences(segments, path.gap))
    ends = iter(spans)
    phones = iter(segments)
    lines, number = [], 0
    for line in script.lines:
        tokens = []
        for text, readings in line.tokens:
            way = ways[number]
            words, its_phones = [], []
            for word, spelling in () if way is None else zip(way.words, way.phones, strict=True):
                begin, end = next(ends)
                words.append(Word(word, begin * shift, end * shift, next(confidences)))
                for _ in spelling:
                    name, begin, end = next(phones)
                    its_phones.append(Word(name, begin * shift, end * shift, next(of_phones)))
            said = " ".join(readings[0] if way is None else way.words)
            tokens.append(Token(text, said, tuple(words), tuple(its_phones)))
            number += 1
        lines.append(Line(line.text, tuple(tokens), line.speaker, line.number))
    unmatched = [(begin * shift, end * shift) for begin, end in path.unmatched]
    return assembled(Alignment(id, "", unmatched=unmatched, lines=lines))


def _own_confidences(
    spans: Sequence[tuple[int, int]], segments: Sequence[Segment], gap: Floats
) -> Iterator[float]:
    """Confidences of words over their own frames."""
    rest = iter(segments)
    for begin, end in spans:
        num_phones = 1
        while next(rest)[2] < end:
            num_phones += 1
        yield math.exp(-float(gap[begin:end].sum()) / num_phones)


def assembled(alignment: Alignment) -> Alignment:
    """Alignment whose text, words and phones are those of its lines; words in order of time."""
    tokens = [token for line in alignment.lines for token in line.tokens]
    words = sorted((w for token in tokens for w in token.words), key=lambda word: word.start)
    phones = sorted((p for token in tokens for p in token.phones), key=lambda phone: phone.start)
    text = " ".join(token.spoken for token in tokens)
    written = [
        Word(token.text, token.words[0].start, token.words[-1].end, _lowest(token.words))
        for token in tokens
        if token.words
    ]
    is_written = any(token.text != token.spoken for token in tokens)
    return replace(
        alignment, text=text, words=words, phones=phones, written=written if is_written else []
    )


def _lowest(words: Sequence[Word]) -> float:
    return min(word.confidence for word in words)


def _segments(
    ways: Sequence[Pronounced | None], spans: Sequence[Ints]
) -> tuple[list[Segment], list[tuple[int, int]]]:
    """Phones of all words that are spoken, and the frames of each word."""
    segments: list[Segment] = []
    of_words: list[tuple[int, int]] = []
    for way, its_spans in zip(ways, spans, strict=True):
        at = 0
        for spelling in () if way is None else way.phones:
            frames = its_spans[at : at + len(spelling)].tolist()
            of_words.append((frames[0][0], frames[-1][1]))
            segments += [(name, *span) for name, span in zip(spelling, frames, strict=True)]
            at += len(spelling)
    return segments, of_words


def _longest_run(alignment: Alignment) -> int:
    """Largest number of words that are spoken one after the other, with nothing between them."""
    starts = np.array([start for start, end in alignment.unmatched if end - start >= 1.0])
    longest = run = 0
    last: Word | None = None
    for line in alignment.lines:
        for token in line.tokens:
            if not token.words:
                run, last = 0, None
                continue
            if last is not None:
                between = np.searchsorted(starts, [last.start, token.words[0].start])
                run = 0 if between[1] > between[0] else run
            run, last = run + 1, token.words[-1]
            longest = max(longest, run)
    return longest


def _without_skips(aligner: Aligner, id: str, posteriors: Posteriors, script: Script) -> Alignment:
    """Alignment for topologies other than CTC: every word is spoken, in its first reading."""
    if script.is_timed:
        raise OptionError(
            "a text with times needs a graph of the CTC topology", remedy="use --graph en"
        )
    found = aligner.align(id, posteriors, " ".join(script.words()))
    words = iter(found.words)
    lines = []
    for line in script.lines:
        tokens = []
        for text, ways in line.tokens:
            of_token = tuple(next(words) for _ in ways[0])
            tokens.append(Token(text, " ".join(ways[0]), of_token))
        lines.append(Line(line.text, tuple(tokens), line.speaker, line.number))
    done = assembled(replace(found, lines=lines))
    return replace(done, phones=found.phones)


def _check(alignment: Alignment, units: Units, num_frames: int) -> None:
    """Raise an error if next to nothing of the script is in the recording."""
    tokens = [token for line in alignment.lines for token in line.tokens]
    spoken = sum(bool(token.words) for token in tokens)
    sound = sum(word.end - word.start for word in alignment.words)
    is_enough = spoken >= MIN_SHARE * len(tokens) or sound >= MIN_SHARE * alignment.duration
    if spoken and is_enough and _longest_run(alignment) >= min(MIN_RUN, (len(tokens) + 1) // 2):
        return
    shortest = sum(
        min(sum(map(len, way.phones)) for way in ways) for ways in units.pronounced if ways
    )
    if shortest > num_frames:
        raise AsrHlgError(
            f"{num_frames} frames are too few for {len(tokens)} words of {shortest} phones or more"
        )
    raise AsrHlgError(
        f"the recording does not contain this text: {spoken:,} of {len(tokens):,} words were found",
        remedy="check that they belong together; --verbatim aligns them in any case",
    )
