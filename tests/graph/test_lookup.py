"""Names of graphs: in the current folder, in the cache, and among those that the package brings."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError, GraphError
from asr_hlg.graph import DecodingGraph, lookup, metadata, store
from asr_hlg.graph.build import build
from asr_hlg.graph.lookup import graph_folder, known
from asr_hlg.graph.recipe import Recipe

NAME = "cat_hat"


@pytest.fixture
def package(root, tmp_path, monkeypatch) -> Path:
    """What an installed package brings; the current folder and the cache are empty."""
    package = tmp_path / "package"
    for folder in ("graphs", "lang"):
        (package / folder).mkdir(parents=True)
    shutil.copy(root / "graphs" / f"{NAME}.toml", package / "graphs")
    shutil.copytree(root / "lang" / NAME, package / "lang" / NAME)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lookup, "shipped_folder", lambda: package)
    return package


def silent(line: str) -> None:
    pytest.fail(f"unexpected message: {line}")


def test_a_graph_of_the_package_is_compiled_once_into_the_cache(package, tmp_path):
    lines: list[str] = []
    folder = graph_folder(NAME, lines.append)
    assert folder.is_relative_to(tmp_path / "cache")
    assert lines[0] == f"compiling the graph {NAME} once, into {folder}"
    assert any("compose" in line for line in lines), "stages are shown"
    assert len(DecodingGraph.load(folder).words) > 3
    assert graph_folder(NAME, silent) == folder
    assert list(Path().iterdir()) == []


def test_the_current_folder_goes_first(package, root):
    graph_folder(NAME, lambda line: None)
    Path("graphs").mkdir()
    shutil.copytree(package / "lang", "lang")
    recipe = Path("graphs", f"{NAME}.toml")
    recipe.write_text((package / "graphs" / f"{NAME}.toml").read_text())
    lines: list[str] = []
    assert graph_folder(NAME, lines.append) == Path("graphs", NAME)
    assert lines[0] == f"compiling the graph {NAME} once, into graphs/{NAME}"
    assert graph_folder(NAME, silent) == Path("graphs", NAME)
    # A compiled graph needs no recipe.
    recipe.unlink()
    assert graph_folder(NAME, silent) == Path("graphs", NAME)
    assert graph_folder(f"graphs/{NAME}", silent) == Path("graphs", NAME)


@pytest.mark.parametrize("change", ["recipe", "options", "source", "format", "graph"])
def test_a_graph_in_the_cache_follows_what_it_was_made_of(package, change, monkeypatch):
    old = graph_folder(NAME, lambda line: None)
    recipe = package / "graphs" / f"{NAME}.toml"
    lexicon = package / "lang" / NAME / "lexicon.txt"
    if change == "recipe":
        recipe.write_text(recipe.read_text().replace("check = [", 'check = ["cat", '))
    elif change == "options":
        recipe.write_text(recipe.read_text() + "\n[search]\nsearch_beam = 3.0\n")
    elif change == "source":
        lexicon.write_text(lexicon.read_text() + "hat k ae n d\n")
    elif change == "format":
        monkeypatch.setattr(store, "REVISION", store.REVISION + 1)
    else:
        (old / "graph.json").unlink()
    new = graph_folder(NAME, lambda line: None)
    assert (new == old) == (change == "graph")
    built = build(Recipe.read(recipe), Path("expected"))
    load = DecodingGraph.load
    assert load(new).meta["keys"] == load(built).meta["keys"]
    assert load(new).meta["recipe"] == load(built).meta["recipe"]
    assert graph_folder(NAME, silent) == new


def test_a_copy_of_the_same_sources_is_the_same_graph(package, tmp_path, monkeypatch):
    folder = graph_folder(NAME, lambda line: None)
    other = shutil.copytree(package, tmp_path / "other")
    monkeypatch.setattr(lookup, "shipped_folder", lambda: other)
    lines: list[str] = []
    assert graph_folder(NAME, lines.append) == folder
    assert lines == []
    for one in (package, other):
        monkeypatch.setattr(lookup, "shipped_folder", lambda one=one: one)
        assert graph_folder(NAME, silent) == folder


def compile_in_process(
    package: Path, results: multiprocessing.Queue[tuple[Path, list[str]]]
) -> None:
    lookup.shipped_folder = lambda: package
    lines: list[str] = []
    results.put((graph_folder(NAME, lines.append), lines))


def test_processes_that_compile_at_once_do_so_once(package):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=compile_in_process, args=(package, results)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    answers = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len({folder for folder, _ in answers}) == 1
    assert sum("compiling the graph" in line for _, lines in answers for line in lines) == 1
    store.check_files(answers[0][0], meta := metadata.read(answers[0][0]), meta["files"])


def test_what_a_killed_process_left_is_removed(package, tmp_path):
    folder = graph_folder(NAME, lambda line: None)
    left = folder.parent.with_suffix(".part")
    (left / NAME / "lg").mkdir(parents=True)
    (folder / "graph.json").unlink()
    assert graph_folder(NAME, lambda line: None) == folder
    assert not left.exists()


def test_a_failed_compilation_leaves_no_graph(package, tmp_path):
    (package / "lang" / NAME / "grammar.txt").write_text("(cat\n")
    with pytest.raises(AsrHlgError):
        graph_folder(NAME, lambda line: None)
    assert not list(tmp_path.glob("cache/graphs/*/"))


def test_an_acoustic_model_is_found_beside_the_recipe(package):
    recipe = package / "graphs" / f"{NAME}.toml"
    recipe.write_text('acoustic_model = "../models/m.npz"\n' + recipe.read_text())
    folder = graph_folder(NAME, lambda line: None)
    model = store.acoustic_model(folder, metadata.read(folder))
    assert Path(model).resolve() == package / "models" / "m.npz"


def test_unknown_names(package):
    with pytest.raises(GraphError, match=f"no graph nowhere .known are {NAME}"):
        graph_folder("nowhere")
    with pytest.raises(GraphError, match=f"recipes here: {NAME}"):
        lookup.recipe_path("nowhere")
    assert graph_folder("no/where") == Path("no/where")


def test_the_list_and_the_command(package, capsys):
    [graph] = known()
    assert (graph.recipe, graph.compiled) == (package / "graphs" / f"{NAME}.toml", None)
    assert main(["graph", NAME, "--explain", "cat and hat"]) == 0
    assert main(["graph", NAME]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("compiling the graph") == 1
    assert shown.err.endswith(f"{NAME}: up to date\n")
    [graph] = known()
    assert main(["graph", "--list"]) == 0
    shown = capsys.readouterr()
    assert f"compiled: {graph.compiled}" in shown.out
    assert Recipe.read(graph.recipe).description in shown.out
    assert main(["graph"]) == 1
    assert "--list" in capsys.readouterr().err
    assert main(["graph", NAME, "--output", "mine"]) == 0
    assert Path("mine", "graph.json").is_file()
