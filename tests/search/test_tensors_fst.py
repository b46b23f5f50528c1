"""The search of H∘L∘G in tensor operations finds what Kaldi's algorithm and `fst` find."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg import threads
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GraphError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lattice import FrameArcs
from asr_hlg.search import (
    FstTokenPassing,
    SearchOptions,
    TensorFstTokenPassing,
    make_decoder,
)
from asr_hlg.search.tensor_capture import cuda_graphs
from asr_hlg.search.tensor_fst_graph import longest_path
from tests.search.test_search import with_epsilon_loop
from tests.support import reference_search
from tests.support.batch_searches import (
    check_batch_is_as_one_at_a_time,
    check_no_operation_waits,
)
from tests.support.lattice_arcs import within
from tests.support.random_graphs import random_graph, random_posteriors, through
from tests.support.recorded_steps import RecordedSteps, Recorder

SEEDS = st.integers(0, 10_000)
GRAPHS = st.tuples(st.integers(0, 15), st.booleans())
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=4)
EVERYTHING = SearchOptions(
    search_beam=1e4, output_beam=1e4, min_active=10_000, max_active=100_000, engine="tensors"
)


def rows_of(arcs: FrameArcs, frames: np.ndarray, output_beam: float) -> np.ndarray:
    """The arcs of a lattice in an order that does not depend on the search."""
    return within(arcs, frames, np.full(len(frames), -np.inf), output_beam)


def same(graph: DecodingGraph, posteriors: Posteriors, options: SearchOptions) -> int:
    """Lattices, best paths and their scores are equal to those of `fst`; the number of arcs."""
    ours, theirs = TensorFstTokenPassing(graph, options), FstTokenPassing(graph, options)
    found, expected = ours.decode(posteriors), theirs.decode(posteriors)
    num_arcs = 0
    for row, length in enumerate(posteriors.lengths.tolist()):
        arcs, others = found.utterances[row], expected.utterances[row]
        assert (arcs is None) == (others is None)
        if arcs is None:
            continue
        frames = expected.scores.array[row, :length]
        mine, other = (rows_of(each, frames, options.output_beam) for each in (arcs, others))
        np.testing.assert_allclose(mine, other, atol=1e-4)
        assert arcs.num_states == others.num_states
        num_arcs += len(mine)
    paths = list(zip(found.best_path(), expected.best_path(), strict=True))
    assert [p.score for p, _ in paths] == pytest.approx([p.score for _, p in paths], abs=1e-4)
    np.testing.assert_allclose(found.forward_score(), expected.forward_score(), atol=1e-4)
    return num_arcs


@settings(max_examples=30)
@given(GRAPHS, SEEDS, LENGTHS, st.floats(0.5, 12))
def test_all_paths_of_random_graphs(graph, seed, lengths, output_beam):
    graph = random_graph(*graph)
    posteriors = random_posteriors(graph, lengths, seed)
    same(graph, posteriors, EVERYTHING)
    same(graph, posteriors, replace(EVERYTHING, output_beam=output_beam))


@settings(max_examples=60)
@given(GRAPHS, SEEDS, st.integers(1, 12), st.floats(0.5, 14), st.integers(0, 12), st.integers(1, 9))
def test_beams_are_those_of_kaldi(graph, seed, length, beam, min_active, more):
    """Cutoffs of all frames, and the best path through every label of every frame."""
    graph = random_graph(*graph)
    options = SearchOptions(
        search_beam=beam, output_beam=6.0, min_active=min_active, max_active=min_active + more
    )
    decoder = TensorFstTokenPassing(graph, options)
    scores = decoder.scaled(random_posteriors(graph, [length], seed))
    frames = scores.array[0]
    cutoffs, expected = reference_search.search(graph.packed_fst, frames, options)
    search = decoder.run(scores.log_probs, [length], options)
    found = np.maximum(search.cutoffs.numpy()[0], -1e20)
    np.testing.assert_allclose(found, np.maximum(cutoffs, -1e20), atol=1e-6)
    arcs = decoder._lattices(scores, [0], options)[0]
    best = expected.pop((-1, -1))
    if arcs is None:
        assert best == -np.inf
        return
    assert arcs.score[arcs.best_path()].sum() == pytest.approx(best, abs=1e-5)
    lattice: dict[tuple[int, int], float] = {}
    for t, label, score in zip(arcs.frame, arcs.label, through(arcs), strict=True):
        if label >= 0:
            lattice[t, label] = max(lattice.get((t, label), -np.inf), score)
    for key, score in expected.items():
        if score >= best - options.output_beam + 1e-5:
            assert lattice[key] == pytest.approx(score, abs=1e-5)
    assert all(expected[key] >= best - options.output_beam - 1e-5 for key in lattice)


@settings(max_examples=6)
@given(GRAPHS, SEEDS)
def test_a_batch_of_64_is_as_one_at_a_time(graph, seed):
    graph = random_graph(*graph)
    lengths = np.random.default_rng(seed).integers(0, 14, 64).tolist()
    posteriors = random_posteriors(graph, lengths, seed)
    options = SearchOptions(search_beam=6.0, min_active=4, max_active=20)
    decoder = TensorFstTokenPassing(graph, options)
    rows = np.random.default_rng(seed).permutation(64)[:8].tolist()
    check_batch_is_as_one_at_a_time(decoder, posteriors, rows)


@settings(max_examples=15)
@given(GRAPHS, SEEDS, LENGTHS)
def test_a_frame_that_is_captured_once_serves_all_frames(graph, seed, lengths):
    """It depends on memory alone, and no operation of it waits for the device."""
    graph = random_graph(*graph)
    options = SearchOptions(search_beam=8.0, min_active=3, max_active=30)
    plain, captured = (TensorFstTokenPassing(graph, options) for _ in range(2))
    plain.fixed_shapes = captured.fixed_shapes = True
    posteriors = random_posteriors(graph, lengths, seed)
    expected = plain.decode(posteriors).utterances
    captured.capacities = plain.capacities  # which suffice by now
    captured.capture = steps = RecordedSteps()
    log_probs = captured.scaled(posteriors).log_probs
    search = captured.run(log_probs, lengths, options)
    # The first frame may begin with fewer tokens than all others, and is not captured then.
    assert len(steps.recorders) <= 1
    assert max(lengths) - 2 <= steps.replays < max(lengths)
    other = plain.run(log_probs, lengths, options)
    assert torch.equal(search.cutoffs, other.cutoffs)
    for mine, theirs in zip(search.prune(6.0)[0], other.prune(6.0)[0], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for arcs, others in zip(captured.decode(posteriors).utterances, expected, strict=True):
        assert (arcs is None) == (others is None)
        if arcs is not None:
            np.testing.assert_array_equal(arcs.score, others.score)
            np.testing.assert_array_equal(arcs.label, others.label)


def test_no_other_thread_allocates_while_a_graph_is_captured(monkeypatch):
    """With stand-ins for torch's functions, since there may be no GPU."""
    seen = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: "replayed"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext(seen.append(device)))
    monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    replay = cuda_graphs("cuda:1")(lambda: seen.append(threads.cuda_capture.locked()))
    assert seen == ["cuda:1", True]
    assert replay() == "replayed"
    assert not threads.cuda_capture.locked()


def test_the_host_launches_at_most_forty_operations_for_a_captured_frame():
    graph = random_graph(2, ctc=False)
    decoder = TensorFstTokenPassing(graph, SearchOptions())
    decoder.fixed_shapes = True
    log_probs = decoder.scaled(random_posteriors(graph, [23, 23], 1)).log_probs
    launched = {}
    for name, capture in (("one by one", None), ("captured", lambda step: lambda: None)):
        decoder.capture = capture
        search = decoder.start(2, decoder.options)
        search.accept(log_probs[:, :3])
        with Recorder() as recorder:
            search.accept(log_probs[:, 3:])
        views = {"select", "view", "slice", "transpose", "expand", "alias", "_unsafe_view"}
        launched[name] = sum(name not in views for name in recorder.names) / 20
    assert launched["one by one"] > 100
    assert launched["captured"] + 1 <= 40  # the graph itself


@settings(max_examples=15)
@given(GRAPHS, SEEDS, LENGTHS, st.integers(1, 12))
def test_fixed_shapes_change_nothing(graph, seed, lengths, capacity):
    """Whatever the capacities are at first."""
    graph = random_graph(*graph)
    options = SearchOptions(search_beam=8.0, min_active=3, max_active=30)
    exact, fixed = (TensorFstTokenPassing(graph, options) for _ in range(2))
    fixed.fixed_shapes, fixed.capacities = True, dict.fromkeys(fixed.capacities, capacity)
    posteriors = random_posteriors(graph, lengths, seed)
    frames = exact.scaled(posteriors).array
    pairs = zip(*(each.decode(posteriors).utterances for each in (exact, fixed)), strict=True)
    for row, (expected, found) in enumerate(pairs):
        assert (expected is None) == (found is None)
        if expected is not None:
            mine, other = (
                rows_of(arcs, frames[row, : lengths[row]], options.output_beam)
                for arcs in (found, expected)
            )
            np.testing.assert_allclose(mine, other, atol=1e-9)


def test_no_operation_of_a_frame_waits_for_the_device_where_shapes_are_fixed():
    graph = random_graph(3, ctc=False)
    decoder = TensorFstTokenPassing(graph, SearchOptions(min_active=3, max_active=9))
    decoder.fixed_shapes = True
    check_no_operation_waits(decoder, random_posteriors(graph, [12] * 8, 1))


@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_cycles_of_epsilon_arcs_end_or_are_refused(fixed_shapes):
    posteriors = random_posteriors(random_graph(0), [1], 0)
    for loop, message in ((-0.25, None), (0.0, None), (0.25, "cycle of ε-arcs")):
        decoder = TensorFstTokenPassing(with_epsilon_loop(loop), EVERYTHING)
        decoder.fixed_shapes = fixed_shapes
        if message is None:
            path = decoder.decode(posteriors).best_path()[0]
            assert path.graph_score == pytest.approx(-1.5)
            assert len(path.words) == 1
        else:
            with pytest.raises(GraphError, match=message):
                decoder.decode(posteriors)


@given(SEEDS)
@settings(max_examples=30)
def test_longest_paths(seed):
    """Of arcs that lead to later states only, and with a loop besides."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 9))
    arcs = [(s, d) for s in range(count) for d in range(s + 1, count) if random.random() < 0.4]
    splits = np.searchsorted([s for s, _ in arcs], np.arange(count + 1))
    lengths = [0] * count
    for s, d in reversed(arcs):
        lengths[s] = max(lengths[s], 1 + lengths[d])
    dst = np.array([d for _, d in arcs], np.int64)
    assert longest_path(splits, dst) == max(lengths)
    with_loop = np.append(splits[:-1], len(arcs) + 1)
    assert longest_path(with_loop, np.append(dst, count - 1)) is None


def likely_posteriors(graph: DecodingGraph, lengths: list[int], seed: int) -> Posteriors:
    """Random posteriors in which the labels of a path of the graph are the more probable ones."""
    noise = random_posteriors(graph, lengths, seed)
    lattice = FstTokenPassing(graph, SearchOptions(search_beam=1e3)).decode(noise)
    logits = torch.randn(noise.log_probs.shape, generator=torch.Generator().manual_seed(seed))
    for row, arcs in enumerate(lattice.utterances):
        assert arcs is not None
        labels = arcs.label[arcs.best_path()][:-1]
        logits[row, range(len(labels)), labels] += 5.0
    return Posteriors(logits.log_softmax(2), noise.lengths, 0.02, graph.columns)


@pytest.mark.parametrize("name", ["digits-hmm", "digit-loop-hmm", "digit-loop-chain"])
def test_recipes_of_digits(root, tmp_path, name):
    recipe = Recipe.read(root / "graphs" / f"{name}.toml")
    graph = DecodingGraph.load(build(recipe, tmp_path / name))
    posteriors = likely_posteriors(graph, [40, 15, 25], 1)
    assert same(graph, posteriors, SearchOptions.from_graph(graph)) > 100
    assert type(make_decoder(graph, engine="tensors")) is TensorFstTokenPassing
