"""Changed graphs in the cache folder: made once, reported every time, shared, limited in size."""

from __future__ import annotations

import multiprocessing
import os
import shutil

import numpy as np
import pytest

from asr_hlg.errors import GrammarError, HotwordError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.adapt import cached, runtime
from tests.graph.test_runtime_grammar import make, scores
from tests.lattice.test_lattice import random_posteriors

# The names contain letters only that the toy model's phones allow; hama pronounces them.
HOTWORDS = "cat at\t2\nпривет\nat\n#1\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ASR_HLG_CACHE", str(folder))
    return folder


@pytest.fixture
def model(tmp_path):
    return make(tmp_path / "model", "ctc", True)


@pytest.fixture
def hotwords(tmp_path):
    path = tmp_path / "hot.txt"
    path.write_text(HOTWORDS)
    return path


def kept(cache):
    return sorted(p for p in (cache / "changed-graphs").iterdir() if p.is_dir())


def test_a_kept_graph_is_the_one_that_was_made(cache, model, hotwords, monkeypatch):
    expected, _ = runtime.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)
    first, _ = cached.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)
    monkeypatch.setattr(runtime, "open_graph", lambda *_, **__: pytest.fail("made again"))
    again, _ = cached.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)
    posteriors = random_posteriors(expected, [6])
    for graph in (first, again):
        assert scores(graph, posteriors) == scores(expected, posteriors)
        assert graph.folder == model
        for name, array in graph.packed.arrays.items():
            assert np.array_equal(array, expected.packed.arrays[name])
    assert isinstance(again.packed.arcs.base, np.memmap)


def test_errors_of_items_are_reported_every_time(cache, model, hotwords):
    for _ in range(2):
        errors = []
        cached.open_graph(model, hotword_file=hotwords, on_error=errors.append)
        assert [(type(e), e.path, e.line) for e in errors] == [
            (HotwordError, str(hotwords), 4),
            (HotwordError, str(hotwords), 2),
        ]
        assert "cannot be pronounced" in str(errors[1])
        assert "reserved" in str(errors[0])
        with pytest.raises(HotwordError, match="reserved"):
            cached.open_graph(model, hotword_file=hotwords)


def test_a_faulty_grammar_is_not_kept(cache, model, tmp_path):
    (tmp_path / "g.txt").write_text("cat\nat | (a")
    for _ in range(2):
        with pytest.raises(GrammarError, match="expected"):
            cached.open_graph(model, grammar_file=tmp_path / "g.txt")
    assert kept(cache) == []
    with pytest.raises(GrammarError, match="cannot be read"):
        cached.open_graph(model, grammar_file=tmp_path / "none.txt")


def test_changes_of_graph_list_or_dictionary_make_another_graph(cache, model, hotwords):
    def opened():
        return cached.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)[0]

    opened()
    hotwords.write_text("cat at\t3\n")
    opened()
    assert len(kept(cache)) == 2
    dictionary = model.parent / "lexicon.txt"
    dictionary.write_text(dictionary.read_text() + "tack t ae k\n")
    opened()
    assert len(kept(cache)) == 3
    DecodingGraph.load(model).fsa  # noqa: B018 - adds a view to the folder, which changes no words
    opened()
    assert len(kept(cache)) == 3


def test_damage_is_repaired(cache, model, hotwords):
    def opened():
        return cached.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)[0]

    first = opened()
    posteriors = random_posteriors(first, [5])
    expected = scores(first, posteriors)
    for name in ("graph.json", "packed/arcs.npy", "change.json", "words.txt"):
        (folder,) = kept(cache)
        (folder / name).write_bytes(b"\0" * 40)
        assert scores(opened(), posteriors) == expected
    (folder / "packed" / "arcs.npy").unlink()
    assert scores(opened(), posteriors) == expected


def test_without_a_place_to_keep_it_the_graph_is_made_in_memory(model, hotwords, tmp_path):
    path = tmp_path / "cache" / "changed-graphs"
    path.parent.mkdir()
    path.write_text("")  # a file where a folder should be
    expected, _ = runtime.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)
    posteriors = random_posteriors(expected, [5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASR_HLG_CACHE", str(path.parent))
        warnings = []
        patch.setattr(cached._LOG, "warning", lambda text, *args: warnings.append(text % args))
        graph, _ = cached.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)
    assert scores(graph, posteriors) == scores(expected, posteriors)
    assert len(warnings) == 1
    assert "cannot be kept" in warnings[0]


def test_old_graphs_make_room(cache, model, hotwords, monkeypatch):
    folders = []
    for boost in range(4):
        hotwords.write_text(f"cat\t{boost + 1}\n")
        cached.open_graph(model, hotword_file=hotwords)
        folders += [folder for folder in kept(cache) if folder not in folders]
        os.utime(folders[-1], (1e9 + boost, 1e9 + boost))
    part = cache / "changed-graphs" / "abandoned.1.part"
    part.mkdir()
    os.utime(part, (1e9, 1e9))
    fresh = cache / "changed-graphs" / "being-made.2.part"
    fresh.mkdir()
    size = sum(path.stat().st_size for path in folders[0].rglob("*") if path.is_file())
    monkeypatch.setattr(cached, "_MAX_BYTES", int(3.5 * size))
    hotwords.write_text("cat\t9\n")
    cached.open_graph(model, hotword_file=hotwords)
    left = kept(cache)
    assert [folder in left for folder in folders] == [False, False, True, True]
    assert not part.exists()
    assert fresh.exists()
    shutil.rmtree(fresh)
    assert len(kept(cache)) == 3


def _open(model, hotwords, results):
    made = []
    original = runtime.open_graph

    def count(*args, **kwargs):
        made.append(1)
        return original(*args, **kwargs)

    runtime.open_graph = count
    cached.open_graph(model, hotword_file=hotwords, on_error=lambda _: None)
    results.put(len(made))


def test_of_processes_at_the_same_time_one_makes_the_graph(cache, model, hotwords):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_open, args=(model, hotwords, results)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(results.get() for _ in processes) == [0, 0, 0, 1]
