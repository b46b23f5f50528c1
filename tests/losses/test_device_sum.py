"""Sums over paths in torch operations are those of the compiled recursion, with its gradients."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg.fst.arcs import Arcs
from asr_hlg.losses.device_sum import path_sums
from asr_hlg.losses.frame_graph import FrameGraph

COLUMNS = 3


def random_frame_graph(random: np.random.Generator) -> FrameGraph:
    """Up to four states with arcs at random; some have no path to a final state."""
    states, count = int(random.integers(1, 5)), int(random.integers(1, 9))
    src, dst = random.integers(0, states, (2, count)).astype(np.int32)
    label, token = random.integers(0, COLUMNS, (2, count)).astype(np.int32)
    final = np.where(random.random(states) < 0.5, random.normal(size=states), -np.inf)
    score = random.normal(size=count).astype(np.float32)
    return FrameGraph.from_arcs(Arcs(src, dst, label, token, score, final.astype(np.float32)))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_totals_and_occupancies(seed, lengths):
    random = np.random.default_rng(seed)
    graphs = [random_frame_graph(random) for _ in lengths]
    scores = 30 * random.normal(size=(len(lengths), max(lengths), COLUMNS))
    scores[random.random(scores.shape) < 0.1] = -np.inf
    totals, occupancies = path_sums(torch.from_numpy(scores), torch.tensor(lengths), graphs)
    for row, (length, graph) in enumerate(zip(lengths, graphs, strict=True)):
        expected, gradient = graph.path_sum(scores[row, :length], True)
        np.testing.assert_allclose(totals[row].item(), expected, rtol=1e-10)
        np.testing.assert_allclose(occupancies[row, :length].numpy(), gradient, atol=1e-9)
        assert not occupancies[row, length:].any()


def test_a_nan_concerns_its_utterance_alone():
    graph = FrameGraph.from_arcs(
        Arcs(*np.zeros((4, 1), np.int32), np.zeros(1, np.float32), np.zeros(1, np.float32))
    )
    scores = torch.full((2, 2, 1), -1.0, dtype=torch.float64)
    scores[0, 1] = torch.nan
    totals, occupancies = path_sums(scores, torch.tensor([2, 2]), [graph, graph])
    assert totals[0].isnan()
    assert totals[1] == -2.0
    assert occupancies.tolist() == [[[0.0], [0.0]], [[1.0], [1.0]]]
