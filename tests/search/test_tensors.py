"""The search in tensor operations finds what token passing finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import acoustic
from asr_hlg.acoustic import AcousticModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording, recordings
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice
from asr_hlg.search import (
    SearchOptions,
    TensorTokenPassing,
    TokenPassing,
    fused_room,
    make_decoder,
)
from tests.support.batch_searches import (
    check_batch_is_as_one_at_a_time,
    check_no_operation_waits,
)
from tests.support.examples import examples
from tests.support.lattice_arcs import within
from tests.support.random_graphs import random_graph, random_posteriors

SEEDS = st.integers(0, 10_000)
GRAPHS = st.integers(0, 15)
LENGTHS = st.lists(st.integers(1, 14), min_size=1, max_size=5)
FUSED = st.booleans()
EVERYTHING = SearchOptions(
    search_beam=1e4, output_beam=1e4, min_active=10_000, max_active=100_000, engine="tensors"
)


def same(
    graph: DecodingGraph, posteriors: Posteriors, options: SearchOptions, fused: bool = True
) -> int:
    """Best paths, scores and arcs of both searches are equal; returns the number of arcs.

    Token passing keeps some more arcs, which are below the cutoff of their frame, but were made
    before the cutoff had risen so far: they depend on the order of tokens, and do not count.
    """
    ours, theirs = TensorTokenPassing(graph, options), TokenPassing(graph, options)
    ours.fused = fused
    scores = ours.scaled(posteriors)
    lengths = scores.lengths.tolist()
    cutoffs = ours.run(scores.log_probs, lengths, options).cutoffs.numpy()
    found = ours._lattices(scores, list(range(len(lengths))), options)
    num_arcs = 0
    for row, length in enumerate(lengths):
        frames = scores.array[row, :length]
        expected, rows = theirs._search_with(frames, options), np.zeros((0, 8))
        if expected is not None:
            rows = within(expected, frames, cutoffs[row, :length], options.output_beam)
        if found[row] is None or expected is None:
            assert found[row] is None
            assert len(rows) == 0
            continue
        lattices = [Lattice.from_arcs([a], scores, graph) for a in (found[row], expected)]
        path, best = (lattice.best_path()[0] for lattice in lattices)
        if best.score > path.score + 1e-4:  # it ends in a token below the last cutoff
            assert not (rows[:, [4, 6, 7]].sum(axis=1) > best.score - 1e-4).any()
            continue
        assert path.score == pytest.approx(best.score, abs=1e-4)
        if path.words != best.words:  # homophones of equal scores
            equal = [p.words for p in lattices[1].nbest(10)[0] if p.score > best.score - 1e-4]
            assert path.words in equal
        own = within(found[row], frames, cutoffs[row, :length], options.output_beam)
        np.testing.assert_allclose(own, rows, atol=1e-4)
        num_arcs += len(rows)
    return num_arcs


@examples(200)
@given(GRAPHS, SEEDS, LENGTHS, st.floats(0.5, 14), st.floats(0.5, 10), st.integers(0, 40), FUSED)
def test_random_graphs(number, seed, lengths, beam, output_beam, min_active, fused):
    graph = random_graph(number)
    options = SearchOptions(
        search_beam=beam, output_beam=output_beam, min_active=min_active, max_active=min_active + 60
    )
    same(graph, random_posteriors(graph, lengths, seed), options, fused)


@examples(60)
@given(GRAPHS, SEEDS, LENGTHS, FUSED)
def test_all_paths_of_random_graphs(number, seed, lengths, fused):
    graph = random_graph(number)
    same(graph, random_posteriors(graph, lengths, seed), EVERYTHING, fused)


@pytest.mark.slow
@examples(1_000)
@given(GRAPHS, SEEDS, LENGTHS, st.floats(0.5, 14), st.floats(0.5, 10), st.integers(0, 40), FUSED)
def test_a_thousand_random_graphs(number, seed, lengths, beam, output_beam, min_active, fused):
    test_random_graphs.hypothesis.inner_test(
        number, seed, lengths, beam, output_beam, min_active, fused
    )


@examples(30)
@given(GRAPHS, SEEDS, FUSED)
def test_a_batch_of_64_is_as_one_at_a_time(number, seed, fused):
    graph = random_graph(number)
    lengths = np.random.default_rng(seed).integers(1, 14, 64).tolist()
    posteriors = random_posteriors(graph, lengths, seed)
    decoder = make_decoder(graph, SearchOptions(search_beam=6.0, min_active=4, engine="tensors"))
    decoder.fused = fused
    rows = np.random.default_rng(seed).permutation(64)[:8].tolist()
    check_batch_is_as_one_at_a_time(decoder, posteriors, rows)


@examples(30)
@given(GRAPHS, SEEDS, st.lists(st.integers(1, 6), min_size=1, max_size=5), FUSED)
def test_chunks_are_as_the_whole(number, seed, sizes, fused):
    graph = random_graph(number)
    decoder = TensorTokenPassing(graph, SearchOptions(search_beam=8.0))
    decoder.fused = fused
    scores = decoder.scaled(random_posteriors(graph, [sum(sizes)] * 2, seed))
    expected = decoder.run(scores.log_probs, [sum(sizes)] * 2, decoder.options).prune(8.0)
    parts = decoder.start(2, decoder.options)
    for frames in scores.log_probs.split(sizes, dim=1):
        parts.accept(frames)
    parts.finish(torch.tensor([True, True]))
    found = parts.prune(8.0)
    assert found[2] == expected[2]
    for mine, other in zip([*found[0], found[1]], [*expected[0], expected[1]], strict=True):
        np.testing.assert_array_equal(mine, other)


@examples(60)
@given(GRAPHS, SEEDS, LENGTHS, st.integers(30, 60))
def test_room_for_nothing_at_first_changes_nothing(number, seed, lengths, stamps):
    """Nor that the hash table is cleared every few frames."""
    graph = random_graph(number)
    options = SearchOptions(search_beam=8.0, min_active=3, engine="tensors")
    posteriors = random_posteriors(graph, lengths, seed)
    expected = make_decoder(graph, options).decode(posteriors).utterances
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_room, "SCRATCH", dict.fromkeys(fused_room.SCRATCH, 0))
        patch.setattr(fused_room, "_ROOM", dict.fromkeys(fused_room._ROOM, 0))
        patch.setattr(fused_room, "_LEAST", 1)
        patch.setattr(fused_room, "_MOST_STAMPS", stamps)
        found = make_decoder(graph, options).decode(posteriors).utterances
    for mine, other in zip(found, expected, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            for one, two in zip(vars(mine).values(), vars(other).values(), strict=True):
                np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("fused", [True, False])
def test_utterances_without_frames_and_lost_ones(fused):
    """An empty utterance has no lattice; what the beam loses is searched with a wider one."""
    graph = random_graph(3)
    posteriors = random_posteriors(graph, [9, 1, 7, 12], 5)
    posteriors.lengths[1] = 0
    narrow = SearchOptions(search_beam=1e-3, min_active=0, max_active=1, engine="tensors")
    decoder = make_decoder(graph, narrow)
    decoder.fused = fused
    lattice = decoder.decode(posteriors)
    assert lattice.is_empty(1)
    tokens = TokenPassing(graph, narrow)
    for row in (0, 2, 3):
        first = tokens._search_with(tokens.scaled(posteriors.utterance(row)).array[0], narrow)
        wide = tokens.search_wider(tokens.scaled(posteriors.utterance(row)).array[0])
        assert lattice.is_empty(row) == (first is None and wide is None)


@examples(60)
@given(GRAPHS, SEEDS, LENGTHS, st.integers(1, 12))
def test_fixed_shapes_change_nothing(number, seed, lengths, capacity):
    """Whatever the capacities are at first."""
    graph = random_graph(number)
    options = SearchOptions(search_beam=8.0, min_active=3, engine="tensors")
    exact, fixed = (TensorTokenPassing(graph, options) for _ in range(2))
    exact.fused = fixed.fused = False
    fixed.fixed_shapes, fixed.capacities = True, dict.fromkeys(fixed.capacities, capacity)
    posteriors = random_posteriors(graph, lengths, seed)
    pairs = zip(*(each.decode(posteriors).utterances for each in (exact, fixed)), strict=True)
    for expected, found in pairs:
        assert (expected is None) == (found is None)
        if expected is not None:
            assert found.num_states == expected.num_states
            np.testing.assert_allclose(np.sort(found.score), np.sort(expected.score), atol=1e-9)
            assert found.forward_score() == pytest.approx(expected.forward_score(), abs=1e-9)


def test_no_operation_of_a_frame_waits_for_the_device_where_shapes_are_fixed():
    graph = random_graph(3)
    decoder = TensorTokenPassing(graph, SearchOptions(engine="tensors"))
    decoder.fused, decoder.fixed_shapes = False, True
    check_no_operation_waits(decoder, random_posteriors(graph, [12] * 8, 1))


@pytest.fixture(scope="module")
def hama():
    return acoustic.load("hama")


def same_in_speech(graph: DecodingGraph, model: AcousticModel, found: list[Recording]) -> None:
    """Recordings of at most half a minute, in batches of 32."""
    waves = [recording.load(16000) for recording in found]
    waves = sorted((wave for wave in waves if len(wave) < 30 * 16000), key=len)
    options, num_arcs = SearchOptions.from_graph(graph), 0
    for begin in range(0, len(waves), 32):
        posteriors = model.posteriors(waves[begin : begin + 32], 16000)
        num_arcs += same(graph, posteriors, options)
    assert num_arcs > 100 * len(waves)


def test_recordings(root, english, hama):
    same_in_speech(english, hama, list(recordings([root / "examples"]))[:4])


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["ljspeech/flac", "wild-dev/audio"])
def test_all_recordings(speech, english, hama, folder):
    same_in_speech(english, hama, list(recordings([speech / folder])))
