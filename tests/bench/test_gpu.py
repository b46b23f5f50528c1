"""benchmarks/gpu.py: it compares before it measures, and writes what it found."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace

import numpy as np
import pytest

from asr_hlg.search import SearchOptions, make_decoder
from tests.support.random_graphs import random_graph, random_posteriors


@pytest.fixture(scope="module")
def gpu(root):
    spec = importlib.util.spec_from_file_location("gpu", root / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def utterances():
    posteriors = random_posteriors(random_graph(3), [9, 12, 4, 12, 7], 1)
    return [posteriors.utterance(row) for row in range(5)]


def test_results_that_differ_are_reported(gpu, utterances):
    graph = random_graph(3)
    tensors, tokens = (
        make_decoder(graph, SearchOptions(engine=engine)) for engine in ("tensors", "tokens")
    )
    assert gpu.compare(tensors, tokens, utterances) == []
    other = make_decoder(graph, SearchOptions(engine="tokens", acoustic_scale=2.0))
    assert len(gpu.compare(tensors, other, utterances)) == 5


def test_stored_posteriors_are_measured_without_a_network(gpu, utterances, tmp_path, monkeypatch):
    graph = random_graph(3)
    monkeypatch.setattr(gpu, "graph_folder", lambda name: name)
    monkeypatch.setattr(gpu.DecodingGraph, "load", lambda name: graph)
    arrays = {f"utterance:{i}": u.array[0] for i, u in enumerate(utterances)}
    np.savez(tmp_path / "p.npz", tokens=np.array(graph.columns), shift=0.02, **arrays)
    options = Namespace(
        posteriors=tmp_path / "p.npz",
        limit=None,
        device="cpu",
        graph=["toy"],
        beam=[8.0],
        batch=[2, 5],
        rounds=1,
        output=tmp_path / "out",
    )
    gpu.run(options)
    result = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert result["utterances"] == 5
    assert result["seconds"] == pytest.approx(44 * 0.02)
    tensors = [row for row in result["rows"] if row["engine"] == "tensors"]
    assert [row["batch"] for row in tensors] == [2, 5]
    assert all(row["kernels_per_frame"] == 9 for row in tensors)
    assert all(row["operations_per_frame"] < 10 for row in tensors)
    reference = next(row for row in result["rows"] if row["engine"] == "tensors, without kernels")
    assert reference["operations_per_frame"] > 10
    assert "| toy | 8 | tensors | 5 |" in (tmp_path / "out" / "gpu.md").read_text()


def test_graphs_of_other_topologies_are_measured_too(gpu):
    graph = random_graph(3, ctc=False)
    posteriors = random_posteriors(graph, [9, 4], 1)
    options = Namespace(device="cpu", batch=[2], rounds=1)
    search = SearchOptions(search_beam=1e4, engine="tensors")
    utterances = [posteriors.utterance(row) for row in range(2)]
    rows = list(gpu.measure(graph, "hmm", utterances, search, options, []))
    assert "tensors" in {row["engine"] for row in rows}
    decoder = make_decoder(graph, search)
    decoder.capture = lambda step: step
    assert list(gpu.forms(decoder)) == ["tensors", "tensors, without CUDA graphs"]
    assert decoder.capture is None
