"""Views of L∘G: kept in the graph folder, and derived again where they are missing or stale."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import torch

from asr_hlg import lm
from asr_hlg.errors import GraphError
from asr_hlg.graph import DecodingGraph, compile_hlg, metadata, store, topology
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.lexicon import Lexicon
from tests.fuzz.folders import make_graph, search_folder
from tests.support.manifests import write_manifest


@pytest.fixture
def folder(tmp_path):
    make_graph(tmp_path)
    return tmp_path / "toy"


@pytest.mark.parametrize(
    ("view", "engine"), [("packed", "tokens"), ("packed_fst", "fst"), ("hlg", "k2")]
)
def test_a_view_that_is_missing_is_derived_and_kept(folder, view, engine):
    expected = search_folder(folder, engine)
    shutil.rmtree(folder / view)
    assert search_folder(folder, engine) == expected
    assert list((folder / view).glob("*.npy"))
    written = (folder / view).stat().st_mtime_ns
    assert search_folder(folder, engine) == expected
    assert (folder / view).stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("view", "engine", "key"),
    [
        ("packed", "tokens", lambda key: "hash of another L∘G"),
        ("packed_fst", "fst", lambda key: key.split()[0]),  # as before views had revisions
    ],
)
def test_a_view_of_another_graph_or_revision_is_derived_again(folder, view, engine, key):
    expected = search_folder(folder, engine)
    meta = metadata.read(folder)
    final = np.load(folder / view / "final.npy")
    np.save(folder / view / "final.npy", final - 1)
    meta["views"][view] = key(meta["views"][view])
    write_manifest(folder, meta)
    assert search_folder(folder, engine) == expected


def test_the_blank_comes_first_then_arcs_by_score():
    generator = np.random.default_rng(0)
    src, dst, label = generator.integers(0, [[5], [5], [3]], (3, 60))
    packed = PackedFst.pack(
        src, dst, label, np.zeros(60, int), generator.normal(size=60), np.zeros(5)
    )
    for first, end, state in zip(
        packed.states["first"], packed.states["first"][1:], packed.states, strict=False
    ):
        arcs = packed.arcs[first:end]
        order = [(arc["label"] > 0, -arc["score"]) for arc in arcs]
        assert len(order) > 5
        assert order == sorted(order)
        assert state["reach"] == arcs["score"].max()


def test_a_folder_that_cannot_be_written_to_serves_all_the_same(folder, monkeypatch, caplog):
    expected = search_folder(folder, "k2")
    shutil.rmtree(folder / "hlg")

    def full(path, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save_array", full)
    # The import linter, which another test runs, disables loggers.
    monkeypatch.setattr(logging.getLogger("asr_hlg.graph"), "disabled", False)
    assert search_folder(folder, "k2") == expected
    assert "hlg cannot be stored" in caplog.text


def test_a_topology_that_no_recipe_describes_is_stored(tmp_path):
    lexicon = Lexicon([("at", ("a", "t")), ("a", ("a",))], silence=None)
    G, _ = lm.to_arcs(lm.estimate(["a at a", "at at"], 2), lexicon.words)
    transitions = np.array([[[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]], [[0.6, 0.4, 0.0], [0.0, 0.2, 0.8]]])
    graph = compile_hlg(topology.hmm(2, 2, transitions=transitions), lexicon, G)
    graph.save(tmp_path / "graph")
    shutil.rmtree(tmp_path / "graph" / "hlg")  # to be composed from what is stored of H
    loaded = DecodingGraph.load(tmp_path / "graph")
    assert loaded.packed is None
    assert loaded.columns == graph.columns
    for one, other in ((graph.fsa, loaded.fsa), (graph.fsa.phones, loaded.fsa.phones)):
        values = [x if isinstance(x, torch.Tensor) else x.arcs.values() for x in (one, other)]
        assert torch.equal(*values)


def test_a_changed_graph_keeps_nothing_of_the_old_one(folder):
    graph = DecodingGraph.load(folder)
    before = graph.packed.final.copy()
    emitting = np.flatnonzero(graph.lg.ilabel > 0)
    changed = graph.with_lg(graph.lg.take(np.delete(np.arange(graph.lg.num_arcs), emitting[0])))
    assert len(changed.packed.arcs) == len(graph.packed.arcs) - 1
    assert changed.fsa.num_arcs < graph.fsa.num_arcs
    assert np.array_equal(DecodingGraph.load(folder).packed.final, before)


def test_a_folder_of_format_3_names_the_command_that_compiles_it(folder):
    meta = json.loads((folder / "graph.json").read_text())
    (folder / "graph.json").write_text(json.dumps({**meta, "format": 3}))
    with pytest.raises(GraphError, match=r"format 3, .*asr-hlg graph toy") as error:
        DecodingGraph.load(folder)
    assert "\n" not in str(error.value)
