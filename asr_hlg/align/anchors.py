"""Anchors: places where a recording and a long text certainly agree.

A first pass recognises the recording with an n-gram of its own text. Trigrams that text and
hypothesis have in common are chained, both sides in order, so that the chain is as long as it can
be. Where the chain runs through consecutive words, the recording can be cut between two of them.

    hypothesis = recognise(biased_graph(H, lexicon, words, columns), posteriors)
    cuts = find(words, hypothesis)
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from asr_hlg import lm
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph, compile_hlg
from asr_hlg.lattice.path import word_spans
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions
from asr_hlg.search.engines import make_decoder

PIECE = 30.0
"""Seconds that are recognised at once."""

_ORDER = 3  # of the chained n-grams
_MAX_PAIRS = 64  # places in the hypothesis that are tried for one place in the text
_MARGIN = 2  # words of agreement on both sides of a cut
_MAX_GAP = 1.5  # nats a phone: what is less certain than this was perhaps not spoken
_CHUNK = 50  # words of a sentence of the n-gram


@dataclass(frozen=True)
class RecognisedWord:
    """A word of the hypothesis with its frames [begin, end), and whether the sound agrees."""

    text: str
    begin: int
    end: int
    is_certain: bool


@dataclass(frozen=True, order=True)
class Cut:
    """The text before ``word`` is spoken before ``frame``, and the rest after it.

    ``pause`` is the number of frames between the words on both sides.
    """

    word: int
    frame: int
    pause: int = 0


def biased_graph(
    H: Arcs, lexicon: Lexicon, words: Sequence[str], columns: tuple[str, ...]
) -> DecodingGraph:
    """A decoding graph whose G is a trigram of the text that is to be aligned."""
    sentences = [words[begin : begin + _CHUNK] for begin in range(0, len(words), _CHUNK - 2)]
    restricted = lexicon.restrict(words)
    G, _ = lm.to_arcs(lm.estimate(sentences, order=_ORDER), restricted.words)
    return compile_hlg(H, restricted, G, columns=columns)


def recognise(
    graph: DecodingGraph, posteriors: Posteriors, num_threads: int = 2
) -> list[RecognisedWord]:
    """Recognise a recording piece by piece, with the word times of the best path.

    Parameters
    ----------
    graph : DecodingGraph
    posteriors : Posteriors
        Of one utterance of any length.
    num_threads : int
        Pieces that are decoded at the same time.
    """
    decoder = make_decoder(graph, SearchOptions(search_beam=12.0, output_beam=1.0))

    def words_of(span: tuple[int, int]) -> list[RecognisedWord]:
        lattice = decoder.decode(posteriors.frames(*span))
        arcs = lattice.utterances[0]
        if arcs is None:
            return []
        path = lattice.best_path()[0]
        labels = arcs.label[arcs.best_path()]
        labels = labels[labels >= 0]
        scores = posteriors.array[0, span[0] : span[0] + len(labels)]
        gap = scores.max(axis=1) - scores[np.arange(len(labels)), labels]
        total = np.concatenate([[0.0], np.cumsum(gap, dtype=np.float64)])
        spans = word_spans(path.words, path.tokens, graph.spellings, graph.fillers)
        return [
            RecognisedWord(
                word,
                span[0] + begin,
                span[0] + end,
                total[end] - total[begin]
                < _MAX_GAP * min(len(each) for each in graph.spellings(word)),
            )
            for word, (begin, end) in zip(path.words, spans, strict=True)
        ]

    with ThreadPoolExecutor(num_threads) as pool:
        return [word for words in pool.map(words_of, pieces(posteriors)) for word in words]


def pieces(posteriors: Posteriors) -> Iterator[tuple[int, int]]:
    """Frames [begin, end) of pieces that are cut in the most probable blank of their last third."""
    num_frames = int(posteriors.lengths[0])
    size = max(3, int(PIECE / posteriors.frame_shift))
    begin = 0
    while num_frames - begin > size:
        first = begin + 2 * size // 3
        blank = posteriors.array[0, first : begin + size, 0]
        width = min(len(blank), 9)
        mean = np.convolve(blank, np.ones(width) / width, mode="same")
        end = first + int(mean.argmax()) + 1
        yield begin, end
        begin = end
    yield begin, num_frames


def find(words: Sequence[str], hypothesis: Sequence[RecognisedWord]) -> list[Cut]:
    """Cuts at all places where text and hypothesis certainly agree, in order."""
    cuts: list[Cut] = []
    for begin_in_text, begin_in_hypothesis, length in _runs(chain(words, hypothesis)):
        for k in range(_MARGIN, length - _MARGIN + 1):
            before, after = (
                hypothesis[begin_in_hypothesis + k - 1],
                hypothesis[begin_in_hypothesis + k],
            )
            frame = (before.end + after.begin + 1) // 2
            cuts.append(Cut(begin_in_text + k, frame, after.begin - before.end))
    return cuts


def chain(words: Sequence[str], hypothesis: Sequence[RecognisedWord]) -> list[tuple[int, int]]:
    """The longest chain of trigrams that text and hypothesis have in common.

    Returns
    -------
    list of (int, int)
        First word of each trigram in the text and in the hypothesis; both increase.

    Notes
    -----
    The longest strictly increasing subsequence of the pairs, in O(n log n) for n pairs. Of
    frequent trigrams the pairs nearest to the diagonal are tried, so that n stays proportional
    to the text.
    """
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for j in range(len(hypothesis) - _ORDER + 1):
        trigram = hypothesis[j : j + _ORDER]
        if all(word.is_certain for word in trigram):
            places[tuple(word.text for word in trigram)].append(j)
    ends: list[int] = []  # last place of the best chain of every length
    tails: list[int] = []  # and the number of its last pair
    pairs: list[tuple[int, int]] = []
    before: list[int] = []
    slope = len(hypothesis) / max(1, len(words))
    for i in range(len(words) - _ORDER + 1):
        found = places.get(tuple(words[i : i + _ORDER]), [])
        if len(found) > _MAX_PAIRS:
            near = bisect_left(found, int(i * slope))
            found = found[max(0, near - _MAX_PAIRS // 2) : near + _MAX_PAIRS // 2]
        for j in reversed(found):  # so that no chain has two pairs of the same i
            length = bisect_left(ends, j)
            before.append(tails[length - 1] if length else -1)
            pairs.append((i, j))
            if length == len(ends):
                ends.append(j)
                tails.append(len(pairs) - 1)
            else:
                ends[length], tails[length] = j, len(pairs) - 1
    result = []
    last = tails[-1] if tails else -1
    while last >= 0:
        result.append(pairs[last])
        last = before[last]
    return result[::-1]


def _runs(pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Runs of agreement: first word in text and hypothesis, and the number of words."""
    begin = 0
    for k in range(1, len(pairs) + 1):
        is_next = k < len(pairs) and (pairs[k][0] - pairs[k - 1][0]) == 1 == (
            pairs[k][1] - pairs[k - 1][1]
        )
        if not is_next:
            if k > begin:
                yield *pairs[begin], k - begin + _ORDER - 1
            begin = k
