"""An utterance that is searched in parts has the lattice of one that is searched at once."""

from __future__ import annotations

import itertools
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.lattice import Lattice
from asr_hlg.search import IncrementalDecoder, SearchOptions, incremental, make_decoder, utterance
from asr_hlg.search.online import OnlineSearch
from tests.search.test_search import GRAPHS, SEEDS, random_graph, random_posteriors
from tests.support.examples import examples

OPTIONS = SearchOptions(search_beam=9.0, output_beam=5.0, min_active=2, max_active=40)
ENGINES = st.sampled_from([("tokens", True), ("fst", True), ("fst", False)])
CUTS = st.sets(st.integers(1, 59))


def content(lattice: Lattice) -> list[bytes] | None:
    arcs = lattice.utterances[0]
    return None if arcs is None else [np.asarray(field).tobytes() for field in astuple(arcs)]


def parts(posteriors, cuts):
    bounds = [0, *sorted(cuts), int(posteriors.lengths[0])]
    return [posteriors.frames(*span) for span in itertools.pairwise(bounds)]


def decoder_of(engine, ctc, number, options=OPTIONS):
    return make_decoder(random_graph(number, ctc), replace(options, engine=engine))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Workspaces so small that they are enlarged, and releases before almost every part."""
    monkeypatch.setattr(incremental, "_CAPACITY", 8)
    monkeypatch.setattr(utterance, "RELEASE", 1)


@examples(300)
@given(ENGINES, GRAPHS, SEEDS, CUTS)
def test_any_parts_give_the_bytes_of_the_whole(engine, number, seed, cuts):
    decoder = decoder_of(*engine, number)
    posteriors = random_posteriors(decoder.graph, [60], seed)
    stream = IncrementalDecoder(decoder)
    for _ in range(2):  # the second utterance does not depend on the first
        for part in parts(posteriors, cuts):
            stream.accept(part)
        assert content(stream.finish()) == content(decoder.decode(posteriors))


@examples(100)
@given(ENGINES, GRAPHS, SEEDS, CUTS)
def test_frames_ahead_count_for_one_result_only(engine, number, seed, cuts):
    decoder = decoder_of(*engine, number)
    posteriors = random_posteriors(decoder.graph, [60], seed)
    given_parts = parts(posteriors, cuts)
    stream, other = IncrementalDecoder(decoder), IncrementalDecoder(decoder)
    for part, ahead in zip(given_parts, [*given_parts[1:], None], strict=True):
        stream.accept(part)
        other.accept(part)
        if ahead is not None:
            found = stream.partial(True, ahead)
            both = IncrementalDecoder(decoder)
            both.accept(posteriors.frames(0, stream.num_frames + int(ahead.lengths[0])))
            assert content(found) == content(both.partial(True))
        assert content(stream.partial(True)) == content(other.partial(True))
    assert content(stream.finish()) == content(decoder.decode(posteriors))


@examples(100)
@given(st.booleans(), GRAPHS, SEEDS, CUTS, st.integers(1, 60))
def test_the_last_frames_are_those_of_the_best_path_so_far(ctc, number, seed, cuts, count):
    decoder = decoder_of("fst", ctc, number)
    posteriors = random_posteriors(decoder.graph, [60], seed)
    search = OnlineSearch(decoder, posteriors.tokens, posteriors.frame_shift)
    stream = IncrementalDecoder(decoder)
    for part in parts(posteriors, cuts):
        search.accept(part.array[0])
        stream.accept(part)
        arcs = stream.partial().utterances[0]
        path = arcs.best_path()
        path = path[arcs.label[path] >= 0]
        begun = np.maximum.accumulate(np.where(arcs.phone[path], np.arange(len(path)), -1))
        expected = np.where(begun < 0, 0, arcs.phone[path][begun])
        last = min(count, len(path))
        assert search.last_frames(last)[0].tolist() == expected[len(path) - last :].tolist()


@examples(60)
@given(ENGINES, GRAPHS, SEEDS, st.integers(1, 59))
def test_a_partial_result_is_the_best_path_to_any_state(engine, number, seed, end):
    """A longer utterance goes on from there, so its best path is at most one such path."""
    decoder = decoder_of(*engine, number)
    posteriors = random_posteriors(decoder.graph, [60], seed)
    stream = IncrementalDecoder(decoder)
    for part in parts(posteriors.frames(0, end), {n for n in range(1, end, 3)}):
        stream.accept(part)
        partial, wide = stream.partial(), stream.partial(confidences=True)
        assert partial.best_path()[0].score == pytest.approx(wide.best_path()[0].score)
        assert partial.utterances[0].num_arcs <= wide.utterances[0].num_arcs
    [partial], gap = stream.partial().best_path(), stream.final_gap()
    stream_end = stream.finish()
    if gap < np.inf:
        [final] = stream_end.best_path()
        assert partial.score - final.score == pytest.approx(gap, abs=1e-4)
    whole = decoder.decode(posteriors.frames(0, end))
    assert content(stream_end) == content(whole)


@pytest.mark.parametrize("engine", ["tokens", "fst"])
def test_what_no_continuation_needs_is_released(engine, monkeypatch):
    decoder = decoder_of(engine, True, 3, replace(OPTIONS, output_beam=2.0))
    stream = IncrementalDecoder(decoder)
    posteriors = random_posteriors(decoder.graph, [400], 1)
    for start in range(0, 400, 10):
        stream.accept(posteriors.frames(start, start + 10))
    kept = stream._search._num_links()
    stream.finish()
    monkeypatch.setattr(utterance, "RELEASE", 1 << 20)
    stream.accept(posteriors)
    assert kept < stream._search._num_links() / 2


def test_nothing_was_accepted():
    stream = IncrementalDecoder(decoder_of("tokens", True, 3))
    assert stream.partial().is_empty(0)
    assert stream.final_gap() == np.inf
    assert stream.finish().is_empty(0)


@examples(30)
@given(GRAPHS, SEEDS)
def test_the_last_phones_go_back_beyond_an_utterance(number, seed):
    decoder = decoder_of("fst", False, number)
    stream = IncrementalDecoder(decoder, keeps_phones=True)
    posteriors = random_posteriors(decoder.graph, [40], seed)
    stream.accept(posteriors.frames(0, 30))
    first = stream.last_frames(30)[0].tolist()
    stream.finish()
    assert stream.last_frames(20)[0].tolist() == first[10:]
    stream.accept(posteriors.frames(30, None))
    second = stream.last_frames(10)[0].tolist()
    assert stream.last_frames(25)[0].tolist() == first[15:] + second
    assert stream.last_frames(45)[0].tolist() == [-1] * 5 + first + second
