"""Lists of hotwords: their format, their mistakes, and what they do to a graph and to speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asr_hlg import acoustic, grammar
from asr_hlg.audio import recordings
from asr_hlg.errors import HotwordError, LexiconError
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.graph.adapt.hotwords import DEFAULT_BOOST, Hotword, apply, read
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions, decode
from tests.graph.test_new_words import compile_toy
from tests.lattice.test_lattice import EVERYTHING, random_posteriors

DATA = Path(__file__).parents[1] / "support" / "sounds"


class Spelling:
    """Pronounces the letters k, t and d as themselves, a as ae, and nothing else."""

    def pronounce(self, word):
        phones = {"k": "k", "t": "t", "d": "d", "a": "ae"}
        for letter in word.lower():
            if letter not in phones:
                raise LexiconError(f"{letter!r} is beyond me")
        return tuple(phones[letter] for letter in word.lower())


def write(tmp_path, content: str | bytes) -> Path:
    path = tmp_path / "hotwords.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_list_has_phrases_and_boosts(tmp_path):
    path = write(tmp_path, "\ufeffxanthippe\r\n\n  New   York\t2.5\r\nno tab 3\n10:30\t0\n")
    assert read(path) == [
        Hotword(("xanthippe",), DEFAULT_BOOST, str(path), 1),
        Hotword(("New", "York"), 2.5, str(path), 3),
        Hotword(("no", "tab", "3"), DEFAULT_BOOST, str(path), 4),
        Hotword(("10:30",), 0.0, str(path), 5),
    ]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("cat\nnew york\thigh\n", 2, "not a number: 'high'"),
        ("cat\t1\t2\n", 1, "not a number"),
        ("cat\t-1\n", 1, "at least 0"),
        ("cat\tinf\n", 1, "finite"),
        ("cat\tnan\n", 1, "finite"),
        ("cat\n\t2\n", 2, "without a phrase"),
        ("a cat\ndog\na  cat\t3\n", 3, "twice, first on line 1"),
        ("the <eps>\n", 1, "reserved"),
        ("#1\n", 1, "reserved"),
        (b"cat\n\xe9t\xe9\n", 2, "not UTF-8"),
        ("\n \n", None, "no hotwords"),
    ],
)
def test_mistakes_in_a_list_are_named_with_their_line(tmp_path, content, line, message):
    path = write(tmp_path, content)
    with pytest.raises(HotwordError, match=message) as error:
        read(path)
    assert (error.value.path, error.value.line) == (str(path), line)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(HotwordError, match="No such file"):
        read(tmp_path / "none.txt")


def test_known_words_are_found_in_any_case_and_new_ones_added_as_written(tmp_path):
    graph = compile_toy(tmp_path)
    changed, guesses = apply(graph, [Hotword(("CAT", "At")), Hotword(("Takk",))], Spelling())
    assert "CAT" not in changed.words
    assert "At" not in changed.words
    assert "Takk" in changed.words
    assert "Takk" not in graph.words
    assert dict(guesses.pronunciations) == {"Takk": ("t", "ae", "k", "k")}


@pytest.mark.parametrize("engine", ["tokens", "k2", "tensors"])
def test_boosts_are_part_of_the_graph_score(tmp_path, engine):
    graph = compile_toy(tmp_path, silence="SIL")
    posteriors = random_posteriors(graph, [6], 2)
    options = replace(EVERYTHING, engine=engine)
    # The same phrase in two cases: the larger boost counts.
    phrases = [Hotword(("at", "a"), 1.0), Hotword(("AT", "A"), 1.5), Hotword(("takk",), 3.0)]
    changed, guesses = apply(graph, phrases, Spelling())
    assert dict(guesses.pronunciations) == {"takk": ("t", "ae", "k", "k")}
    before, after = (
        {path.text: path for path in decode(g, posteriors, options).nbest(10_000)[0]}
        for g in (graph, changed)
    )
    assert after["at a"].graph_score == pytest.approx(before["at a"].graph_score + 3.0, abs=1e-4)
    assert after["at at"].graph_score == pytest.approx(before["at at"].graph_score, abs=1e-4)
    unboosted, _ = apply(graph, [Hotword(("takk",), 0.0)], Spelling())
    plain = {path.text: path for path in decode(unboosted, posteriors, options).nbest(10_000)[0]}
    assert after["takk"].score == pytest.approx(plain["takk"].score + 3.0, abs=1e-4)
    assert "takk" not in before


def test_words_that_cannot_be_pronounced_are_named_with_their_line(tmp_path):
    graph = compile_toy(tmp_path)
    hotwords = read(write(tmp_path, "takk\ncat takk\nпривет\n"))
    with pytest.raises(HotwordError, match="'привет', and it cannot be pronounced") as error:
        apply(graph, hotwords, Spelling())
    assert error.value.line == 3
    with pytest.raises(HotwordError, match="'кот', and it cannot be pronounced") as error:
        apply(graph, [Hotword(("cat", "кот"), line=7)])
    assert error.value.line == 7


def test_a_grammar_takes_boosts_but_no_new_words():
    lexicon = Lexicon([("cat", ("k", "ae", "t")), ("at", ("ae", "t"))], silence="SIL")
    G = grammar.compile("cat at | at cat", lexicon.words)
    graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    posteriors = random_posteriors(graph, [8])
    changed, _ = apply(graph, [Hotword(("cat", "at"), 50.0)])
    assert decode(changed, posteriors, EVERYTHING).best_path()[0].text == "cat at"
    changed, _ = apply(graph, [Hotword(("at", "cat"), 50.0)])
    assert decode(changed, posteriors, EVERYTHING).best_path()[0].text == "at cat"
    with pytest.raises(HotwordError, match="new words cannot be added") as error:
        apply(graph, [Hotword(("takk",), path="list", line=2)], Spelling())
    assert (error.value.path, error.value.line) == ("list", 2)


@pytest.fixture(scope="module")
def best_path():
    """Best path of a recording through a graph."""
    model = acoustic.load("hama")
    cache = {}

    def search(graph, path, **options):
        if path not in cache:
            (recording,) = recordings([path])
            cache[path] = model.posteriors([recording.load(model.sample_rate)], model.sample_rate)
        lattice = decode(graph, cache[path], SearchOptions.from_graph(graph, **options))
        return lattice.best_path()[0]

    return search


@pytest.fixture(scope="module")
def with_hotwords(english):
    """The English graph with two names of the recordings, one of them new, and other hotwords."""
    names = ["xanthippe", "siobhan", "kubernetes", "nakamoto", "bank of scotland", "joe biden"]
    graph, guesses = apply(english, [Hotword(tuple(name.split())) for name in names])
    assert "xanthippe" in guesses.pronunciations
    assert "siobhan" not in guesses.pronunciations
    return graph


@pytest.mark.real
@pytest.mark.parametrize("engine", ["tokens", pytest.param("k2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "text", "known"),
    [
        ("xanthippe", "i met xanthippe at the station", False),
        ("siobhan", "ask siobhan to come home", True),
    ],
)
def test_a_name_is_recognised_only_as_a_hotword(
    english, with_hotwords, best_path, name, text, known, engine
):
    path = DATA / f"{name}.wav"
    assert (name in english.words) == known
    assert name not in best_path(english, path, engine=engine).words
    assert best_path(with_hotwords, path, engine=engine).text == text


@pytest.mark.real
def test_hotwords_do_not_change_other_sentences(english, with_hotwords, best_path, root):
    examples = sorted((root / "examples").glob("*.wav"))
    assert len(examples) > 5
    for path in examples:
        before, after = best_path(english, path), best_path(with_hotwords, path)
        assert after.text == before.text
        assert after.score == pytest.approx(before.score, abs=1e-3)


@pytest.mark.real
def test_a_phrase_on_the_best_path_gets_its_boost(english, best_path, root):
    path = next((root / "examples").glob("07*.wav"))
    changed, _ = apply(english, [Hotword(("play", "the", "piano"), 1.5), Hotword(("wants",), 2.0)])
    before, after = best_path(english, path), best_path(changed, path)
    assert before.text == after.text
    assert after.graph_score == pytest.approx(before.graph_score + 3 * 1.5 + 2.0, abs=1e-3)
    assert after.acoustic_score == pytest.approx(before.acoustic_score, abs=1e-3)
