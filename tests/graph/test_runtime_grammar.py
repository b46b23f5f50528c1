"""Grammars over a compiled graph's L and H, against graphs compiled from a recipe with them."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GrammarError, GraphError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.adapt.runtime import open_graph, with_grammar
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from asr_hlg.rescore.hypotheses import Hypotheses
from asr_hlg.search import SearchOptions, decode
from asr_hlg.transcribe.lattices import DecodedPiece
from asr_hlg.transcribe.options import TranscribeOptions
from asr_hlg.transcribe.pieces import Piece
from asr_hlg.transcribe.transcript import read as read_transcript
from tests.graph.test_hotwords import DATA, Spelling, best_path
from tests.graph.test_new_words import ARPA, compile_toy
from tests.lattice.test_lattice import all_paths, random_posteriors

__all__ = ["best_path"]  # a fixture

LEXICON = "cat k ae t\nat ae t\na ae\nadd ae d\nad ae d\ndad d ae d\ndad d ae d d\n"
RECIPE = """
[topology]
kind = "{kind}"
num_states = 2
[lexicon]
files = ["lexicon.txt"]
{silence}
{G}
[search]
acoustic_scale = 0.7
"""
GRAMMAR = "(cat | /2/ at) [a]\na dad\n"


def make(folder: Path, kind: str, silence: bool, grammar: str | None = None) -> Path:
    """A graph folder: of the toy model, which has no use for "dad", or of a grammar."""
    folder.mkdir()
    (folder / "lexicon.txt").write_text(LEXICON)
    (folder / "toy.arpa").write_text(ARPA.format(count=7, more=""))
    (folder / "grammar.txt").write_text(grammar or "")
    G = '[lm]\nfile = "toy.arpa"' if grammar is None else '[grammar]\nfile = "grammar.txt"'
    pause = 'silence = "SIL"\nsilence_prob = 0.3' if silence else ""
    path = folder / "toy.toml"
    path.write_text(RECIPE.format(kind=kind, silence=pause, G=G))
    return build(Recipe.read(path))


def scores(graph: DecodingGraph, posteriors) -> dict[str, list[float]]:
    found = all_paths(graph, posteriors, 0).items()
    return {" ".join(graph.word_names[i] for i in ids): sorted(s) for ids, s in found}


@pytest.mark.parametrize("silence", [False, True])
@pytest.mark.parametrize("kind", ["ctc", "ctc-modified", "hmm", "chain"])
def test_the_grammar_is_as_if_the_recipe_had_it(tmp_path, kind, silence):
    folder = make(tmp_path / "model", kind, silence)
    graph, guesses = with_grammar(folder, GRAMMAR)
    assert dict(guesses.pronunciations) == {}  # the recipe's file has "dad"
    whole = DecodingGraph.load(make(tmp_path / "grammar", kind, silence, GRAMMAR))
    assert graph.columns == DecodingGraph.load(folder).columns
    assert graph.silence == whole.silence
    assert SearchOptions.from_graph(graph) == SearchOptions.from_graph(whole)
    assert (graph.packed is None) == (whole.packed is None) == (kind != "ctc")
    posteriors = random_posteriors(graph, [7 if kind == "hmm" else 6])
    found, expected = scores(graph, posteriors), scores(whole, posteriors)
    assert found.keys() == expected.keys()
    assert len(expected) > 2
    for text, one in expected.items():
        assert found[text] == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize("text", ["cat a\n[unk]", '["cat a", "[unk]"]'])
@pytest.mark.parametrize(
    ("spoken", "expected"),
    [("k ae t ae", "cat a"), ("d d ae", "[unk]"), ("t d k d", "[unk]")],
)
def test_unknown_speech_is_an_answer(tmp_path, text, spoken, expected):
    graph, guesses = with_grammar(make(tmp_path / "model", "ctc", True), text)
    assert dict(guesses.pronunciations) == {}
    assert sorted(graph.spellings("[unk]")) == [("ae",), ("d",), ("k",), ("t",)]
    # every phone in two frames, then a blank, each far more probable than any other token
    columns = [graph.columns.index(phone) for phone in spoken.split()]
    frames = [column for phone in columns for column in (phone, phone, 0)]
    log_probs = torch.full((1, len(frames), len(graph.columns)), math.log(0.001))
    log_probs[0, range(len(frames)), frames] = math.log(0.99)
    posteriors = Posteriors(log_probs, torch.tensor([len(frames)]), 0.02, graph.columns)
    nothing = np.zeros(0, np.float32)
    decoded = DecodedPiece(
        Piece(1, 0, nothing, posteriors, is_last=True),
        Hypotheses(decode(graph, posteriors), nothing, posteriors),
    )
    transcript = read_transcript(decoded, TranscribeOptions(nbest=20, times="ctc"), 16000)
    assert transcript.text == expected
    assert " ".join(word.text for word in transcript.words) == expected
    assert transcript.words[-1].end <= 0.02 * len(frames)
    texts = [alternative.text for alternative in transcript.alternatives]
    assert len(set(texts)) == len(texts)


def test_words_come_from_the_lexicon_then_its_sources_then_a_guess(tmp_path):
    folder = make(tmp_path / "model", "ctc", False)
    (tmp_path / "model" / "lexicon.txt").write_text(LEXICON.replace("cat k ae t", "cat d d d"))
    graph, guesses = with_grammar(folder, "cat\ndad\ntak", model=Spelling())
    assert graph.spellings("cat") == [("k", "ae", "t")]
    assert graph.spellings("dad") == [("d", "ae", "d"), ("d", "ae", "d", "d")]
    assert graph.spellings("tak") == [("t", "ae", "k")]
    assert list(guesses.pronunciations) == ["tak"]
    (tmp_path / "model" / "lexicon.txt").unlink()
    graph, guesses = with_grammar(folder, "cat\ndad\ntak", model=Spelling())
    assert list(guesses.pronunciations) == ["dad", "tak"]
    assert graph.spellings("dad") == [("d", "ae", "d")]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("cat\nat | (a", 2, "expected '\\)'"),
        ("cat\n\nzoo at\n", 3, "'zoo' is not in the lexicon and cannot be pronounced"),
        ("кот", 1, "cannot be pronounced"),
        ("", 1, "accepts no sentence"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, text, line, message):
    folder = make(tmp_path / "model", "ctc", False)
    with pytest.raises(GrammarError, match=message) as error:
        with_grammar(folder, text, "commands.txt", Spelling())
    assert (error.value.path, error.value.line) == ("commands.txt", line)


def test_a_guess_must_suit_the_acoustic_model(tmp_path):
    folder = make(tmp_path / "model", "ctc", False)

    class Foreign:
        def pronounce(self, word):
            return ("x", "ae")

    with pytest.raises(GrammarError, match="the acoustic model has no 'x'"):
        with_grammar(folder, "hat", model=Foreign())


def test_only_graphs_of_recipes_have_a_topology_to_build_on(tmp_path):
    compile_toy(tmp_path).save(tmp_path / "graph")
    with pytest.raises(GraphError, match="not compiled from a recipe"):
        with_grammar(tmp_path / "graph", "cat")
    with pytest.raises(GraphError, match="not a compiled graph"):
        with_grammar(tmp_path / "nothing", "cat")


def test_a_damaged_lexicon_is_found(tmp_path):
    folder = make(tmp_path / "model", "ctc", False)
    (folder / "lexiconp.txt").write_text("cat 1 k ae k\n")
    with pytest.raises(GraphError, match="has changed since it was written"):
        with_grammar(folder, "cat")


def test_a_graph_is_opened_with_what_a_user_wishes(tmp_path):
    folder = make(tmp_path / "model", "ctc", True)
    grammar, hotwords = tmp_path / "commands.txt", tmp_path / "hotwords.txt"
    grammar.write_text("cat | at a\ntak")
    hotwords.write_text("at a\t2\n")
    posteriors = random_posteriors(DecodingGraph.load(folder), [5])
    plain, guesses = open_graph(folder)
    assert scores(plain, posteriors) == scores(DecodingGraph.load(folder), posteriors)
    assert guesses.report() == ""
    graph, guesses = open_graph(
        folder, grammar_file=grammar, hotword_file=hotwords, model=Spelling()
    )
    assert list(guesses.pronunciations) == ["tak"]
    before = scores(with_grammar(folder, grammar.read_text(), model=Spelling())[0], posteriors)
    after = scores(graph, posteriors)
    assert {"cat", "at a", "tak"} == before.keys() == after.keys()
    assert after["at a"][-1] == pytest.approx(before["at a"][-1] + 4.0, abs=1e-4)
    assert after["cat"] == pytest.approx(before["cat"], abs=1e-4)
    hotwords.write_text("kakk\n")
    graph, guesses = open_graph(folder, hotword_file=hotwords, model=Spelling())
    assert list(guesses.pronunciations) == ["kakk"]
    assert "kakk" in graph.words
    with pytest.raises(GraphError, match="cannot be read"):
        open_graph(folder, grammar_file=tmp_path / "none.txt")


@pytest.mark.real
def test_time_grows_with_the_number_of_phrases_not_its_square(english):
    choice = random.Random(1)
    words = [word for word in english.word_names[1:-1] if word.isalpha()]

    def seconds(num_phrases: int) -> float:
        phrases = [f"call {' '.join(choice.sample(words, 3))}" for _ in range(num_phrases)]
        begin = time.process_time()
        graph, guesses = with_grammar(english.folder, "\n".join(phrases))
        duration = time.process_time() - begin
        assert not guesses.pronunciations
        assert graph.columns == english.columns
        return duration

    # a quadratic algorithm would need 64 times as long, on any machine
    assert seconds(4000) < 24 * min(seconds(500) for _ in range(3))


@pytest.mark.real
def test_speech_is_recognised_as_a_sentence_of_the_grammar(english, best_path):
    text = "i met (xanthippe | siobhan | joe) at the (station | house)\nask siobhan to come home"
    graph, guesses = with_grammar(english.folder, text)
    assert list(guesses.pronunciations) == ["xanthippe"]
    assert best_path(graph, DATA / "xanthippe.wav").text == "i met xanthippe at the station"
    assert best_path(graph, DATA / "siobhan.wav").text == "ask siobhan to come home"
