"""A Kaldi model's folder is transcribed with the graph in it."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg.acoustic import Posteriors
from asr_hlg.errors import GraphError
from asr_hlg.search.online import OnlineSearch
from asr_hlg.transcribe import TranscribeOptions, Transcriber
from asr_hlg.transcribe.kaldi_graphs import folder_of, graph_of_model, graph_of_phrases, has_graph
from tests.support.kaldi_files import write_hclg, write_kaldi_folder, write_lookahead


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))
    made = write_kaldi_folder(tmp_path / "model", silence_phones="2")
    write_hclg(made)
    return made


def test_the_graph_is_imported_once(folder, tmp_path):
    said = []
    graph = graph_of_model(folder, said.append)
    assert (graph / "graph.json").is_file()
    assert "importing the graph" in said[0]
    said.clear()
    assert graph_of_model(folder, said.append) == folder_of(folder, said.append) == graph
    assert said == []


def test_a_folder_without_graph_is_said_to_lack_it(tmp_path):
    made = write_kaldi_folder(tmp_path / "model")
    assert not has_graph(made)
    with pytest.raises(GraphError, match=r"neither HCLG\.fst"):
        graph_of_model(made)


def test_phrases_are_recognised_without_an_import_of_the_whole_graph(tmp_path, monkeypatch):
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))
    model = write_kaldi_folder(tmp_path / "model", silence_phones="2")
    write_lookahead(model)
    graph = graph_of_phrases(model, ["b", "b b"], lambda _: None)
    transcriber = Transcriber.from_graph(graph, options=TranscribeOptions(search="mbr"))
    samples = 0.2 * np.random.default_rng(1).normal(size=16000).astype(np.float32)
    lattice = transcriber.decoder.decode(transcriber.model.posteriors([samples], 16000))
    assert set(lattice.mbr_path()[0].words) == {"b"}
    made = [path.name for path in (tmp_path / "cache" / "graphs").glob("*/")]
    assert made == [graph.parent.name]
    assert graph_of_phrases(model, ["b", "b b"], lambda _: None) == graph
    for number in range(9):
        graph_of_phrases(model, ["a"] * (number + 1), lambda _: None)
    assert not graph.exists()  # the oldest of ten lists


@pytest.mark.parametrize("search", ["viterbi", "mbr"])
def test_words_have_times_and_confidences(folder, search):
    transcriber = Transcriber.from_graph(folder, options=TranscribeOptions(search=search))
    assert transcriber.decoder.options.search_beam == 10.0
    assert transcriber.model.searches is not None
    found = []
    for seed in range(8):  # noise, of which minimum Bayes risk may leave no word
        samples = 0.2 * np.random.default_rng(seed).normal(size=16000).astype(np.float32)
        posteriors = transcriber.model.posteriors([samples], 16000)
        lattice = transcriber.decoder.decode(posteriors)
        path = lattice.mbr_path() if search == "mbr" else lattice.best_path()
        words = lattice.words(path)[0]
        assert [word.text for word in words] == list(path[0].words)
        found += words
    assert found
    for word in found:
        assert word.text in ("one", "two")
        assert 0 < word.confidence <= 1 + 1e-9
        assert 0 <= word.start < word.end <= posteriors.lengths[0] * 0.03 + 1e-6


def test_a_search_that_follows_the_model_gives_the_same_posteriors_each_time(folder):
    transcriber = Transcriber.from_graph(folder)
    samples = [0.2 * np.random.default_rng(4).normal(size=16000).astype(np.float32)]
    first, second = (transcriber.model.posteriors(samples, 16000) for _ in range(2))
    assert isinstance(first, Posteriors)
    assert first.array.tobytes() == second.array.tobytes()
    assert isinstance(transcriber.model.searches(), OnlineSearch)
