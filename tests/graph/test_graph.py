"""Graphs: recipes, incremental builds, hashes of folders, explanations."""

from __future__ import annotations

import json
import subprocess
import sys

import k2
import numpy as np
import pytest
import torch

from asr_hlg import lm
from asr_hlg.errors import AsrHlgError, GraphError, LexiconError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.graph.build import Report, build
from asr_hlg.graph.compile import longest_epsilon_path
from asr_hlg.graph.explain import explain
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions
from tests.support.brute_force import transductions

RECIPE = """
description = "test"
check = ["cat and hat"]
[topology]
kind = "ctc"
[lexicon]
files = ["lexicon.txt"]
[grammar]
file = "grammar.txt"
[search]
acoustic_scale = 0.7
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "lexicon.txt").write_text("cat k ae t\nand ae n d\nhat h ae t\n")
    (tmp_path / "grammar.txt").write_text("(cat | and | hat)+\n")
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE)
    return path


def stages_of(path) -> list[str]:
    """Build, and tell which stages ran."""
    names: list[str] = []
    build(Recipe.read(path), report=Report(stage=lambda stage: names.append(stage.name)))
    return names


MODEL = ("<blk>", "SIL", "K", "AE", "T", "N", "D", "HH")


@pytest.mark.parametrize(
    ("lexicon", "line", "message", "remedy"),
    [
        ("cat K AE T\nand AE N QQ\nhat HH AE T\n", 2, "of the lexicon: QQ", "use the model's"),
        ("cat K AE1 T\nand AE1 N D\nhat HH AE1 T\n", 1, "of the lexicon: AE1", "stress"),
    ],
)
def test_phones_that_the_acoustic_model_lacks(recipe, lexicon, line, message, remedy):
    path = recipe.with_name("lexicon.txt")
    path.write_text(lexicon)
    with pytest.raises(LexiconError, match=message) as error:
        build(Recipe.read(recipe), model_tokens=MODEL)
    assert remedy in (error.value.remedy or "")
    assert (error.value.path, error.value.line) == (str(path), line)
    assert not recipe.with_suffix("").exists()


def test_a_lexicon_for_another_model_is_compiled_with_a_remark(recipe):
    notes: list[str] = []
    build(Recipe.read(recipe), report=Report(note=notes.append), model_tokens=MODEL)
    assert notes == ["the acoustic model hama lacks all tokens of the lexicon: ae, d, h, k, n, t"]
    recipe.with_name("lexicon.txt").write_text("cat K AE T\nand AE N D\nhat HH AE T\n")
    build(Recipe.read(recipe), report=Report(note=notes.append), model_tokens=MODEL)
    assert len(notes) == 1


def test_the_notation_of_cmudict(recipe):
    lines = ";;; a comment", "CAT  K AE T", "AND  AE N D", "AND(1)  AH N", "AND(2)  N", "(1) N"
    recipe.with_name("lexicon.txt").write_text("\n".join(lines))
    recipe.with_name("grammar.txt").write_text("(CAT | AND)+\n")
    recipe.write_text(RECIPE.replace('check = ["cat and hat"]', ""))
    graph = DecodingGraph.load(build(Recipe.read(recipe)))
    assert {entry.word for entry in graph.lexicon.entries} == {"CAT", "AND", "(1)"}
    assert graph.spellings("AND") == [("AE", "N", "D"), ("AH", "N"), ("N",)]


def test_unknown_speech_in_the_grammar_of_a_recipe(recipe):
    recipe.with_name("grammar.txt").write_text("cat and hat\n[unk]\n")
    graph = DecodingGraph.load(build(Recipe.read(recipe)))
    spellings = graph.spellings("[unk]")
    assert sorted(spellings) == [(phone,) for phone in ("ae", "d", "h", "k", "n", "t")]


def arrays(graph: DecodingGraph) -> list[np.ndarray]:
    fsa = graph.fsa
    parts = (fsa.arcs.values(), fsa.phones, fsa.aux_labels.values, fsa.graph_scores)
    return [part.numpy() for part in parts]


def test_a_graph_folder_gives_back_what_was_saved(recipe):
    folder = build(Recipe.read(recipe))
    graph = DecodingGraph.load(folder)
    again = folder.parent / "again"
    graph.save(again)
    for one, other in zip(arrays(graph), arrays(DecodingGraph.load(again)), strict=True):
        assert np.array_equal(one, other)
    assert graph.columns == ("<blk>", "ae", "d", "h", "k", "n", "t")
    assert graph.word_names == ["<eps>", "and", "cat", "hat", "#0"]
    assert graph.lexicon.pronunciations("cat") == [("k", "ae", "t")]
    assert graph.spellings("cat") == [("k", "ae", "t")]
    assert SearchOptions.from_graph(graph).acoustic_scale == 0.7
    assert SearchOptions.from_graph(graph, acoustic_scale=0.5).acoustic_scale == 0.5


def test_the_graph_is_what_search_needs(recipe):
    fsa = DecodingGraph.load(build(Recipe.read(recipe))).fsa
    assert "ArcSorted" in fsa.properties_str
    connected = k2.connect(k2.Fsa(fsa.arcs.values().clone()))
    assert connected.num_arcs == fsa.num_arcs
    assert set(fsa.labels.tolist()) == {-1, *range(7)}


def test_nothing_is_done_twice(recipe):
    assert "L∘G compose" in stages_of(recipe)
    assert stages_of(recipe) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "expected", "absent"),
    [
        ("toy.toml", 'kind = "ctc"', 'kind = "hmm"', "H∘(L∘G) compose", "L∘G compose"),
        ("toy.toml", "0.7", "0.9", None, "H∘(L∘G) compose"),
        ("lexicon.txt", "k ae t", "k ae d", "L∘G compose", None),
        ("grammar.txt", "and | ", "and | /2/ ", "L∘G compose", None),
    ],
)
def test_what_changed_is_built_again_and_no_more(recipe, name, old, new, expected, absent):
    stages_of(recipe)
    path = recipe.parent / name
    path.write_text(path.read_text().replace(old, new))
    names = stages_of(recipe)
    assert expected is None or expected in names
    assert absent not in names
    assert stages_of(recipe) == []
    changed = DecodingGraph.load(recipe.with_suffix(""))
    assert SearchOptions.from_graph(changed).acoustic_scale == (0.9 if new == "0.9" else 0.7)


def test_touching_a_file_changes_nothing(recipe):
    stages_of(recipe)
    (recipe.parent / "lexicon.txt").touch()
    assert stages_of(recipe) == []


def test_hlg_is_composed_when_it_is_asked_for_and_kept(recipe):
    folder = build(Recipe.read(recipe))
    assert "hlg" not in DecodingGraph.load(folder).info()
    first, second = DecodingGraph.load(folder), DecodingGraph.load(folder)
    composed = arrays(first)
    size = {"states": int(first.fsa.shape[0]), "arcs": first.fsa.num_arcs}
    assert DecodingGraph.load(folder).info()["hlg"].items() >= size.items()
    written = (folder / "hlg" / "arcs.npy").stat().st_mtime_ns
    for again in (second, DecodingGraph.load(folder)):
        for one, other in zip(composed, arrays(again), strict=True):
            assert np.array_equal(one, other)
    assert (folder / "hlg" / "arcs.npy").stat().st_mtime_ns == written
    assert stages_of(recipe) == []  # the build is still up to date


def test_a_damaged_lg_is_not_composed(recipe):
    folder = build(Recipe.read(recipe))
    path = folder / "lg" / "score.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(GraphError, match="has changed since it was written"):
        DecodingGraph.load(folder).fsa  # noqa: B018


def test_several_processes_compose_hlg_once(recipe):
    folder = build(Recipe.read(recipe))
    code = f"from asr_hlg.graph import DecodingGraph; DecodingGraph.load({str(folder)!r}).fsa"
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert sum("composing H∘L∘G" in text for text in said) == 1


@pytest.mark.parametrize(
    "name",
    [
        "hlg/arcs.npy",
        "hlg/phones.npy",
        "hlg/words.npy",
        "packed/arcs.npy",
        "words.txt",
        "tokens.txt",
    ],
)
def test_one_flipped_bit_is_found(recipe, name):
    folder = build(Recipe.read(recipe), with_hlg=True)
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(GraphError, match="has changed since it was written") as error:
        DecodingGraph.load(folder).fsa  # noqa: B018
    assert error.value.path == str(path)


def test_an_interrupted_build_is_not_a_graph(recipe):
    folder = build(Recipe.read(recipe))
    (folder / "graph.json").unlink()
    with pytest.raises(GraphError, match=r"no graph\.json"):
        DecodingGraph.load(folder)
    assert "L∘G pack" in stages_of(recipe)


def test_a_newer_format_is_refused(recipe):
    folder = build(Recipe.read(recipe))
    meta = json.loads((folder / "graph.json").read_text())
    (folder / "graph.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(GraphError, match="format 99"):
        DecodingGraph.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[grammar]", "[gramar]", "did you mean grammar"),
        ('kind = "ctc"', 'kid = "ctc"', "did you mean kind"),
        ('kind = "ctc"', 'kind = "ctcc"', "unknown topology"),
        ("grammar.txt", "other.txt", "not a file"),
        ('check = ["cat and hat"]', 'check = ["cat dog"]', "not in the lexicon"),
        ('files = ["lexicon.txt"]', "files = []", "files is missing"),
        ("description", "description = ", "is not a recipe"),
        ('["lexicon.txt"]', '["pocketsphinx:dic"]', "pocketsphinx:dict"),
    ],
)
def test_mistakes_in_a_recipe(recipe, old, new, message):
    recipe.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(AsrHlgError, match=message):
        build(Recipe.read(recipe))


def test_an_arpa_file_as_g(recipe):
    arpa = "\\data\\\nngram 1=5\nngram 2=2\n\n\\1-grams:\n-99 <s> -0.3\n-1 </s>\n-0.5 cat -0.2\n"
    arpa += "-0.5 and\n-0.7 dog\n\n\\2-grams:\n-0.2 <s> cat\n-0.1 cat and\n\n\\end\\\n"
    (recipe.parent / "toy.arpa").write_text(arpa)
    text = recipe.read_text().replace('[grammar]\nfile = "grammar.txt"', '[lm]\nfile = "toy.arpa"')
    recipe.write_text(text.replace("cat and hat", "cat and"))
    notes: list[str] = []
    folder = build(Recipe.read(recipe), report=Report(note=notes.append))
    assert any("dog" in note for note in notes)  # the LM's word that the lexicon lacks
    graph = DecodingGraph.load(folder)
    lg, lexicon = graph.lg, graph.lexicon
    # log10 P(cat|<s>) + log10 P(and|cat) + log10 P(</s>), since "and" has no back-off weight
    assert explain(lg, lexicon, "cat and").score == pytest.approx(-1.3 * np.log(10), abs=2e-4)


def test_back_offs_write_nothing(recipe, tmp_path):
    """G from read_arpa has #0 as a label; a path over a back-off must not say it."""
    (tmp_path / "g.arpa").write_text(
        "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-99 <s> -0.3\n-1 </s>\n-0.5 cat -0.2\n"
        "-0.5 and\n\n\\2-grams:\n-0.2 <s> cat\n\n\\end\\\n"
    )
    lexicon = Lexicon.read(recipe.parent / "lexicon.txt")
    G = lm.read_arpa(tmp_path / "g.arpa", lexicon.words)
    graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    assert set(graph.fsa.aux_labels.values.tolist()) <= {lexicon.words["cat"], lexicon.words["and"]}


def test_a_rare_homophone_survives_where_g_backs_off(recipe):
    """Behind "a", a history, G backs off to where "ah" leads at once; both must get there."""
    lexicon = Lexicon([("a", ("ae",)), ("ah", ("ae",))], silence=None)
    arpa = "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-99 <s> -0.3\n-1 </s>\n-0.5 a -0.2\n"
    arpa += "-0.9 ah\n\n\\2-grams:\n-0.1 a </s>\n\n\\end\\\n"
    (recipe.parent / "toy.arpa").write_text(arpa)
    G, _ = lm.to_arcs(lm.ArpaModel.read(recipe.parent / "toy.arpa"), lexicon.words)
    graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    ae = graph.columns.index("ae")
    found = {
        tuple(graph.word_names[i] for i in words): max(scores)
        for words, scores in transductions(graph.fsa, [ae, 0, ae]).items()
    }
    # <s> backs off, then each word; "a" backs off before another word, and ends with a bigram
    expected = {
        ("a", "a"): -0.3 - 0.5 - 0.2 - 0.5 - 0.1,
        ("a", "ah"): -0.3 - 0.5 - 0.2 - 0.9 - 1,
        ("ah", "a"): -0.3 - 0.9 - 0.5 - 0.1,
        ("ah", "ah"): -0.3 - 0.9 - 0.9 - 1,
    }
    assert found == pytest.approx({w: s * np.log(10) for w, s in expected.items()}, abs=1e-4)


def test_explanations(recipe):
    folder = build(Recipe.read(recipe))
    graph = DecodingGraph.load(folder)
    lg, lexicon = graph.lg, graph.lexicon
    way = explain(lg, lexicon, "cat and hat")
    assert way.stopped_at is None
    assert " ".join(step.token for step in way.steps if step.token) == "k ae t ae n d h ae t"
    assert [step.word for step in way.steps if step.word] == ["cat", "and", "hat"]
    for step, following in zip(way.steps, way.steps[1:], strict=False):
        assert step.dst == following.src
    # three words out of three, going on twice, stopping once
    assert way.score == pytest.approx(3 * np.log(1 / 3) + 3 * np.log(1 / 2), abs=2e-4)
    assert "k" in str(way)
    assert "cat" in str(way)


@pytest.mark.parametrize(
    ("text", "sentence", "stopped_at", "reason"),
    [
        ("cat and hat", "cat dog", 1, "not in the lexicon"),
        ("cat and hat", "cat hat", 1, "does not allow it after 'cat'"),
        ("cat and hat", "and", 0, "at the beginning"),
        ("cat and hat", "cat and", 2, "no sentence of the grammar ends there"),
    ],
)
def test_where_a_sentence_stops(recipe, text, sentence, stopped_at, reason):
    lexicon = Lexicon.read(recipe.parent / "lexicon.txt")
    (recipe.parent / "grammar.txt").write_text(text)
    folder = build(Recipe.read(recipe))
    explanation = explain(DecodingGraph.load(folder).lg, lexicon, sentence)
    assert explanation.stopped_at == stopped_at
    assert reason in str(explanation)


def test_info(recipe):
    info = DecodingGraph.load(build(Recipe.read(recipe))).info()
    assert (info["words"], info["pronunciations"], info["tokens"]) == (3, 3, 7)
    assert info["lg"]["epsilon_share"] == 0.0
    assert {"python", "k2", "torch"} <= set(info["versions"])
    assert set(info["sources"]) == {"lexicon.txt", "grammar.txt"}


def arcs_reading(*rows: tuple[int, int, int]) -> Arcs:
    src, dst, label = (np.array(column, dtype=np.int32) for column in zip(*rows, strict=True))
    num_states = int(max(src.max(), dst.max())) + 1
    return Arcs(src, dst, label, label, np.zeros(len(src), np.float32), np.zeros(num_states))


def test_epsilon_paths_are_measured_and_cycles_refused():
    assert longest_epsilon_path(arcs_reading((0, 1, 0), (1, 2, 0), (2, 0, 5), (0, 2, 0))) == 2
    assert longest_epsilon_path(arcs_reading((0, 1, 3))) == 0
    with pytest.raises(GraphError, match="cycle"):
        longest_epsilon_path(arcs_reading((0, 1, 0), (1, 2, 0), (2, 1, 0)))


def test_memory_limit_stops_with_advice():
    meter = Meter(max_memory=0.001)
    with pytest.raises(GraphError, match="prune"), meter.stage("big"):
        np.ones(1_000_000_000)
    np.ones(10_000_000)  # the limit is gone afterwards


@pytest.mark.parametrize(("limit", "status"), [(0.15, 1), (3.0, 0)])
def test_memory_limit_reaches_openfst_and_k2(recipe, limit, status):
    """In a process of its own: what earlier tests freed could be used again without asking."""
    words = [f"w{i}" for i in range(30_000)]
    lines = (f"{word} {' '.join(f'{i:06d}')}\n" for i, word in enumerate(words))
    (recipe.parent / "lexicon.txt").write_text("".join(lines))
    (recipe.parent / "grammar.txt").write_text("(" + " | ".join(words) + ")+")
    recipe.write_text(recipe.read_text().replace("cat and hat", "w1 w2"))
    command = [
        sys.executable,
        "-m",
        "asr_hlg.cli",
        "graph",
        str(recipe),
        "--hlg",
        "--max-memory",
        str(limit),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == status, run.stderr
    assert ("would need more than 0.15 GB" in run.stderr) == (status == 1)
    assert "Traceback" not in run.stderr


def test_l_must_bring_its_pronunciations_and_fit_h():
    lexicon = Lexicon([("cat", ("k", "ae", "t"))])
    fsa = lexicon.to_fsa(disambig=True)
    assert compile_hlg(topology.ctc(lexicon.num_tokens), fsa).lexicon is lexicon
    with pytest.raises(GraphError, match="num_tokens"):
        compile_hlg(topology.ctc(3), lexicon)
    with pytest.raises(GraphError, match="no pronunciations"):
        compile_hlg(topology.ctc(4), k2.Fsa(fsa.arcs.values(), aux_labels=fsa.aux_labels))


def test_g_that_shares_no_word_with_l_is_empty():
    lexicon = Lexicon([("cat", ("k", "ae", "t"))])
    G = k2.Fsa.from_str(f"0 1 {lexicon.words['#0'] + 5} 0\n1 2 -1 0\n2")
    with pytest.raises(GraphError, match="empty"):
        compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)


def test_graph_moves_between_devices(recipe):
    graph = DecodingGraph.load(build(Recipe.read(recipe)))
    assert graph.to("cpu") is graph
    if torch.cuda.is_available():
        assert graph.to("cuda").device == "cuda"
